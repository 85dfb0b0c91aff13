"""What is live in a cell, and which architectures are nearly as large as the largest."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from sparsenas.complexity import candidate_costs, effective_support
from sparsenas.errors import ConfigError, RecoveryError
from sparsenas.networks import DerivedNet, SuperNet
from sparsenas.search import Budget
from sparsenas.search.size_band import SizeBand
from sparsenas.spaces import DartsSpace, NasBench201Space, WeightSharing64Space
from sparsenas.zero_cost.base import without_norms

NB201 = NasBench201Space()


@pytest.fixture(scope="module")
def published():
    """Costs in the published network; all cells, and their effective costs."""
    costs = candidate_costs(SuperNet(NB201, (3, 32, 32), 10, channels=16, cells=15))
    (block,) = NB201.blocks
    choices = [[i for i, c in enumerate(block.candidates) if c.edge == edge] for edge in block.edges]
    cells = [(tuple(sorted(kept)),) for kept in product(*choices)]
    live = {
        c: costs.base_parameters + sum(costs.parameters[0][i] for i in effective_support(NB201, c)[0]) for c in cells
    }
    return costs, cells, live


class TestLiveSupport:
    def test_it_is_where_something_flows(self):
        """Positive weights, no batch-norms: exactly the live convolutions get a gradient."""
        rng = np.random.default_rng(0)
        for _ in range(40):
            support = NB201.sample_support(rng)
            genotype = NB201.genotype(support)
            network = without_norms(DerivedNet(genotype, (3, 4, 4), 10, channels=2, cells=1))
            for parameter in network.parameters():
                torch.nn.init.ones_(parameter)
            network(torch.ones(1, 3, 4, 4)).sum().backward()
            ((block, kept),) = zip(NB201.blocks, effective_support(NB201, support), strict=True)
            live = {block.candidates[i] for i in kept}
            (_, cell), *_ = network.typed_cells()
            for candidate in genotype.cell("normal"):
                if "conv" in candidate.primitive:
                    gradients = [p.grad for p in cell.operation(candidate).parameters()]
                    assert any(g is not None and bool(g.any()) for g in gradients) == (candidate in live)

    @pytest.mark.parametrize("space", [DartsSpace(), WeightSharing64Space()], ids=lambda space: space.name)
    def test_without_none_everything_lives(self, space):
        support = space.sample_support(np.random.default_rng(0))
        assert effective_support(space, support) == support


class TestBand:
    @pytest.fixture
    def costs(self):
        return candidate_costs(SuperNet(WeightSharing64Space(), (3, 8, 8), 10, channels=4, cells=1))

    def test_draws_are_uniform_over_what_is_feasible_and_large(self, costs, monkeypatch):
        monkeypatch.setattr("sparsenas.search.size_band.STEPS", 30)
        space = WeightSharing64Space()
        rules = Budget(max_per_cell={"normal": {"max_pool_3x3": 1}}).constraints(space)
        band = SizeBand(space, rules, costs.parameters, costs.base_parameters, share=0.93)
        (block,) = space.blocks
        choices = [[i for i, c in enumerate(block.candidates) if c.edge == edge] for edge in block.edges]
        everything = [(tuple(sorted(kept)),) for kept in product(*choices)]
        size = {s: costs.base_parameters + sum(costs.parameters[0][i] for i in s[0]) for s in everything}
        allowed = [s for s in everything if sum(block.candidates[i].primitive == "max_pool_3x3" for i in s[0]) <= 1]
        inside = [s for s in allowed if size[s] >= 0.93 * max(size[s] for s in allowed)]
        assert 5 < len(inside) < len(allowed)
        assert {s for s in everything if s in band} == set(inside)
        rng = np.random.default_rng(0)
        draws = Counter(band.draw(1, rng)[0] for _ in range(60 * len(inside)))
        assert set(draws) == set(inside)
        assert chisquare(list(draws.values())).pvalue > 0.001
        assert set(band.draw(1000, rng)) == set(inside)  # no more than there are, each once

    @pytest.mark.slow
    def test_a_budget_says_what_is_large(self):
        costs = candidate_costs(SuperNet(NB201, (3, 8, 8), 10, channels=4, cells=3))
        limit = costs.base_parameters + 0.4 * max(map(max, costs.parameters)) * 6
        band = SizeBand(NB201, Budget(max_params=limit).constraints(NB201, costs), costs.macs, 0.0, 0.7)
        drawn = band.draw(20, np.random.default_rng(0))
        assert len(set(drawn)) == 20

        def cost(kept):
            return costs.base_parameters + sum(costs.parameters[0][i] for i in kept[0])

        largest = cost(band.largest)
        assert 0.9 * limit < largest <= limit
        for support in drawn:
            assert cost(support) <= largest
            assert cost(effective_support(NB201, support)) >= band.lower

    @pytest.mark.parametrize("limit", [0.35e6, 0.6e6, 0.85e6, 1.1e6, 1.4e6, None])
    def test_the_largest_is_the_largest_alive(self, limit, published):
        """``none`` costs as little as a skip: under a cap, a cell that is cut off may be as large as any."""
        costs, cells, live = published
        rules = Budget(max_params=limit).constraints(NB201, costs)
        band = SizeBand(NB201, rules, costs.parameters, costs.base_parameters, 0.7)
        most = max(live[cell] for cell in cells if rules.allows(cell))
        assert band.effective_cost(band.largest) == live[band.largest] == most
        inside = [cell for cell in cells if rules.allows(cell) and live[cell] >= 0.7 * most]
        assert all(cell in band for cell in inside[::37])
        assert sum(cell in band for cell in cells[::11]) == len(set(cells[::11]) & set(inside))

    @pytest.mark.slow
    def test_of_the_largest_one_is_drawn(self, published):
        """30 cells of a 3x3 and a 1x1 convolution and skips are as large as any: none of them is preferred."""
        costs, cells, live = published
        rules = Budget(max_params=0.35e6).constraints(NB201, costs)

        def make(seed):
            return SizeBand(NB201, rules, costs.parameters, costs.base_parameters, seed=seed).largest

        drawn = Counter(make(seed) for seed in range(120))
        most = max(live[cell] for cell in cells if rules.allows(cell))
        assert make(7) == make(7)
        assert len(drawn) > 25
        assert max(drawn.values()) < 15
        for ((kept,),) in zip(drawn, strict=True):
            names = Counter(NB201.blocks[0].candidates[i].primitive for i in kept)
            assert live[(kept,)] == most
            assert names == {"nor_conv_3x3": 1, "nor_conv_1x1": 1, "skip_connect": 4}

    def test_in_a_large_space_other_seeds_have_other_largest_ones(self):
        space = DartsSpace()
        costs = candidate_costs(SuperNet(space, (3, 16, 16), 10, channels=4, cells=3))
        rules = Budget(max_params=costs.base_parameters + 4000).constraints(space, costs)
        bands = [SizeBand(space, rules, costs.parameters, costs.base_parameters, seed=seed) for seed in range(5)]
        assert len({band.largest for band in bands}) == 5
        assert len({band.effective_cost(band.largest) for band in bands}) == 1

    def test_large_cells_of_a_large_space_are_found(self):
        """Of uniform draws, less than one in a thousand is so large."""
        space = DartsSpace()
        costs = candidate_costs(SuperNet(space, (3, 16, 16), 10, channels=4, cells=3))
        band = SizeBand(space, Budget().constraints(space), costs.parameters, costs.base_parameters, 0.85)
        rng = np.random.default_rng(0)
        assert sum(space.sample_support(rng) in band for _ in range(1000)) < 3
        drawn = band.draw(5, rng)
        assert len(drawn) == 5
        assert all(support in band for support in drawn)

    def test_what_cannot_be(self, costs):
        space = WeightSharing64Space()
        with pytest.raises(ConfigError, match=r"size_band is 1.2; use a share of the largest cost, in \[0, 1\]"):
            SizeBand(space, Budget().constraints(space), costs.parameters, 0.0, 1.2)
        rules = Budget(max_params=10).constraints(space, costs)
        with pytest.raises(RecoveryError, match="max_params"):
            SizeBand(space, rules, costs.parameters, 0.0)
