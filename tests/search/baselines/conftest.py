"""A tiny single-path search, and its trainer."""

import pytest
import torch

from sparsenas.data import Digits
from sparsenas.networks import NetworkConfig
from sparsenas.search import BestOf, SinglePathSearch


@pytest.fixture
def make_single_path(space):
    def make(init=0, space=space, norms=None, **options):
        torch.manual_seed(init)
        network = NetworkConfig(4, 3, "small" if space.name == "darts" else "cifar", norms)
        defaults = {"network": network, "space": space, "selection": BestOf(5), "measure_batches": 2}
        return SinglePathSearch((1, 8, 8), 10, **(defaults | options))

    return make


@pytest.fixture
def fit_single_path(fit_briefly):
    def run(search, *callbacks, **options):
        return fit_briefly(search, Digits(batch_size=32, arch_fraction=0.4), *callbacks, **options)

    return run
