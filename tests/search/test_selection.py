"""Selections over shared weights: two steps of measuring, and a genetic algorithm."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sparsenas.data import Digits
from sparsenas.errors import ConfigError
from sparsenas.networks import NetworkConfig
from sparsenas.search import BestOf, Budget, Genetic, SinglePathSearch
from sparsenas.search.selection import TrainedSuperNet
from sparsenas.spaces import NasBench201Space, WeightSharing64Space

SPACE = NasBench201Space()
ANYTHING = Budget().constraints(SPACE)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def worth(support):
    """A score that is a sum over the edges."""
    return float(np.random.default_rng(1).normal(size=30)[list(support[0])].sum())


class TestFinalists:
    def trained(self, final=None):
        return TrainedSuperNet(SimpleNamespace(space=SPACE), worth, [("images", "labels")], final)

    def test_the_best_are_measured_again_and_the_best_of_these_is_kept(self, rng):
        asked = []

        def final(support):
            asked.append(support)
            return -worth(support)

        selected = BestOf(40, finalists=7).select(self.trained(final), ANYTHING, {}, rng)
        ranking = sorted(selected.scores, key=worth, reverse=True)
        assert len(ranking) == 40
        assert asked == ranking[:7]
        assert selected.support == ranking[6]
        assert selected.scores == {support: worth(support) for support in ranking}

    def test_they_keep_the_rules(self, rng):
        rules = Budget(forbidden=("none",)).constraints(SPACE)
        asked = []
        selection = BestOf(200, finalists=5)
        selected = selection.select(self.trained(lambda support: asked.append(support) or 0.0), rules, {}, rng)
        assert len(asked) == 5
        assert all(map(rules.allows, asked))
        again = selection.select(self.trained(worth), ANYTHING, selected.scores, rng)
        assert again.support == max(selected.scores, key=worth)
        with pytest.raises(ConfigError, match="none of the 40 measured architectures meets the rules"):
            BestOf(40, 2).select(
                self.trained(worth), Budget(forbidden=SPACE.primitives[1:]).constraints(SPACE), {}, rng
            )

    def test_without_images_the_first_scores_decide(self, rng):
        measured = BestOf(20).measure(SPACE, worth, rng)
        selected = BestOf(20, 5).select(self.trained(), ANYTHING, measured, rng)
        assert selected.support == max(measured, key=worth)

    def test_no_finalists_is_one_step(self, rng):
        def final(support):
            raise AssertionError("measured again")

        selected = BestOf(20).select(self.trained(final), ANYTHING, {}, rng)
        assert selected.support == max(selected.scores, key=worth)


@pytest.fixture
def search():
    torch.manual_seed(0)
    network = NetworkConfig(4, 3, "cifar")
    return SinglePathSearch((1, 8, 8), 10, SPACE, network, selection=BestOf(12, finalists=4), measure_batches=2)


@pytest.mark.parametrize("criterion", ["loss", "accuracy"])
def test_a_search_measures_its_finalists_on_all_validation_images(search, criterion, fit_briefly):
    search.criterion = criterion
    data = Digits(batch_size=32, eval_batch_size=50, arch_fraction=0.4)
    fit_briefly(search, data, batches=4, epochs=1)
    finalists = sorted(search.measured, key=search.measured.get, reverse=True)[:4]
    search.network.eval()
    scores = {}
    for support in finalists:
        with torch.no_grad():
            pairs = [(search.network(images, support), labels) for images, labels in data.evaluation_batches("val")]
        logits, labels = (torch.cat(rows) for rows in zip(*pairs, strict=True))
        assert len(labels) == len(data.parts.val.indices) > 50
        loss = float(torch.nn.functional.cross_entropy(logits, labels))
        scores[support] = -loss if criterion == "loss" else float((logits.argmax(1) == labels).float().mean())
    assert scores[search.support] == pytest.approx(max(scores.values()), abs=1e-6)
    assert search.decide(ANYTHING) == search.support


def test_a_search_without_validation_images_says_so_at_once(search, fit_briefly):
    data = Digits(batch_size=32, arch_fraction=0.4, val_fraction=0.0)
    with pytest.raises(ConfigError, match=r"but the data module has none: set data\.val_fraction above 0, or"):
        fit_briefly(search, data, limit_val_batches=0)
    assert search.batches == 0


class TestGenetic:
    def test_it_finds_the_optimum_of_an_additive_score(self, rng):
        measured = Genetic(population=30, generations=12).measure(SPACE, worth, rng)
        everything = max(map(worth, SPACE.supports()))
        assert max(measured.values()) == pytest.approx(everything)
        assert len(measured) < 15_625 / 20
        assert max(BestOf(len(measured)).measure(SPACE, worth, rng).values()) < everything

    def test_each_is_measured_once_and_in_a_small_space_all_are(self, rng):
        asked = []
        space = WeightSharing64Space()
        measured = Genetic(20, 40, mutation=1.0).measure(space, lambda s: asked.append(s) or float(sum(s[0])), rng)
        assert len(asked) == len(set(asked)) == len(measured) == 64
        assert max(measured, key=measured.get) == ((3, 7, 11),)

    def test_children_come_from_the_best(self, rng):
        """Without mutation all decisions are those of the first members; without crossover one changes few."""
        best = BestOf(10).measure(SPACE, worth, np.random.default_rng(5))
        measured = Genetic(10, 3, crossover=1.0).measure(SPACE, worth, np.random.default_rng(5))
        first = list(measured)[:10]
        assert set(first) == set(best)
        held = set().union(*(support[0] for support in first))
        assert set().union(*(support[0] for support in measured)) == held
        alone = Genetic(10, 1, crossover=0.0, mutation=0.0).measure(SPACE, worth, rng)
        assert len(alone) == 10

    def test_generations_never_lose_the_best(self, rng):
        """Later generations only add: the same draws, measured longer."""
        short, long = (
            Genetic(12, generations).measure(SPACE, worth, np.random.default_rng(2)) for generations in (2, 6)
        )
        assert list(long)[: len(short)] == list(short)
        assert max(long.values()) >= max(short.values())
        assert list(Genetic(12, 0).measure(SPACE, worth, np.random.default_rng(2))) == list(short)[:12]

    def test_a_search_decides_by_it(self, fit_briefly):
        torch.manual_seed(0)
        selection = Genetic(population=4, generations=2)
        search = SinglePathSearch((1, 8, 8), 10, SPACE, NetworkConfig(4, 3), selection=selection, measure_batches=1)
        fit_briefly(search, Digits(batch_size=32, arch_fraction=0.4), batches=1, epochs=1)
        assert search.measured[search.support] == max(search.measured.values())
        assert 4 < len(search.measured) <= 12


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BestOf(5, -1), "finalists=-1, count=5; need 0 <= finalists <= count"),
        (lambda: BestOf(5, 6), "finalists=6, count=5; need 0 <= finalists <= count"),
        (lambda: Genetic(population=1), "population=1, generations=60; need a population of at least 2"),
        (lambda: Genetic(generations=-1), "population=100, generations=-1"),
        (lambda: Genetic(crossover=1.1), r"selection\.crossover is 1\.1; it lies in \[0, 1\]"),
        (lambda: Genetic(mutation=-0.2), r"selection\.mutation is -0\.2; it lies in \[0, 1\]"),
    ],
)
def test_mistakes_are_explained(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
