"""Search without training: what it draws, what it keeps, what it never touches."""

import math
from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from sparsenas.complexity import candidate_costs, live_support
from sparsenas.data import Digits
from sparsenas.errors import CheckpointError, ConfigError, RecoveryError
from sparsenas.networks import DerivedNet, SuperNet
from sparsenas.search import SupportRules, TrainingFreeSearch
from sparsenas.search.band import Band
from sparsenas.spaces import DartsSpace, NasBench201Space, WeightSharing64Space
from sparsenas.zero_cost import Naswot, ZeroCostScore
from sparsenas.zero_cost.base import without_norms

NB201 = NasBench201Space()


class ByNumber(ZeroCostScore):
    """Scores by the text of the genotype: anything that is not random."""

    def __init__(self, number):
        self.number = number

    def __call__(self, network, images):
        return self.number(network.genotype)


@pytest.fixture
def make_search():
    def make(**options):
        torch.manual_seed(0)
        small = {"channels": 4, "cells": 3, "space": NB201, "count": 8, "images": 8, "score": Naswot()}
        return TrainingFreeSearch((1, 8, 8), 10, **(small | options))

    return make


@pytest.fixture
def fit_search(fit_briefly):
    def run(search, *callbacks, batch_size=16, **options):
        data = Digits(batch_size=batch_size, arch_fraction=0.0)
        return fit_briefly(search, data, *callbacks, **({"batches": 2, "epochs": 1, "limit_val_batches": 0} | options))

    return run


@pytest.fixture(scope="module")
def published():
    """Costs in the published network; all cells, and their live costs."""
    costs = candidate_costs(SuperNet(NB201, (3, 32, 32), 10, channels=16, cells=15))
    (block,) = NB201.blocks
    choices = [[i for i, c in enumerate(block.candidates) if c.edge == edge] for edge in block.edges]
    cells = [(tuple(sorted(kept)),) for kept in product(*choices)]
    live = {c: costs.base_parameters + sum(costs.parameters[0][i] for i in live_support(NB201, c)[0]) for c in cells}
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
            ((block, kept),) = zip(NB201.blocks, live_support(NB201, support), strict=True)
            live = {block.candidates[i] for i in kept}
            (_, cell), *_ = network.typed_cells()
            for candidate in genotype.cell("normal"):
                if "conv" in candidate.primitive:
                    gradients = [p.grad for p in cell.operation(candidate).parameters()]
                    assert any(g is not None and bool(g.any()) for g in gradients) == (candidate in live)

    @pytest.mark.parametrize("space", [DartsSpace(), WeightSharing64Space()], ids=lambda space: space.name)
    def test_without_none_everything_lives(self, space):
        support = space.sample_support(np.random.default_rng(0))
        assert live_support(space, support) == support


class TestBand:
    @pytest.fixture
    def costs(self):
        return candidate_costs(SuperNet(WeightSharing64Space(), (3, 8, 8), 10, channels=4, cells=1))

    def test_draws_are_uniform_over_what_is_feasible_and_large(self, costs, monkeypatch):
        monkeypatch.setattr("sparsenas.search.band.STEPS", 30)
        space = WeightSharing64Space()
        rules = SupportRules(max_per_cell={"normal": {"max_pool_3x3": 1}}).constraints(space)
        band = Band(space, rules, costs.parameters, costs.base_parameters, share=0.93)
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

    def test_a_budget_says_what_is_large(self):
        costs = candidate_costs(SuperNet(NB201, (3, 8, 8), 10, channels=4, cells=3))
        limit = costs.base_parameters + 0.4 * max(map(max, costs.parameters)) * 6
        band = Band(NB201, SupportRules(max_params=limit).constraints(NB201, costs), costs.multiply_adds, 0.0, 0.7)
        drawn = band.draw(20, np.random.default_rng(0))
        assert len(set(drawn)) == 20
        cost = lambda kept: costs.base_parameters + sum(costs.parameters[0][i] for i in kept[0])  # noqa: E731
        largest = cost(band.largest)
        assert 0.9 * limit < largest <= limit
        for support in drawn:
            assert cost(support) <= largest
            assert cost(live_support(NB201, support)) >= band.lower

    @pytest.mark.parametrize("limit", [0.35e6, 0.6e6, 0.85e6, 1.1e6, 1.4e6, None])
    def test_the_largest_is_the_largest_alive(self, limit, published):
        """``none`` costs as little as a skip: under a cap, a cell that is cut off may be as large as any."""
        costs, cells, live = published
        rules = SupportRules(max_params=limit).constraints(NB201, costs)
        band = Band(NB201, rules, costs.parameters, costs.base_parameters, 0.7)
        most = max(live[cell] for cell in cells if rules.allows(cell))
        assert band.live_cost(band.largest) == live[band.largest] == most
        inside = [cell for cell in cells if rules.allows(cell) and live[cell] >= 0.7 * most]
        assert all(cell in band for cell in inside[::37])
        assert sum(cell in band for cell in cells[::11]) == len(set(cells[::11]) & set(inside))

    def test_large_cells_of_a_large_space_are_found(self):
        """Of uniform draws, less than one in a thousand is so large."""
        space = DartsSpace()
        costs = candidate_costs(SuperNet(space, (3, 16, 16), 10, channels=4, cells=3))
        band = Band(space, SupportRules().constraints(space), costs.parameters, costs.base_parameters, 0.85)
        rng = np.random.default_rng(0)
        assert sum(space.sample_support(rng) in band for _ in range(1000)) < 3
        drawn = band.draw(5, rng)
        assert len(drawn) == 5
        assert all(support in band for support in drawn)

    def test_what_cannot_be(self, costs):
        space = WeightSharing64Space()
        with pytest.raises(ConfigError, match=r"band is 1.2; use a share of the largest cost, in \[0, 1\]"):
            Band(space, SupportRules().constraints(space), costs.parameters, 0.0, 1.2)
        rules = SupportRules(max_params=10).constraints(space, costs)
        with pytest.raises(RecoveryError, match="max_params"):
            Band(space, rules, costs.parameters, 0.0)


