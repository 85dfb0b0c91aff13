"""Neural architecture optimization: what is learned, decoded and proposed."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from sparsenas.errors import BudgetError, ConfigError, PredictorError
from sparsenas.predictors import NaoStrategy, NeuralArchitectureOptimizer, guided_search, nao
from sparsenas.predictors.fitting import Fitting
from sparsenas.predictors.guided import Feasible
from sparsenas.predictors.sequences import SequenceNetwork
from sparsenas.ranking import kendall_tau
from sparsenas.spaces import (
    DartsSpace,
    DecisionSequence,
    NasBench101Space,
    NasBench201Space,
    StageSpace,
    WeightSharing64Space,
)
from sparsenas.tables import NasBench201Table

SPACE = NasBench201Space()
SMALL = WeightSharing64Space()
QUICK = Fitting(epochs=2, batch_size=100, lr=1e-3, clip=5.0)


def accuracy(genotype):
    """Some primitives are better than others, and at the start of a cell more so."""
    return sum(sum(map(ord, c.primitive)) % 17 / (c.target + c.source) for _, cell in genotype.cells for c in cell)


def networks(space=SPACE, count=20, seed=0):
    rng = np.random.default_rng(seed)
    found = {}
    while len(found) < count:
        found[space.sample(rng)] = None
    return list(found)


def fitted(space=SPACE, fitting=QUICK, count=20, seed=0, scale=1.0, shift=0.0):
    optimizer = NeuralArchitectureOptimizer(DecisionSequence(space), fitting, QUICK, seed)
    genotypes = networks(space, count)
    optimizer.fit(genotypes, scale * np.array(list(map(accuracy, genotypes))) + shift, {})
    return optimizer


@pytest.fixture
def few_others(monkeypatch):
    monkeypatch.setattr(nao, "UNLABELLED", 10)
    monkeypatch.setattr(nao, "ETAS", (1, 2, 50))


@pytest.mark.parametrize("space", [SPACE, DartsSpace(nodes=2), DartsSpace(nodes=2, distinct_edges=False), StageSpace()])
def test_whatever_is_decoded_is_of_the_space(space, few_others):
    optimizer, seeds = fitted(space), networks(space, 5)
    for eta in (0.0, 1.0, 1000.0):
        decoded = optimizer.improve(seeds, eta)
        assert len(decoded) == 5
        for genotype in decoded:
            space.validate(genotype)


def test_a_small_step_raises_the_prediction(few_others, monkeypatch):
    optimizer, seeds, seen = fitted(), networks(seed=1), []
    generate = SequenceNetwork.generate
    monkeypatch.setattr(SequenceNetwork, "generate", lambda *args: seen.append(args[:3]) or generate(*args))
    for eta in (0.0, 1e-2):
        optimizer.improve(seeds, eta)
    with torch.no_grad():
        before, after = (network.regress(codes) for network, _, codes in seen)
    assert (after > before).all()
    for _, states, codes in seen:
        assert torch.allclose(states.norm(dim=2), torch.ones(states.shape[:2]))
        assert torch.allclose(codes, torch.nn.functional.normalize(states.mean(1), dim=1))


def test_predictions_have_the_unit_of_the_accuracies(few_others):
    plain, other = fitted(), fitted(scale=7.0, shift=-3.0)
    assert other.query(networks(seed=1), {}) == pytest.approx(7 * plain.query(networks(seed=1), {}) - 3, rel=1e-3)


def test_the_seed_decides_and_the_global_random_state_stays(few_others):
    before = torch.get_rng_state()
    first, second, other = (fitted(seed=seed).query(networks(seed=1), {}).tolist() for seed in (1, 1, 2))
    assert first == second != other
    assert torch.get_rng_state().equal(before)


def test_a_second_fit_goes_on_from_the_weights(few_others):
    optimizer, genotypes = fitted(), networks()
    before = optimizer.query(genotypes, {})
    optimizer.fitting = replace(QUICK, lr=0.0)
    optimizer.fit(genotypes, np.array(list(map(accuracy, genotypes))), {})
    assert optimizer.query(genotypes, {}).tolist() == before.tolist()
    assert fitted(fitting=replace(QUICK, lr=0.0)).query(genotypes, {}).tolist() != before.tolist()


def test_only_the_first_fit_begins_with_random_networks(few_others, monkeypatch):
    sizes, fit = [], nao.fit_network
    monkeypatch.setattr(nao, "fit_network", lambda *args: sizes.append(len(args[2])) or fit(*args))
    optimizer = fitted()
    optimizer.fit(networks(count=5), np.arange(5.0), {})
    assert sizes == [10, 20, 5]


def test_each_step_sees_the_networks_in_other_orders_and_a_batch_without_accuracy(few_others, monkeypatch):
    space, steps = DartsSpace(nodes=2), []

    def loss(network, inputs, targets):
        steps.append((inputs[0], targets))
        return network(inputs[0]).mean()

    monkeypatch.setattr(nao, "regression_and_reconstruction", loss)
    sequence = fitted(space, replace(QUICK, epochs=8)).sequence
    assert len(steps) == 8
    orders = {}
    for tokens, targets in steps:
        assert (len(tokens), len(targets)) == (120, 20)
        read = [sequence.read(row) for row in tokens.numpy()]
        assert set(read[:20]) == set(networks(space))
        ranks = np.argsort([accuracy(genotype) for genotype in read[:20]])
        assert (np.diff(targets.numpy()[ranks]) >= 0).all()
        for genotype, row in zip(read[:20], tokens.tolist(), strict=False):
            orders.setdefault(genotype, set()).add(tuple(row))
    assert min(map(len, orders.values())) > 1


def test_the_reconstruction_error_counts_tokens(few_others):
    optimizer, genotypes = fitted(), networks(seed=1)
    written, decoded = (
        np.array([optimizer.sequence.write(genotype) for genotype in found])
        for found in (genotypes, optimizer.improve(genotypes, 0.0))
    )
    assert optimizer.reconstruction_error(genotypes) == pytest.approx((written != decoded).mean())


def test_decoding_comes_first_and_ends_when_there_is_enough(few_others, monkeypatch):
    optimizer, fresh, asked = fitted(), networks(seed=3), []

    def improve(seeds, eta):
        asked.append(eta)
        return [seeds[0], *fresh[4 * (eta - 1) : 4 * eta], fresh[0]]

    monkeypatch.setattr(optimizer, "improve", improve)
    seeds = networks(count=2)
    found = optimizer.propose(seeds, networks(), 6, np.random.default_rng(0))
    assert found == nao.Proposals(tuple(fresh[:6]), 6, 0, 0)
    assert asked == [1, 2]


def test_a_decoder_that_gives_back_its_seeds_is_topped_up(few_others, monkeypatch):
    optimizer, known = fitted(), networks()
    monkeypatch.setattr(optimizer, "improve", lambda seeds, eta: list(seeds))
    found = optimizer.propose(known[:1], known, 40, np.random.default_rng(0))
    neighbours = {genotype for genotype in SPACE.neighbours(known[0]) if genotype not in known}
    assert (found.decoded, found.mutated, found.drawn) == (0, len(neighbours), 40 - len(neighbours))
    assert set(found.genotypes[: len(neighbours)]) == neighbours
    assert len({*found.genotypes, *known}) == 60


def test_an_exhausted_space_gives_what_is_left(few_others):
    optimizer, everything = fitted(SMALL), list(map(SMALL.genotype, SMALL.supports()))
    found = optimizer.propose(everything[:3], everything[:60], 10, np.random.default_rng(0))
    assert set(found.genotypes) <= set(everything[60:])
    assert 1 <= len(set(found.genotypes)) == found.decoded + found.mutated + found.drawn
    assert optimizer.propose(everything[:3], everything, 10, np.random.default_rng(0)) == nao.Proposals((), 0, 0, 0)


def test_proposals_keep_the_rule_and_differ(few_others):
    optimizer, known = fitted(), networks()

    def fits(genotype):
        return SPACE.parameters(genotype) < 4e5

    found = optimizer.propose(known[:5], known, 50, np.random.default_rng(0), fits, SPACE.isomorphism)
    assert len(found.genotypes) == 50
    assert all(map(fits, found.genotypes))
    assert len({*map(SPACE.isomorphism, found.genotypes)} - {*map(SPACE.isomorphism, known)}) == 50
    with pytest.raises(BudgetError, match="none of 1000 random networks of the space keeps the budget"):
        optimizer.propose(known[:5], known, 1, np.random.default_rng(0), lambda genotype: False)


@pytest.mark.parametrize("space", [SPACE, Feasible(SPACE, lambda genotype: SPACE.parameters(genotype) < 6e5)])
def test_a_search_trains_nothing_twice_and_keeps_its_budget(space, few_others):
    strategy = NaoStrategy(space, SPACE.isomorphism, seeds=5, fitting=QUICK, pretraining=QUICK)
    trained = guided_search(strategy, accuracy, budget=35, initial=10, batch=10, seed=5)
    assert len({SPACE.isomorphism(genotype) for genotype in trained}) == len(trained) == 35
    assert all(strategy.feasible.fits(genotype) for genotype in trained)
    assert list(guided_search(strategy, accuracy, budget=35, initial=10, batch=10, seed=5)) == list(trained)


def test_the_best_networks_are_the_seeds(few_others, monkeypatch):
    seen = []
    monkeypatch.setattr(
        NeuralArchitectureOptimizer,
        "propose",
        lambda self, seeds, *args: seen.append(seeds) or nao.Proposals((), 0, 0, 0),
    )
    trained = {genotype: accuracy(genotype) for genotype in networks()}
    NaoStrategy(SPACE, seeds=3, fitting=QUICK, pretraining=QUICK).propose(trained, 5, seed=0)
    assert [trained[genotype] for genotype in seen[0]] == sorted(trained.values(), reverse=True)[:3]


def new():
    return NeuralArchitectureOptimizer(DecisionSequence(SPACE), QUICK)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: new().fit(networks()[:1], np.ones(1), {}), "1 networks to learn from; it needs at least 2"),
        (lambda: new().fit(networks(), np.ones(20), {}), "all targets are 1, from which no order can be learned"),
        (lambda: new().fit(networks(), np.full(20, np.nan), {}), "target 0 is nan; leave this network out"),
        (lambda: new().fit(networks()[:1] * 2, np.arange(2.0), {}), "a genotype is there twice"),
        (lambda: new().query(networks(), {}), "has learned from no network yet; fit it first"),
        (lambda: new().improve(networks(), 1.0), "has learned from no network yet; fit it first"),
        (lambda: new().reconstruction_error(networks()), "has learned from no network yet; fit it first"),
        (lambda: new().propose([], [], 1, np.random.default_rng(0)), "propose: no seeds; give the best"),
        (lambda: NaoStrategy(SPACE, seeds=0), "seeds=0; use at least 1"),
    ],
)
def test_bad_input_ends_in_one_message(make, message):
    with pytest.raises(PredictorError, match=message):
        make()


def test_a_space_without_blocks_cannot_be_searched():
    with pytest.raises(ConfigError, match="decision sequence: NasBench101Space is not made of blocks"):
        NaoStrategy(NasBench101Space())


@pytest.mark.skipif("SPARSENAS_DATA" not in os.environ, reason="SPARSENAS_DATA names no folder with the tables")
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_published_cells_are_ranked_reconstructed_and_improved(seed):
    table = NasBench201Table()
    accuracies = table.accuracies("cifar10-valid", "valid", 200)
    unused = np.random.default_rng(2024).permutation(len(table))[7000:]  # options were chosen on the others
    rows = np.random.default_rng(seed).permutation(unused)[:1100]
    learned, others = ([table.genotypes[row] for row in part] for part in (rows[:100], rows[100:]))
    optimizer = NeuralArchitectureOptimizer(DecisionSequence(SPACE), seed=seed)
    optimizer.fit(learned, accuracies[rows[:100]], {})
    truth = accuracies[rows[100:]]
    assert (kendall_tau(optimizer.query(others, {}), truth) + 1) / 2 > 0.7  # pairs in the right order
    assert optimizer.reconstruction_error(others) < 0.05
    before, after, farther = (
        np.mean([accuracies[table.row(genotype)] for genotype in optimizer.improve(others, eta)])
        for eta in (0.0, 1.0, 5.0)
    )
    assert after > before + 1
    assert farther > before + 1
