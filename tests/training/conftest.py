"""A training that takes seconds: a tiny network on the digits of scikit-learn."""

import numpy as np
import pytest
import torch

from sparsenas.data import Digits
from sparsenas.spaces import DartsSpace
from sparsenas.training import StandAloneTraining


@pytest.fixture
def genotype():
    return DartsSpace(nodes=2).sample(np.random.default_rng(1))


@pytest.fixture
def make_training(genotype):
    """A tiny training; ``init`` seeds the network's weights."""

    def make(init=0, **options):
        torch.manual_seed(init)
        small = {"channels": 4, "cells": 3, "stem": "small", "genotype": genotype.to_json()}
        return StandAloneTraining((1, 8, 8), 10, **(small | options))

    return make


@pytest.fixture
def fit(fit_briefly):
    """Fit a training on the digits, see ``fit_briefly``."""

    def run(model, *callbacks, data=None, batches=3, **options):
        data = Digits(batch_size=32, arch_fraction=0.0, cutout=2) if data is None else data
        return fit_briefly(model, data, *callbacks, batches=batches, **options)

    return run
