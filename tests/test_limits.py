"""Limits, and the width that fills them."""

import numpy as np
import pytest

from sparsenas.complexity import network_cost
from sparsenas.errors import ConfigError
from sparsenas.limits import Limits
from sparsenas.networks import CHANNEL_GRID, NetworkConfig, stage_cost
from sparsenas.search import Budget
from sparsenas.spaces import REFERENCES, StageSpace, read_genotype
from sparsenas.spaces.stage import ALL_TYPES, STEMS

SHAPE = (3, 16, 16)


@pytest.mark.slow
def test_the_filled_width_keeps_the_limits_and_the_next_one_breaks_them():
    """2,000 random genotypes and budgets."""
    rng = np.random.default_rng(0)
    space = StageSpace(layers=4, types=ALL_TYPES, growths=[0.5, 1.0, 1.5, 2.0], stems=STEMS)
    refused = 0
    for _ in range(2000):
        genotype, shape = space.sample(rng), (int(rng.integers(1, 4)), int(rng.integers(16, 64)), 32)
        params, macs = 10 ** rng.uniform(3, 6.5), 10 ** rng.uniform(5, 8.5)
        limits = Limits(max_params=params if rng.random() < 0.8 else None, max_macs=macs)
        try:
            width = limits.fill(genotype, shape, 10)
        except ConfigError:
            refused += 1
            width = 0
        costs = [np.array(stage_cost(genotype, shape, 10, w)) for w in (width, width + CHANNEL_GRID) if w]
        kept = [bool((cost <= [limits.max_params or np.inf, macs]).all()) for cost in costs]
        assert kept == ([True, False] if width else [False])
    assert 0 < refused < 1000


def test_other_spaces_are_filled_by_building():
    genotype, config = read_genotype("darts_v2"), NetworkConfig(channels=None, cells=4, stem="small")
    limits = Limits(max_params=60e3)
    width = limits.fill(genotype, SHAPE, 10, config)
    costs = [network_cost(genotype, SHAPE, 10, w, config).parameters for w in (width, width + CHANNEL_GRID)]
    assert costs[0] <= 60e3 < costs[1]


def test_a_budget_fills_as_limits_do():
    genotype = REFERENCES["vgg_like"].genotype
    assert Budget(max_params=40e3, max_macs=2e6).fill(genotype, SHAPE, 10) == 16
    assert Limits(max_params=40e3, max_macs=2e6).fill(genotype, SHAPE, 10) == 16
    sized = Limits(max_macs=2e6).sized(genotype, SHAPE, 10, NetworkConfig(channels=None, cells=None))
    assert sized == NetworkConfig(channels=16, cells=None)
    assert Limits().sized(genotype, SHAPE, 10, NetworkConfig(channels=4)) == NetworkConfig(channels=4)


def test_budgets_that_nobody_meets():
    genotype = REFERENCES["vgg_like"].genotype
    with pytest.raises(ConfigError, match=r"width, 2, the network needs 724 .*; allowed are 100 and any"):
        Limits(max_params=100).fill(genotype, SHAPE, 10)
    with pytest.raises(ConfigError, match=r"network.channels is null, .* set budget.max_params, max_macs or"):
        Limits().fill(genotype, SHAPE, 10)
    with pytest.raises(ConfigError, match=r"with network.channels 64 .* allowed are any and 2,000,000: set"):
        Limits(max_macs=2e6).sized(genotype, SHAPE, 10, NetworkConfig(channels=64, cells=None))
    with pytest.raises(ConfigError, match=r"budget.max_macs is -1"):
        Limits(max_macs=-1)
