"""AceNAS' ranker and its rounds, on a toy accuracy."""

import numpy as np
import pytest

from sparsenas.errors import PredictorError
from sparsenas.predictors.acenas import AceNasRanker
from sparsenas.predictors.base import Predictor
from sparsenas.predictors.fine_tuning import iterate
from sparsenas.predictors.fitting import Fitting
from sparsenas.ranking import kendall_tau
from sparsenas.spaces import NasBench201Space, draw_distinct, encoding_of

SPACE = NasBench201Space()
ENCODING = encoding_of(SPACE)
QUICK = Fitting(epochs=30, batch_size=20, lr=1e-3)


def networks(count):
    return draw_distinct(SPACE, count, np.random.default_rng(0))


def ranker(**options):
    return AceNasRanker(ENCODING, pretraining=QUICK, fine_tuning=QUICK, **options)


class Oracle(Predictor):
    """Scores by a function, and notes what it was fitted to."""

    least = 2

    def __init__(self, score):
        super().__init__()
        self.score, self.calls = score, []

    def _fit(self, genotypes, targets, info):
        self.calls.append(("fit", len(genotypes)))

    def refit(self, genotypes, targets, info):
        self.fit(genotypes, targets, info)
        self.calls[-1] = ("refit", len(genotypes))

    def _query(self, genotypes, info):
        return np.array([self.score(genotype) for genotype in genotypes])


@pytest.mark.parametrize(("carry_on", "later"), [(True, "refit"), (False, "fit")])
def test_rounds_take_half_of_the_best_and_half_at_random(carry_on, later):
    genotypes = networks(200)
    worth = {genotype: float(row) for row, genotype in enumerate(genotypes)}
    measured = []

    def measure(genotype):
        measured.append(genotype)
        return worth[genotype]

    oracle = Oracle(worth.__getitem__)
    found = iterate(genotypes, measure, oracle, budget=50, iterations=5, top=10, carry_on=carry_on)
    assert oracle.calls == [("fit", 10), *((later, count) for count in (20, 30, 40, 50))]
    assert len(measured) == len(set(measured)) == found.cost <= 60
    assert len(found.trained) == 50
    for begin in range(10, 50, 10):
        unseen = [genotype for genotype in genotypes if genotype not in found.trained[:begin]]
        assert list(found.trained[begin : begin + 5]) == unseen[:-6:-1]
    assert found.top == tuple(genotypes[:-11:-1])
    assert (found.best, found.accuracy) == (genotypes[-1], 199.0)
    assert found.accuracies.tolist() == [worth[genotype] for genotype in found.trained]


def test_networks_of_the_top_that_were_trained_before_cost_nothing():
    genotypes = networks(60)
    worth = {genotype: float(row) for row, genotype in enumerate(genotypes)}
    found = iterate(genotypes, worth.__getitem__, Oracle(worth.__getitem__), budget=50, iterations=5, top=10)
    assert found.cost == 50 + len(set(found.top) - set(found.trained)) < 60


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 7, "iterations": 2}, "each iteration needs the same number of networks, at least 2"),
        ({"budget": 4, "iterations": 4}, "each iteration needs the same number of networks, at least 2"),
        ({"budget": 20, "iterations": 2, "top": 0}, "the top one or more"),
        ({"budget": 28, "iterations": 2, "top": 5}, "30 genotypes, 30 of them different; give at least 33, each once"),
    ],
)
def test_a_budget_that_cannot_be_divided_is_refused(options, message):
    with pytest.raises(PredictorError, match=message):
        iterate(networks(30), lambda genotype: 1.0, Oracle(lambda genotype: 1.0), **options)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["lambda_rank", "mse"])
def test_a_fit_begins_anew_and_a_refit_goes_on(loss):
    genotypes, fitted = networks(30), ranker(loss=loss)
    targets = np.array([float(SPACE.parameters(genotype)) for genotype in genotypes])
    scores = []
    for learn in (fitted.fit, fitted.fit, fitted.refit, fitted.fit):
        learn(genotypes[:20], targets[:20], {})
        scores.append(fitted.query(genotypes[20:], {}).tolist())
    assert scores[0] == scores[1] == scores[3] != scores[2]


@pytest.mark.slow
def test_pre_training_on_a_label_orders_by_it():
    genotypes = networks(300)
    labels = {
        "flops": np.array([float(SPACE.flops(genotype)) for genotype in genotypes]),
        "shared_accuracy": -np.array([float(SPACE.parameters(genotype)) for genotype in genotypes]),
    }
    still = Fitting(epochs=1, batch_size=20, lr=0.0)
    both = AceNasRanker(ENCODING, pretraining=QUICK, fine_tuning=still)
    both.pretrain(genotypes[:200], {name: values[:200] for name, values in labels.items()})
    both.fit(genotypes[:2], np.array([1.0, 2.0]), {})  # moves nothing
    scores = both.query(genotypes[200:], {})
    assert kendall_tau(scores, labels["shared_accuracy"][200:]) > 0.7


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({}, "labels are none; give some of shared_accuracy, parameters, flops"),
        ({"latency": np.arange(5.0)}, "labels are latency; give some of"),
        ({"flops": np.ones(5)}, "flops has shape .5,.; give each of the 5 genotypes a number, not all the same"),
        ({"flops": np.arange(4.0)}, "flops has shape .4,.; give each of the 5 genotypes a number"),
    ],
)
def test_labels_that_teach_nothing_are_refused(labels, message):
    with pytest.raises(PredictorError, match=message):
        ranker().pretrain(networks(5), labels)


def test_unknown_losses_are_refused():
    with pytest.raises(PredictorError, match="loss is 'hinge' and rank_by 'predicted'; use lambda_rank or mse"):
        ranker(loss="hinge")


def test_no_networks_to_pretrain_on_are_named():
    with pytest.raises(PredictorError, match="give each of the 0 genotypes a number"):
        ranker().pretrain([], {"flops": np.zeros(0)})


@pytest.mark.parametrize("bad", [0, 199])  # drawn at random, and of the top alone
def test_an_accuracy_that_is_no_number_is_named(bad):
    genotypes = networks(200)
    worth = {genotype: float(row) for row, genotype in enumerate(genotypes)}
    accuracies = {**worth, genotypes[bad]: float("nan")}
    options = {"budget": 200 - 1, "iterations": 1, "top": 1} if bad == 0 else {"budget": 2, "iterations": 1, "top": 1}
    with pytest.raises(PredictorError, match=r"the accuracy of .* is nan; give a number"):
        iterate(genotypes, accuracies.__getitem__, Oracle(worth.__getitem__), **options)


def test_targets_of_which_most_are_the_best_rank_nothing():
    targets = np.where(np.arange(20) < 2, 80.0, 90.0)
    with pytest.raises(
        PredictorError, match=r"AceNasRanker: truth: the 0\.2 quantile is the maximum, 90; no item is more"
    ):
        ranker().fit(networks(20), targets, {})
