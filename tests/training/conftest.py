"""A training that takes seconds: a tiny network on the digits of scikit-learn."""

import numpy as np
import pytest
import torch

from sparsenas.data import Augmentation, Digits
from sparsenas.networks import NetworkConfig
from sparsenas.spaces import DartsSpace
from sparsenas.training import StandAloneTraining, WeightTraining


@pytest.fixture
def genotype():
    return DartsSpace(nodes=2).sample(np.random.default_rng(1))


@pytest.fixture
def make_training(genotype):
    """A tiny training; ``init`` seeds the network's weights, ``network`` are options of its size, others of training.

    Drop-path and the auxiliary classifier are on, as they are by default.
    """

    def make(init=0, genotype=genotype.to_json(), network=None, seed=0, **training):
        torch.manual_seed(init)
        config = NetworkConfig(**({"channels": 4, "cells": 3, "stem": "small"} | (network or {})))
        training = WeightTraining(**({"drop_path": 0.2, "auxiliary_weight": 0.4} | training))
        return StandAloneTraining((1, 8, 8), 10, genotype, config, training, seed=seed)

    return make


@pytest.fixture
def fit(fit_briefly):
    """Fit a training on the digits, see ``fit_briefly``."""

    def run(model, *callbacks, data=None, batches=3, **options):
        data = (
            Digits(batch_size=32, arch_fraction=0.0, augmentation=Augmentation(1, False, 2)) if data is None else data
        )
        return fit_briefly(model, data, *callbacks, batches=batches, **options)

    return run