def test_it_keeps_the_best_of_what_it_scored(make_search, fit_search, listener):
    search = make_search()
    before = {name: tensor.clone() for name, tensor in search.network.state_dict().items()}
    fit_search(search, listener)
    assert len(search.measured) == 8
    assert search.measured[search.support] == max(search.measured.values())
    assert len(set(search.measured.values())) > 4
    assert [report.support for report in listener.reports] == [search.support]
    assert search.visited == set(search.measured)
    assert all(torch.equal(tensor, before[name]) for name, tensor in search.network.state_dict().items())


def test_scores_are_those_of_new_networks_on_the_first_images(make_search, fit_search):
    class Batches:
        first = None

    search = make_search(pixels=4, cells=1)
    original = search.training_step

    def remember(batch, batch_idx):
        Batches.first = batch[0] if Batches.first is None else Batches.first
        original(batch, batch_idx)

    search.training_step = remember
    fit_search(search)
    images = torch.nn.functional.avg_pool2d(Batches.first[:8], 2)
    for support, score in search.measured.items():
        torch.manual_seed(0)
        network = DerivedNet(NB201.genotype(support), (1, 4, 4), 10, 4, 1, norms=search.network.norms)
        assert Naswot()(network, images) == pytest.approx(score, rel=1e-6)


def test_one_search_decides_under_several_rules(make_search, fit_search):
    searches = [make_search(), make_search()]
    costs = candidate_costs(searches[0].network)
    limits = [costs.base_parameters + share * sum(map(max, costs.parameters)) * 6 for share in (0.3, 0.6)]
    rules = [SupportRules(max_params=limit).constraints(NB201, costs) for limit in limits]
    for search in searches:
        fit_search(search)
    first = [searches[0].decide(rule) for rule in rules]
    assert [searches[1].decide(rule) for rule in reversed(rules)] == first[::-1]  # whatever is asked before
    for support, limit in zip(first, limits, strict=True):
        assert costs.base_parameters + sum(costs.parameters[0][i] for i in support[0]) <= limit
    assert searches[0].decide() == searches[0].support == searches[1].support


def test_a_checkpoint_knows_what_was_found(make_search, fit_search):
    search = make_search(rules=SupportRules(forbidden=("none",)))
    trainer = fit_search(search)
    found = search.support
    loaded = make_search(rules=SupportRules(forbidden=("none",)))
    loaded.on_load_checkpoint(torch.load(trainer.checkpoint_callback.last_model_path, weights_only=True))
    assert loaded.decide() == loaded.support == found
    with pytest.raises(ConfigError, match="no images to score architectures under other rules; run it again"):
        loaded.decide(SupportRules().constraints(NB201))


def test_a_checkpoint_of_other_rules_is_no_answer(make_search, fit_search):
    saved = torch.load(fit_search(make_search()).checkpoint_callback.last_model_path, weights_only=True)
    costs = candidate_costs(make_search().network)
    strict = make_search(rules=SupportRules(max_params=costs.base_parameters + 1))
    with pytest.raises(CheckpointError, match="breaks rules, with which it was not searched; search again"):
        strict.on_load_checkpoint(saved)
    saved["search"].pop("found")
    with pytest.raises(CheckpointError, match="one of another searcher"):
        make_search().on_load_checkpoint(saved)


def test_several_processes_are_refused(make_search, monkeypatch):
    search = make_search()
    search._trainer = type("Trainer", (), {"world_size": 2, "max_epochs": 1, "model": None})()
    with pytest.raises(ConfigError, match="makes 2 processes, each of which would score other images"):
        search.on_train_start()


def test_scores_that_rank_nothing_are_no_answer(make_search, fit_search):
    for number, message in ((-math.inf, "have the score -inf"), (2.0, "have the score 2, which ranks nothing")):
        with pytest.raises(ConfigError, match=message):
            fit_search(make_search(score=ByNumber(lambda _, number=number: number)))


def test_too_few_images(make_search, fit_search):
    with pytest.raises(ConfigError, match=r"images is 32, but a batch has 16: set data.batch_size"):
        fit_search(make_search(images=32))


@pytest.mark.parametrize("wrong", [{"count": 0}, {"images": 1}, {"pixels": 0}, {"seed": -1}])
def test_impossible_numbers(make_search, wrong):
    with pytest.raises(ConfigError, match="need at least 1 architecture, 2 images and 1 pixel"):
        make_search(**wrong)


def test_pixels_that_leave_nothing_to_see(make_search):
    with pytest.raises(ConfigError, match="images are 4x4"):
        make_search(pixels=4)
