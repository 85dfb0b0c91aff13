"""Correlations: agreement with scipy and with definitions, invariances, and the sparse variants."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sparsenas.errors import RankingError
from sparsenas.ranking import (
    kendall_tau,
    percentile,
    sparse_kendall_tau,
    spearman,
)

CORRELATIONS = [kendall_tau, spearman]
#: Rankings of few values, so that there are ties.
TIED = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=12).filter(
    lambda items: all(len({item[side] for item in items}) > 1 for side in (0, 1))
)


def noisy(seed, noise, items=200, spread=1.2):
    """Accuracies in percent, and scores that are these with noise."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(90, spread, items)
    return truth + rng.normal(0, noise, items), truth


def tau_b_by_pairs(scores, truth):
    signs = [
        (np.sign(scores[i] - scores[j]), np.sign(truth[i] - truth[j])) for i, j in combinations(range(len(scores)), 2)
    ]
    products = sum(first * second for first, second in signs)
    return products / np.sqrt(sum(first**2 for first, _ in signs) * sum(second**2 for _, second in signs))


@given(TIED)
def test_kendall_is_the_definition(items):
    scores, truth = np.array(items).T
    assert kendall_tau(scores, truth) == pytest.approx(tau_b_by_pairs(scores, truth))


def test_correlations_are_those_of_scipy():
    scores, truth = noisy(0, 1.0)
    assert kendall_tau(scores, truth) == stats.kendalltau(scores, truth).statistic
    assert spearman(scores, truth) == stats.spearmanr(scores, truth).statistic


@pytest.mark.parametrize("figure", CORRELATIONS)
def test_symmetric_odd_and_one_of_itself(figure):
    scores, truth = noisy(1, 1.0)
    assert figure(scores, truth) == pytest.approx(figure(truth, scores))
    assert figure(-scores, truth) == pytest.approx(-figure(scores, truth))
    assert figure(truth, truth) == pytest.approx(1)


@pytest.mark.parametrize("figure", [kendall_tau, spearman])
def test_rank_correlations_do_not_change_under_monotone_maps(figure):
    scores, truth = noisy(2, 1.0)
    assert figure(np.exp(scores - 90), truth**3) == pytest.approx(figure(scores, truth))


@given(TIED)
def test_sparse_tau_is_tau_when_bins_are_finer_than_differences(items):
    scores, truth = np.array(items, float).T
    assert sparse_kendall_tau(scores, truth, 0.1) == pytest.approx(kendall_tau(scores, truth))


def test_sparse_tau_ignores_differences_within_a_bin():
    truth = np.array([90.01, 90.09, 91.05, 91.02])
    assert kendall_tau([1, 2, 3, 4], truth) == pytest.approx(4 / 6)
    assert kendall_tau([1, 2, 4, 3], truth) == 1
    for scores in ([1, 2, 3, 4], [2, 1, 4, 3]):
        assert sparse_kendall_tau(scores, truth, 0.1) == pytest.approx(4 / np.sqrt(6 * 4))


def test_bins_begin_at_multiples_of_the_width():
    # 0.3 / 0.1 and 91.3 / 0.1 are not integers in floating point
    for edge in np.arange(1, 1000) / 10:
        assert sparse_kendall_tau([0, 1, 1], [edge - 0.05, edge, edge + 0.09], 0.1) == pytest.approx(1)


def test_percentile_is_scipys_and_100_for_the_best():
    population = np.array([3.0, 1.0, 2.0, 2.0])
    for value in (0.0, 1.0, 2.0, 2.5, 3.0, 4.0):
        assert percentile(value, population) == stats.percentileofscore(population, value, kind="weak")
    assert percentile(population, population).tolist() == [100, 25, 75, 75]


@pytest.mark.parametrize("figure", CORRELATIONS)
@pytest.mark.parametrize(
    ("scores", "truth", "message"),
    [
        ([1, 2, 3], [1, 2], "scores has 3 items but truth has 2"),
        ([1], [1], r"scores: shape is \(1,\); expected \(items,\) with at least 2 items"),
        ([], [], r"scores: shape is \(0,\)"),
        ([[1, 2]], [1, 2], r"scores: shape is \(1, 2\)"),
        ([2, 2, 2], [1, 2, 3], "scores: all 3 values are 2; a correlation needs two that differ"),
        ([1, 2, 3], [2, 2, 2], "truth: all 3 values are 2"),
        ([1, np.nan, 3], [1, 2, 3], "scores: item 1 is nan; give a number to every item"),
        ([1, 2, 3], [1, 2, -np.inf], "truth: item 2 is -inf"),
        (["good", "bad"], [1, 2], "scores: not numbers"),
        ([1, None], [1, 2], "scores: item 1 is nan"),
    ],
)
def test_what_cannot_be_ranked_is_an_error(figure, scores, truth, message):
    with pytest.raises(RankingError, match=message):
        figure(scores, truth)


@pytest.mark.parametrize("width", [0, -1, np.nan, np.inf])
def test_a_width_is_positive(width):
    with pytest.raises(RankingError, match=f"width is {width}; it must be a positive number"):
        sparse_kendall_tau([1, 2], [1, 2], width)


def test_bins_that_hold_everything_rank_nothing():
    with pytest.raises(RankingError, match="all 2 values are 0"):
        sparse_kendall_tau([1, 2], [1, 2], 10)


@pytest.mark.parametrize("figure", CORRELATIONS)
@pytest.mark.parametrize("scale", [1e-300, 1, 1.7e308])
def test_any_finite_scale_is_fine(figure, scale):
    scores, truth = np.array([1, -1, 0.5]), np.array([1, 2, 3])
    assert figure(scale * scores, truth) == pytest.approx(figure(scores, truth))
