"""Codes that are sparse by groups: against the LASSO, the conditions of optimality, and planted groups."""

import numpy as np
import pytest
from sklearn.linear_model import Lasso

from sparsenas.errors import ConfigError, RecoveryError
from sparsenas.sparse_coding import GroupRegression

EXACT = GroupRegression(tolerance=1e-12, iterations=200_000)
#: Four groups of three atoms.
GROUPS, WEIGHTS = np.repeat(np.arange(4), 3), np.array([1.0, 2.0, 0.5, 1.0])


def data(rows=30, noise=0.1, seed=0):
    """A dictionary, and measurements of the atoms of the third group."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(rows, 12)) + rng.normal(size=12)
    code = np.zeros(12)
    code[6:9] = [1.0, -2.0, 0.5]
    return A, A @ code + noise * rng.normal(size=rows) + 3.0, code


def test_groups_of_one_atom_are_the_lasso():
    A, b, _ = data()
    fit = EXACT.fit(A, b, penalty=0.1)
    other = Lasso(alpha=0.1, tol=1e-12, max_iter=1_000_000).fit(A, b)
    assert fit.code == pytest.approx(other.coef_, abs=1e-5)
    assert fit.offset == pytest.approx(other.intercept_, abs=1e-5)


@pytest.mark.parametrize("penalty", [0.02, 0.2])
@pytest.mark.parametrize("rows", [30, 8])
def test_the_code_fulfils_the_conditions_of_optimality(rows, penalty):
    A, b, _ = data(rows)
    prior = np.linspace(-1, 1, 12)
    fit = EXACT.fit_groups(A, b, GROUPS, WEIGHTS, prior, penalty)
    pull = A.T @ (b - fit.predict(A)) / len(b)
    assert fit.predict(A).mean() == pytest.approx(b.mean())  # the offset is free
    for group, weight in enumerate(WEIGHTS):
        change, force = (fit.code - prior)[group == GROUPS], pull[group == GROUPS]
        if np.linalg.norm(change) > 1e-6:
            assert force == pytest.approx(penalty * weight * change / np.linalg.norm(change), abs=1e-4)
        else:
            assert np.linalg.norm(force) <= penalty * weight * (1 + 1e-4)


def test_the_gap_bounds_what_is_lost():
    A, b, _ = data()

    def cost(fit):
        norms = [np.linalg.norm(fit.code[group == GROUPS]) for group in range(4)]
        return ((fit.predict(A) - b) ** 2).mean() / 2 + 0.05 * WEIGHTS @ norms

    best = cost(EXACT.fit_groups(A, b, GROUPS, WEIGHTS, penalty=0.05))
    for iterations in (1, 3, 10, 100):
        rough = GroupRegression(iterations=iterations).fit_groups(A, b, GROUPS, WEIGHTS, penalty=0.05)
        assert rough.iterations <= iterations
        assert cost(rough) - best <= rough.gap * cost(rough) + 1e-9


def test_only_the_planted_group_differs():
    A, b, code = data(60)
    fit = GroupRegression().fit_groups(A, b, GROUPS, np.ones(4))
    size = [np.linalg.norm(fit.code[group == GROUPS]) for group in range(4)]
    assert fit.code == pytest.approx(code, abs=0.15)
    assert size[2] > 10 * max(size[0], size[1], size[3])
    assert np.corrcoef(fit.held_out, b)[0, 1] > 0.95


def test_a_right_prior_is_kept_and_a_wrong_one_is_outvoted():
    A, b, code = data(60, noise=0.3)
    right = GroupRegression().fit_groups(A, b, GROUPS, np.ones(4), code)
    assert right.code == pytest.approx(code, abs=0.15)
    wrong = GroupRegression().fit_groups(A, b, GROUPS, np.ones(4), -code)
    assert wrong.code == pytest.approx(code, abs=0.3)


def test_few_measurements_keep_more_of_the_prior():
    A, b, code = data(8, noise=0.5)
    other = np.random.default_rng(5).normal(size=(200, 12))

    def error(prior):
        fit = GroupRegression().fit_groups(A, b, GROUPS, np.ones(4), prior)
        return np.abs(fit.predict(other) - (other @ code + 3.0)).mean()

    assert error(code) < error(np.zeros(12))


def test_measurements_as_the_prior_expects_them_leave_it_alone():
    A, _, code = data()
    fit = GroupRegression().fit_groups(A, A @ code + 1.0, GROUPS, np.ones(4), code)
    assert fit.code == pytest.approx(code)
    assert fit.held_out == pytest.approx(A @ code + 1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b": np.zeros(7)}, "give .K, N., .K,., .N,., .N,."),
        ({"groups": GROUPS[:5]}, "give .K, N., .K,., .N,., .N,."),
        ({"mean": np.zeros(3)}, "give .K, N., .K,., .N,., .N,."),
        ({"weights": np.ones(3)}, r"weights has shape \(3,\); give a positive one for each group"),
        ({"weights": np.zeros(4)}, "give a positive one for each group"),
        ({"A": np.zeros((3, 12)), "b": np.zeros(3)}, "there are 3 measurements; a code needs at least 4"),
        ({"b": np.full(30, np.inf)}, "numbers that are not finite"),
    ],
)
def test_what_cannot_be_fitted_is_named(change, message):
    A, b, _ = data()
    arguments = {"A": A, "b": b, "groups": GROUPS, "weights": WEIGHTS} | change
    with pytest.raises(RecoveryError, match=message):
        GroupRegression().fit_groups(**arguments)


@pytest.mark.parametrize("options", [{"folds": 1}, {"penalties": 1}, {"iterations": 0}, {"tolerance": 0.0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match="at least 2 folds and penalties, 1 iteration, and a positive tolerance"):
        GroupRegression(**options)
