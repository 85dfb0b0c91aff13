"""Codes of measurements: against scikit-learn, against leaving out by hand, and where the truth is known."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from sparsenas.errors import ConfigError, RecoveryError
from sparsenas.sparse_coding import GroupRegression, RidgeRegression

EXACT = GroupRegression(tolerance=1e-10, iterations=20_000)
EACH = pytest.mark.parametrize("regression", [EXACT, RidgeRegression()], ids=lambda r: type(r).__name__)
#: More measurements than atoms, and fewer.
SHAPES = pytest.mark.parametrize("shape", [(40, 12), (15, 50)])


def measurements(shape, noise=0.3, seed=0):
    """A dictionary, and measurements of four of its atoms; neither has mean zero."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=shape) + rng.normal(size=shape[1])
    code = np.zeros(shape[1])
    code[rng.choice(shape[1], 4, replace=False)] = [2.0, -1.5, 1.0, -1.0]
    return A, A @ code + noise * rng.normal(size=shape[0]) + 7.0, code


@SHAPES
@pytest.mark.parametrize("penalty", [0.1, 10.0])
def test_ridge_is_that_of_scikit_learn(shape, penalty):
    A, b, _ = measurements(shape)
    fit, other = RidgeRegression().fit(A, b, penalty), Ridge(penalty).fit(A, b)
    np.testing.assert_allclose(fit.code, other.coef_, atol=1e-9)
    assert fit.offset == pytest.approx(other.intercept_)


@SHAPES
def test_ridge_leaves_one_out(shape):
    A, b, _ = measurements(shape)
    fit = RidgeRegression().fit(A, b)
    held_out = cross_val_predict(Ridge(fit.penalty), A, b, cv=LeaveOneOut())
    np.testing.assert_allclose(fit.held_out, held_out, rtol=1e-6)


@SHAPES
def test_no_other_penalty_predicts_better(shape):
    A, b, _ = measurements(shape)
    fit = RidgeRegression().fit(A, b)
    least = ((fit.held_out - b) ** 2).mean()
    for factor in (1e-3, 0.3, 0.5, 2.0, 3.0, 1e3):
        other = cross_val_predict(Ridge(fit.penalty * factor), A, b, cv=LeaveOneOut())
        assert ((other - b) ** 2).mean() >= 0.98 * least


def test_single_atoms_are_found_by_few_measurements():
    A, b, code = measurements((60, 120), noise=0.0)
    fit = EXACT.fit(A, b)
    assert set(np.argsort(-np.abs(fit.code))[:4]) == set(np.flatnonzero(code))
    np.testing.assert_allclose(fit.code, code, atol=0.1)
    assert np.corrcoef(fit.held_out, b)[0, 1] > 0.99


def test_ridge_uses_every_atom_and_the_other_few():
    A, b, _ = measurements((40, 30))
    assert np.count_nonzero(RidgeRegression().fit(A, b).code) == 30
    assert 4 <= np.count_nonzero(EXACT.fit(A, b, 0.2).code) < 15


@EACH
def test_what_is_held_out_has_not_been_seen(regression):
    """Noise can be fitted, but not foreseen."""
    rng = np.random.default_rng(0)
    A, b = rng.normal(size=(30, 60)), rng.normal(size=30)
    fit = regression.fit(A, b)
    assert ((fit.held_out - b) ** 2).mean() > 0.9 * b.var()
    assert np.corrcoef(regression.fit(A, b, 1e-2).predict(A), b)[0, 1] > 0.95


@EACH
def test_offsets_change_no_code(regression):
    A, b, _ = measurements((40, 12))
    fit, moved = regression.fit(A, b), regression.fit(A + np.arange(12), b - 3)
    np.testing.assert_allclose(moved.code, fit.code, atol=1e-6)
    np.testing.assert_allclose(moved.predict(A + np.arange(12)), fit.predict(A) - 3, atol=1e-6)
    np.testing.assert_allclose(moved.held_out, fit.held_out - 3, atol=1e-6)
    assert fit.predict(np.zeros((1, 12))) == pytest.approx(fit.offset)


@EACH
@pytest.mark.parametrize(
    ("A", "b"),
    [(np.ones((6, 3)), np.arange(6.0)), (np.array([[1.0], [-1.0], [1.0], [-1.0]]), np.array([1.0, 1.0, 0.0, 0.0]))],
    ids=["constant", "orthogonal"],
)
def test_atoms_that_explain_nothing_predict_the_mean(regression, A, b):
    fit = regression.fit(A, b)
    np.testing.assert_allclose(fit.code, 0, atol=1e-3)
    np.testing.assert_allclose(fit.predict(A), b.mean(), atol=1e-3)
    assert np.isfinite(fit.held_out).all()


@EACH
@pytest.mark.parametrize("b", [[0.0, 0.0, 0.0, 1.0], [3.0, 1.0, 2.0, 2.0]])
def test_four_measurements_are_enough(regression, b):
    A = np.random.default_rng(1).normal(size=(4, 9))
    fit = regression.fit(A, np.array(b))
    assert np.isfinite(fit.code).all()
    assert np.isfinite(fit.held_out).all()


@EACH
def test_equal_rows_are_no_obstacle(regression):
    """As in a bootstrap, which draws some rows twice."""
    A, b, _ = measurements((12, 20))
    rows = np.random.default_rng(0).integers(12, size=12)
    fit = regression.fit(A[rows], b[rows])
    again = regression.fit(A[rows], b[rows], fit.penalty)
    np.testing.assert_allclose(again.predict(A), fit.predict(A), atol=0.05)


@EACH
@pytest.mark.parametrize(
    ("A", "b", "message"),
    [
        (np.ones(5), np.arange(5.0), r"dictionary has shape \(5,\) and the measurements \(5,\); give \(K, N\), \(K,\)"),
        (np.ones((5, 2)), np.arange(4.0), r"dictionary has shape \(5, 2\) and the measurements \(4,\)"),
        (np.ones((5, 2)), np.ones((5, 1)), r"the measurements \(5, 1\)"),
        (np.ones((5, 0)), np.arange(5.0), r"dictionary has shape \(5, 0\)"),
        (np.eye(3), np.arange(3.0), "there are 3 measurements; a code needs at least 4"),
        (np.diag([1.0, np.nan, 1.0, 1.0]), np.arange(4.0), "numbers that are not finite"),
        (np.eye(4), np.array([1.0, 2.0, 3.0, -np.inf]), "numbers that are not finite"),
        (np.eye(5), np.full(5, 2.5), r"all 5 measurements are 2\.5; they tell nothing apart"),
    ],
)
def test_what_is_no_problem_to_solve(regression, A, b, message):
    with pytest.raises(RecoveryError, match=message):
        regression.fit(A, b)


def test_too_few_penalties():
    with pytest.raises(ConfigError, match="penalties=1; try at least 2"):
        RidgeRegression(penalties=1)
