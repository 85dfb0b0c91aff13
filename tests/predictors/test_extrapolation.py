"""Extrapolation of learning curves: families are recovered, no curve falls, and ends are where they should be."""

import sys

import numpy as np
import pytest

from sparsenas.errors import PredictorError
from sparsenas.predictors.curve_families import FAMILIES
from sparsenas.predictors.extrapolation import CurveExtrapolation
from sparsenas.ranking import kendall_tau
from sparsenas.spaces import NasBench201Space

GENOTYPES = [NasBench201Space().sample(np.random.default_rng(seed)) for seed in range(20)]
EPOCHS = np.arange(1, 201)


def loglog_linear(x, a, b):
    return np.log(a * np.log(x) + b)


def log_power(x, a, b, c):
    return a / (1 + (x / np.exp(b)) ** c)


def mmf(x, alpha, beta, k, delta):
    return alpha - (alpha - beta) / (1 + (k * x) ** delta)


def hill3(x, y, k, eta):
    return y * x**eta / (k**eta + x**eta)


#: Curves as their authors write them, and the parameters of our form.
TRUE = {
    "loglog_linear": (loglog_linear(EPOCHS, 0.12, 1.6), (0.12, 1.6)),
    "log_power": (log_power(EPOCHS, 0.9, 1.5, -1.2), (0.9, 1.5, -1.2)),
    "mmf": (mmf(EPOCHS, 0.92, 0.23, 0.2, 1.4), (0.92, 0.25, np.log(0.2), 1.4)),
    "hill3": (hill3(EPOCHS, 0.8, 6.0, 1.3), (0.8, np.log(6.0), 1.3)),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_recovered_from_a_curve_without_noise(name):
    curve, parameters = TRUE[name]
    found = FAMILIES[name].fit(curve[:30])
    assert found == pytest.approx(parameters, rel=1e-3)
    assert FAMILIES[name].formula(found, np.log(EPOCHS)) == pytest.approx(curve, abs=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("seed", range(3))
def test_no_curve_between_the_bounds_falls_or_overflows(name, seed):
    family = FAMILIES[name]
    rng = np.random.default_rng(seed)
    lower, upper = np.array(family.lower), np.array(family.upper)
    parameters = lower + (upper - lower) * rng.random((500, len(lower))).round(1)  # the bounds too
    curves = family.formula(parameters, np.log(EPOCHS))
    assert np.isfinite(curves).all()
    assert (np.diff(curves, axis=1) >= -1e-12).all()


def info(curves, epochs=200):
    return {"val_accuracy": curves, "epochs": np.full((len(curves), 1), float(epochs))}


@pytest.mark.parametrize("sampler", ["metropolis", pytest.param("ensemble", marks=pytest.mark.slow)])
def test_the_end_of_curves_is_found(sampler):
    curves = 100 * np.stack([curve for curve, _ in TRUE.values()])
    predictor = CurveExtrapolation(sampler, steps=300, burn_in=200 if sampler == "ensemble" else 0)
    ends = predictor.query(GENOTYPES[:4], info(curves[:, :60]))
    # alike in weight, each family pulls to its own end
    assert ends == pytest.approx(curves[:, -1], abs=2.5 if sampler == "ensemble" else 6)
    assert (ends > curves[:, 59]).all()


@pytest.mark.parametrize("sampler", ["metropolis", pytest.param("ensemble", marks=pytest.mark.slow)])
def test_a_score_depends_on_its_curve_alone_and_on_no_unit(sampler):
    rng = np.random.default_rng(0)
    ends = rng.uniform(0.5, 0.95, 5)
    curves = ends[:, None] * EPOCHS[:20] / (EPOCHS[:20] + 4) + 0.01 * rng.standard_normal((5, 20))
    predictor = CurveExtrapolation(sampler, steps=60, best=1.0, seed=2)
    before = np.random.get_state()[1].tolist()
    scores = predictor.query(GENOTYPES[:5], info(curves))
    assert predictor.query(GENOTYPES[3:5], info(curves[3:])).tolist() == scores[3:].tolist()
    assert np.random.get_state()[1].tolist() == before
    assert kendall_tau(scores, ends) > 0.5
    percent = CurveExtrapolation(sampler, steps=60, seed=2)
    assert percent.query(GENOTYPES[:5], info(100 * curves)) == pytest.approx(100 * scores, abs=0.2)


def test_a_network_that_does_not_learn_stays_where_it_is():
    chance = np.full((1, 30), 10.0)
    assert CurveExtrapolation().query(GENOTYPES[:1], info(chance)) == pytest.approx(10, abs=0.2)


def test_curves_that_cannot_be_extrapolated():
    curves = np.full((2, 10), 50.0)
    curves[1, 4] = 101
    with pytest.raises(PredictorError, match="accuracies of network 1 go from 50 to 101; give numbers between 0 and"):
        CurveExtrapolation().query(GENOTYPES[:2], info(curves))
    for epochs, final in ((3, 200), (10, 10)):
        with pytest.raises(PredictorError, match=f"have {epochs} epochs; give at least 4, and fewer than the {final}"):
            CurveExtrapolation().query(GENOTYPES[:2], info(np.full((2, epochs), 50.0), final))
    zeros = info(np.stack([np.linspace(10, 50, 10), np.zeros(10)]))
    with pytest.raises(PredictorError, match="the learning curve of network 1 fits no family; leave this network out"):
        CurveExtrapolation("ensemble", steps=2).query(GENOTYPES[:2], zeros)


def test_options_and_a_library_that_are_not_there(monkeypatch):
    for options in ({"sampler": "gibbs"}, {"steps": 0}, {"burn_in": 300}, {"best": 0}, {"seed": -1}):
        with pytest.raises(PredictorError, match="use metropolis or ensemble, fewer steps of burn-in than steps"):
            CurveExtrapolation(**options)
    monkeypatch.setitem(sys.modules, "emcee", None)
    with pytest.raises(PredictorError, match=r"needs emcee, .*pip install 'sparsenas\[predictors\]'"):
        CurveExtrapolation("ensemble")
    assert CurveExtrapolation().steps == 300
