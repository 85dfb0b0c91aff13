"""What holds for every predictor of the suite."""

import numpy as np
import pytest

from sparsenas.errors import PredictorError
from sparsenas.predictors import SUITE, CurveRegression, make_predictor
from sparsenas.ranking import kendall_tau
from sparsenas.spaces import NasBench201Space, draw_distinct, encoding_of

SPACE = NasBench201Space()
ENCODING = encoding_of(SPACE)
#: Worth of each primitive of the toy accuracy: none, skip, 1x1, 3x3, pool.
WORTH = dict(zip(SPACE.primitives, (0.0, 1.0, 2.0, 3.0, 0.5), strict=True))
FITTED = [name for name in SUITE if make_predictor(name, ENCODING).least]
#: Networks to learn from, to ask about; epochs that are known of each.
LEARN, ASK, EPOCHS = 60, 60, 8
#: Networks that a slow predictor is asked about, about a second each.
FEWER = {"lce_m": 25}
#: Those whose fit takes long learn from one shuffle, the others from three.
LONG = {"bananas", "gcn", "omni_ngboost", "omni_ngboost_no_curve", "omni_seminas", "seminas"}
#: Kendall's tau by chance, in one shuffle: few features decide here, and a wrong one may be right by luck.
CHANCE = 0.4


def accuracy(genotype):
    return 60 + sum(WORTH[candidate.primitive] for candidate in genotype.cell("normal"))


def networks(count, seed=0):
    return draw_distinct(SPACE, count, np.random.default_rng(seed))


def info_of(targets, predictor, seed=0):
    """Curves that rise to the targets, and scores that follow them, with noise."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(scale=0.5, size=(len(targets), EPOCHS))  # twice as much is what extrapolation cannot bear
    rise = targets[:, None] * (1 - np.exp(-np.arange(1, EPOCHS + 1) / 3)) + noise
    curves = {"val_accuracy": rise, "train_loss": 3 - rise / 50, "val_loss": 3 - rise / 50}
    curves["epochs"] = np.full((len(targets), 1), 200.0)
    return {name: curves.get(name, rise[:, -1:]) for name in predictor.requires}


@pytest.fixture(scope="module")
def data():
    genotypes = networks(LEARN + ASK)
    return genotypes, np.array([accuracy(genotype) for genotype in genotypes])


@pytest.mark.slow
@pytest.mark.parametrize("name", SUITE)
def test_scores_follow_the_accuracy_and_repeat_with_the_seed(name, data):
    genotypes, targets = (part[: LEARN + FEWER.get(name, ASK)] for part in data)
    scores = []
    for _ in range(2):
        predictor = make_predictor(name, ENCODING, seed=3)
        info = info_of(targets, predictor)
        known = {key: values[:LEARN] for key, values in info.items()}
        asked = {key: values[LEARN:] for key, values in info.items()}
        predictor.fit(genotypes[:LEARN], targets[:LEARN], known)
        scores.append(predictor.query(genotypes[LEARN:], asked))
        assert predictor.query_seconds > 0
        assert (predictor.fit_seconds > 0) == (predictor.least > 0)
    assert kendall_tau(scores[0], targets[LEARN:]) > 0.4
    assert scores[0].tolist() == scores[1].tolist()
    few = predictor.query(genotypes[LEARN : LEARN + 3], {key: values[:3] for key, values in asked.items()})
    assert few == pytest.approx(scores[0][:3], rel=1e-4, abs=1e-4)  # whoever is asked beside


@pytest.mark.slow
@pytest.mark.parametrize("name", FITTED)
def test_nothing_is_learned_from_shuffled_targets(name, data):
    genotypes, targets = data
    taus = []
    for seed in range(1 if name in LONG else 3):
        shuffled = np.random.default_rng(seed).permutation(targets)
        predictor = make_predictor(name, ENCODING, seed)
        known = info_of(np.random.default_rng(seed).permutation(targets), predictor, seed)  # of other networks
        predictor.fit(genotypes[:LEARN], shuffled[:LEARN], {k: v[:LEARN] for k, v in known.items()})
        asked = {k: v[LEARN:] for k, v in known.items()}
        scores = predictor.query(genotypes[LEARN:], asked)
        taus.append(kendall_tau(scores, targets[LEARN:]) if np.ptp(scores) else 0.0)
    assert abs(np.mean(taus)) < CHANCE / np.sqrt(len(taus))


@pytest.mark.parametrize("name", ["random_forest", "lightgbm", "nao", "gaussian_process", "lce"])
def test_no_networks_have_no_scores(name, data):
    genotypes, targets = data
    predictor = make_predictor(name, ENCODING)
    info = info_of(targets, predictor)
    predictor.fit(genotypes[:10], targets[:10], {key: values[:10] for key, values in info.items()})
    assert predictor.query([], {key: values[:0] for key, values in info.items()}).shape == (0,)


def test_a_regression_of_curves_leaves_the_global_random_state_alone(data):
    genotypes, targets = data
    predictor = CurveRegression(draws=2)
    before = np.random.get_state()[1:3]
    predictor.fit(genotypes, targets, info_of(targets, predictor))
    after = np.random.get_state()[1:3]
    assert (before[0] == after[0]).all()
    assert before[1] == after[1]


@pytest.mark.parametrize("name", FITTED)
def test_bad_input_ends_in_one_message(name, data):
    genotypes, targets = data
    predictor = make_predictor(name, ENCODING)
    info = {key: values[:LEARN] for key, values in info_of(targets, predictor).items()}
    with pytest.raises(PredictorError, match="has learned from no network yet"):
        predictor.query(genotypes[:LEARN], info)
    few = predictor.least - 1
    with pytest.raises(PredictorError, match=f"{few} networks to learn from; it needs at least {predictor.least}"):
        predictor.fit(genotypes[:few], targets[:few], {key: values[:few] for key, values in info.items()})
    with pytest.raises(PredictorError, match="all targets are 61, from which no order can be learned"):
        predictor.fit(genotypes[:LEARN], np.full(LEARN, 61.0), info)
    with pytest.raises(PredictorError, match="a genotype is there twice"):
        predictor.fit([genotypes[0], *genotypes[: LEARN - 1]], targets[:LEARN], info)
    with pytest.raises(PredictorError, match="target 5 is nan"):
        predictor.fit(genotypes[:LEARN], np.where(np.arange(LEARN) == 5, np.nan, targets[:LEARN]), info)
    for missing in sorted(predictor.requires):
        rest = {key: values for key, values in info.items() if key != missing}
        with pytest.raises(PredictorError, match=f"needs {missing} of every network"):
            predictor.fit(genotypes[:LEARN], targets[:LEARN], rest)


def test_an_unknown_name_lists_the_known():
    with pytest.raises(PredictorError, match=r"no predictor 'oracle'; known are .*random_forest"):
        make_predictor("oracle", ENCODING)
