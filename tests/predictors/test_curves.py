"""Predictors that read learning curves: their definitions, the protocol, and what regression learns."""

import numpy as np
import pytest

from sparsenas.errors import PredictorError
from sparsenas.predictors import CurveRegression, EarlyStopAccuracy, EarlyStopLoss, SumOfLosses
from sparsenas.predictors.regression import curve_features
from sparsenas.ranking import kendall_tau
from sparsenas.spaces import NasBench201Space

GENOTYPES = [NasBench201Space().sample(np.random.default_rng(seed)) for seed in range(150)]
GENOTYPES = list(dict.fromkeys(GENOTYPES))[:120]
PREDICTORS = {
    "sotl": lambda: SumOfLosses(),
    "sotl-e": lambda: SumOfLosses(1),
    "early stop (acc)": lambda: EarlyStopAccuracy(),
    "early stop (loss)": lambda: EarlyStopLoss(),
    "lcsvr": lambda: CurveRegression(draws=10),
    "lcsvr, whole curve": lambda: CurveRegression("curve", draws=10),
}


def known(count, epochs=6, seed=0):
    """Learning curves of networks that differ in where they end, and their final accuracies."""
    rng = np.random.default_rng(seed)
    final = 60 + 30 * rng.random(count)
    shape = 1 - np.exp(-np.arange(1, epochs + 1) / 3)
    accuracy = final[:, None] * shape + 0.2 * rng.standard_normal((count, epochs))
    loss = 3 - accuracy / 40
    return {"train_loss": loss, "val_loss": loss + 0.1, "val_accuracy": accuracy}, final


@pytest.fixture(params=PREDICTORS)
def predictor(request):
    return PREDICTORS[request.param]()


def test_who_ends_higher_has_the_higher_score(predictor):
    info, final = known(80)
    predictor.fit(GENOTYPES[:80], final, info)
    others, truth = known(40, seed=1)
    scores = predictor.query(GENOTYPES[80:120], others)
    assert scores.shape == (40,)
    assert kendall_tau(scores, truth) > 0.8
    assert predictor.query_seconds >= 0
    assert (predictor.fit_seconds > 0) == (predictor.least > 0)
    assert (predictor.query(GENOTYPES[80:120], others) == scores).all()


def test_what_is_missing_or_no_number_is_named(predictor):
    info, final = known(20)
    name = min(predictor.requires)
    predictor.fit(GENOTYPES[:20], final, info)
    with pytest.raises(PredictorError, match=f"needs {name} of every network"):
        predictor.query(GENOTYPES[:20], {})
    with pytest.raises(PredictorError, match=rf"{name} has shape \(19, 6\); give \(20, epochs\)"):
        predictor.query(GENOTYPES[:20], {key: values[1:] for key, values in info.items()})
    broken = {key: np.where(np.arange(6) == 3, np.nan, values) for key, values in info.items()}
    with pytest.raises(PredictorError, match=f"{name} holds values that are no numbers"):
        predictor.query(GENOTYPES[:20], broken)


def test_sums_are_over_the_last_epochs():
    losses = {"train_loss": np.array([[4.0, 2.0, 1.0], [3.0, 3.0, 0.5]])}
    assert SumOfLosses().query(GENOTYPES[:2], losses).tolist() == [-7, -6.5]
    assert SumOfLosses(2).query(GENOTYPES[:2], losses).tolist() == [-3, -3.5]
    assert SumOfLosses(1).query(GENOTYPES[:2], losses).tolist() == [-1, -0.5]
    with pytest.raises(PredictorError, match="window is 0; use at least 1, or None for all epochs"):
        SumOfLosses(0)


def test_second_differences_of_a_parabola_are_constant():
    epochs = np.arange(9.0)
    parabola = 0.5 * epochs**2 - epochs
    (mean, deviation, slope, _, bend, wobble) = curve_features(parabola[None], "summary")[0]
    assert (bend, wobble) == (pytest.approx(1.0), pytest.approx(0.0))
    assert slope == pytest.approx(np.mean(epochs[:-1] - 0.5))
    assert (mean, deviation) == (pytest.approx(parabola.mean()), pytest.approx(parabola.std()))
    assert curve_features(np.zeros((2, 9)), "curve").shape == (2, 3 * 9 - 1)
    with pytest.raises(PredictorError, match="learning curves have 2 epochs; their features need at least 3"):
        curve_features(np.zeros((1, 2)), "summary")


@pytest.mark.parametrize("seed", range(3))
def test_the_error_that_is_expected_is_that_on_new_networks(seed):
    rng = np.random.default_rng(seed)
    final = 60 + 30 * rng.random(300)
    curves = final[:, None] * np.linspace(0.5, 0.9, 8)
    targets = final + 2.0 * rng.standard_normal(300)  # what no curve tells
    regression = CurveRegression(draws=100, seed=seed)
    regression.fit_curves(curves[:150], targets[:150])
    error = np.std(regression.query_curves(curves[150:]) - targets[150:])
    assert regression.sigma == pytest.approx(2.0, rel=0.2)
    assert regression.sigma == pytest.approx(error, rel=0.2)


def test_shuffled_targets_teach_nothing():
    info, final = known(80)
    taus = []
    for seed in range(5):
        regression = CurveRegression(draws=20, seed=seed)
        regression.fit(GENOTYPES[:80], np.random.default_rng(seed).permutation(final), info)
        others, truth = known(40, seed=100 + seed)
        scores = regression.query(GENOTYPES[80:120], others)
        taus.append(0.0 if np.ptp(scores) == 0 else kendall_tau(scores, truth))
    assert abs(np.mean(taus)) < 0.35


@pytest.mark.parametrize(
    ("count", "change", "message"),
    [
        (7, {}, "7 networks to learn from; it needs at least 8"),
        (20, {3: np.nan}, "target 3 is nan; leave this network out"),
        (20, dict.fromkeys(range(20), 81.0), "all targets are 81, from which no order can be learned"),
    ],
)
def test_networks_from_which_nothing_can_be_learned(count, change, message):
    info, final = known(count)
    for place, value in change.items():
        final[place] = value
    with pytest.raises(PredictorError, match=message):
        CurveRegression(draws=2).fit(GENOTYPES[:count], final, info)


def test_a_regression_is_for_one_length_and_learns_before_it_says_anything():
    info, final = known(20)
    regression = CurveRegression(draws=2)
    with pytest.raises(PredictorError, match="has learned from no network yet; fit it first"):
        regression.query(GENOTYPES[:20], info)
    with pytest.raises(PredictorError, match="a genotype is there twice"):
        regression.fit([*GENOTYPES[:19], GENOTYPES[0]], final, info)
    regression.fit(GENOTYPES[:20], final, info)
    shorter = {"val_accuracy": info["val_accuracy"][:, :5]}
    with pytest.raises(PredictorError, match="have 5 epochs, and those of the fit 6; fit one predictor"):
        regression.query(GENOTYPES[:20], shorter)
    for options, message in (({"features": "all"}, "use summary or curve"), ({"draws": 0}, "use at least 1 draw")):
        with pytest.raises(PredictorError, match=message):
            CurveRegression(**options)
