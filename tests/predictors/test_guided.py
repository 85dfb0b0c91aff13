"""Search guided by predictors: what it may propose, and that a guide that knows helps."""

import numpy as np
import pytest

from sparsenas.errors import PredictorError
from sparsenas.predictors import Predictor, make_predictor
from sparsenas.predictors.guided import GuidedStrategy, RandomStrategy, RegularizedEvolution, guided_search
from sparsenas.spaces import NasBench201Space, WeightSharing64Space, encoding_of

SPACE = NasBench201Space()
WORTH = dict(zip(SPACE.primitives, (0.0, 1.0, 2.0, 3.0, 0.5), strict=True))


def accuracy(genotype):
    """The sum over the edges, each with a weight of its own."""
    return 60 + sum((1 + c.target + c.source / 4) * WORTH[c.primitive] for c in genotype.cell("normal"))


class Oracle(Predictor):
    """Knows the accuracy, up to noise of its seed."""

    least = 2

    def __init__(self, seed=0, noise=0.0):
        super().__init__()
        self.seed, self.noise = seed, noise

    def _fit(self, genotypes, targets, info):
        pass

    def _query(self, genotypes, info):
        exact = np.array([accuracy(genotype) for genotype in genotypes])
        return exact + self.noise * np.random.default_rng(self.seed).normal(size=len(exact))


STRATEGIES = {
    "random": RandomStrategy(SPACE, SPACE.isomorphism),
    "regularized": RegularizedEvolution(SPACE, SPACE.isomorphism),
    "mean": GuidedStrategy(SPACE, lambda seed: Oracle(seed, 1.0), SPACE.isomorphism),
    "thompson": GuidedStrategy(
        SPACE, lambda seed: Oracle(seed, 1.0), SPACE.isomorphism, "thompson", "random", ensemble=3
    ),
}


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_nothing_is_trained_twice_and_the_budget_is_kept(strategy):
    state = np.random.get_state()[1].tolist()
    trained = guided_search(strategy, accuracy, budget=67, initial=12, batch=10, seed=5)
    assert len({SPACE.isomorphism(genotype) for genotype in trained}) == len(trained) == 67
    assert all(trained[genotype] == accuracy(genotype) for genotype in trained)
    again = guided_search(strategy, accuracy, budget=67, initial=12, batch=10, seed=5)
    assert list(again) == list(trained)
    assert list(guided_search(strategy, accuracy, 67, 12, 10, seed=6)) != list(trained)
    assert np.random.get_state()[1].tolist() == state


def test_the_first_networks_are_the_same_for_all_strategies():
    starts = [list(guided_search(strategy, accuracy, 10, 10, seed=1)) for strategy in STRATEGIES.values()]
    assert all(start == starts[0] for start in starts)


def test_a_guide_that_knows_the_accuracy_proposes_the_best_neighbours():
    strategy = GuidedStrategy(SPACE, lambda seed: Oracle(), parents=1)
    start = SPACE.sample(np.random.default_rng(0))
    neighbours = sorted(map(accuracy, SPACE.neighbours(start)), reverse=True)
    proposed = strategy.propose({start: accuracy(start), SPACE.sample(np.random.default_rng(1)): 0.0}, 3, seed=0)
    assert [accuracy(genotype) for genotype in proposed] >= neighbours[:3]
    assert guided_best(strategy) == accuracy(max(map(SPACE.genotype, SPACE.supports()), key=accuracy))


def guided_best(strategy, budget=80, seed=0):
    return max(guided_search(strategy, accuracy, budget, 10, 10, seed).values())


def test_an_ensemble_without_spread_is_greedy():
    trained = {SPACE.sample(np.random.default_rng(seed)): float(seed) for seed in range(10)}
    greedy, drawn = (
        GuidedStrategy(SPACE, lambda seed: Oracle(), acquisition=kind, ensemble=3).propose(trained, 5, seed=0)
        for kind in ("mean", "thompson")
    )
    assert greedy == drawn


def test_thompson_sampling_tries_what_the_ensemble_does_not_agree_on():
    strategy = GuidedStrategy(SPACE, lambda seed: Oracle(seed, 20.0), acquisition="thompson", ensemble=2)
    trained = {SPACE.sample(np.random.default_rng(seed)): float(seed) for seed in range(10)}
    assert len({tuple(strategy.propose(trained, 3, seed)) for seed in range(10)}) == 10


@pytest.mark.slow
def test_a_fitted_guide_beats_random_choice():
    encoding = encoding_of(SPACE)
    guide = GuidedStrategy(SPACE, lambda seed: make_predictor("random_forest", encoding, seed))
    gains = [guided_best(guide, 60, seed) - guided_best(RandomStrategy(SPACE), 60, seed) for seed in range(10)]
    assert sum(gain > 0 for gain in gains) >= 9


def test_a_space_without_others_ends_the_search():
    space = WeightSharing64Space()
    for strategy in (RandomStrategy(space), GuidedStrategy(space, lambda seed: Counting(seed))):
        trained = guided_search(strategy, lambda genotype: float(space.to_string(genotype)), budget=100, initial=20)
        assert len(trained) == 64


class Counting(Oracle):
    def _query(self, genotypes, info):
        return np.arange(len(genotypes), dtype=float)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GuidedStrategy(SPACE, Oracle, acquisition="best"), "acquisition='best', candidates='mutations'; use"),
        (lambda: GuidedStrategy(SPACE, Oracle, pool=0), "ensemble=1, pool=0, parents=5; use at least 1"),
        (lambda: RegularizedEvolution(SPACE, population=5), "population=5, tournament=10; need 1 <= tournament"),
        (lambda: guided_search(STRATEGIES["random"], accuracy, 5, 10), "initial=10, batch=10, budget=5; need"),
        (lambda: guided_search(STRATEGIES["random"], lambda genotype: np.nan, 20), "network 1 has the accuracy nan"),
        (
            lambda: guided_search(STRATEGIES["mean"], lambda genotype: 1.0, 30, 5),
            "Oracle: all targets are 1, from which no order can be learned",
        ),
    ],
)
def test_bad_input_ends_in_one_message(make, message):
    with pytest.raises(PredictorError, match=message):
        make()
