"""Several rankings, and intervals: definitions, and what they must not depend on."""

from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from sparsenas.errors import RankingError
from sparsenas.ranking import (
    bootstrap_interval,
    consensus_rank,
    kendall_tau,
    stability,
    top_mean,
    truth_tau_spread,
    truth_taus,
)


@pytest.fixture
def snapshots():
    rng = np.random.default_rng(0)
    return np.arange(20) + rng.normal(0, 5, (6, 20))


def test_stability_is_the_mean_over_pairs(snapshots):
    taus = [stats.kendalltau(a, b).statistic for a, b in permutations(snapshots, 2)]
    found = stability(snapshots)
    assert found.mean == pytest.approx(np.mean(taus))
    assert (found.lowest, found.highest) == pytest.approx((min(taus), max(taus)))
    assert stability([snapshots[0], snapshots[0]]) == pytest.approx((1, 1, 1))


def test_taus_with_truth_and_their_spread(snapshots):
    truth = np.arange(20)
    taus = [stats.kendalltau(ranking, truth).statistic for ranking in snapshots]
    assert truth_taus(snapshots, truth) == pytest.approx(taus)
    assert truth_tau_spread(snapshots, truth, 4) == pytest.approx((np.mean(taus[-4:]), np.std(taus[-4:])))
    assert truth_tau_spread(snapshots, truth, 1).std == 0


def test_consensus_is_the_mean_rank():
    assert consensus_rank([[0.9, 0.5, 0.1], [0.1, 0.5, 0.9]]).tolist() == [2, 2, 2]
    assert consensus_rank([[3, 3, 1], [9, 7, 7]]).tolist() == [1.25, 2, 2.75]
    # the scale of a ranking does not count, unlike in a mean of scores
    assert consensus_rank([[300, 200, 100], [9, 7, 8]]).tolist() == consensus_rank([[3, 2, 1], [9, 7, 8]]).tolist()


def test_consensus_is_better_than_its_parts(snapshots):
    truth = np.arange(20)
    assert kendall_tau(-consensus_rank(snapshots), truth) > truth_taus(snapshots, truth).max()


def test_malformed_snapshots():
    with pytest.raises(RankingError, match="snapshots holds one ranking; stability compares at least 2"):
        stability([[1, 2, 3]])
    with pytest.raises(RankingError, match=r"snapshots: shape is \(3,\); expected \(rankings, items\)"):
        stability([1, 2, 3])
    with pytest.raises(RankingError, match="snapshots: item 1, 0 is nan"):
        consensus_rank([[1, 2], [np.nan, 2]])
    with pytest.raises(RankingError, match="snapshots has 3 items but truth has 2"):
        truth_taus([[1, 2, 3]], [1, 2])
    with pytest.raises(RankingError, match="last is 2; snapshots holds 1 rankings"):
        truth_tau_spread([[1, 2, 3]], [1, 2, 3], 2)
    with pytest.raises(RankingError, match="scores: all 2 values are 1"):
        truth_taus([[1, 1]], [1, 2])


def test_interval_of_a_mean_is_that_of_scipy():
    values = np.random.default_rng(0).normal(size=60)
    found = bootstrap_interval(lambda a: a.mean(), values, resamples=4000)
    expected = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=4000, rng=1).confidence_interval
    assert found == pytest.approx((expected.low, expected.high), abs=0.02)


def test_samples_are_drawn_alike():
    # the difference of a sample and itself has no spread unless the pairs are torn
    values = np.random.default_rng(0).normal(size=30)
    assert bootstrap_interval(lambda a, b: (a - b).mean(), values, values + 1, resamples=50) == pytest.approx((-1, -1))
    assert bootstrap_interval(kendall_tau, values, values, resamples=50) == pytest.approx((1, 1))


@pytest.mark.slow
def test_interval_holds_the_true_value_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    true = 2 / np.pi * np.arcsin(0.6)  # tau of a normal pair of correlation 0.6
    held = 0
    for _ in range(30):
        scores, truth = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 50).T
        low, high = bootstrap_interval(kendall_tau, scores, truth, confidence=0.9, resamples=100)
        held += low <= true <= high
    assert held >= 30 * 0.9 - 6


def test_an_interval_is_reproducible_and_wider_with_more_confidence():
    rng = np.random.default_rng(0)
    pair = rng.normal(size=(2, 40))
    narrow, wide = (bootstrap_interval(kendall_tau, *pair, confidence=c, resamples=200) for c in (0.5, 0.9))
    assert wide.low < narrow.low < narrow.high < wide.high
    assert narrow == bootstrap_interval(kendall_tau, *pair, confidence=0.5, resamples=200)
    assert narrow != bootstrap_interval(kendall_tau, *pair, confidence=0.5, resamples=200, seed=1)


def test_intervals_that_do_not_exist():
    with pytest.raises(RankingError, match="scores: all 3 values are 1"):
        bootstrap_interval(kendall_tau, [1, 1, 1], [1, 2, 3])
    with pytest.raises(RankingError, match="samples have 3, 2 items"):
        bootstrap_interval(kendall_tau, [1, 2, 3], [1, 2])
    with pytest.raises(RankingError, match="confidence is 95 and resamples 1000; they lie in"):
        bootstrap_interval(kendall_tau, [1, 2], [1, 2], confidence=95)
    with pytest.raises(RankingError, match="got no samples"):
        bootstrap_interval(kendall_tau)
    with pytest.raises(RankingError, match="n is 3; a top of 2 items"):
        bootstrap_interval(lambda a, b: top_mean(a, b, 3), [1, 2], [1, 2])


def test_data_too_poor_for_an_interval():
    def rarely(values):
        if len(np.unique(values)) < 9:
            raise RankingError("two alike")
        return 0.0

    with pytest.raises(RankingError, match=r"only \d+ of 200 draws of the 9 items can be ranked"):
        bootstrap_interval(rarely, np.arange(9), resamples=10)
