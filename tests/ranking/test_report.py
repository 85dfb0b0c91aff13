"""Trivial baselines, and several rankings side by side."""

import numpy as np
import pytest

from sparsenas.errors import RankingError
from sparsenas.ranking import (
    comparison,
    kendall_tau,
    markdown,
    non_pool_edges,
    percentile,
    sparse_kendall_tau,
    spearman,
    trivial_scores,
)
from sparsenas.spaces import PUBLISHED, NasBench201Space, WeightSharing64Space


def test_the_chosen_item_of_parameters_is_a_random_largest_one():
    rng = np.random.default_rng(0)
    costs, truth = rng.integers(1, 8, 60).astype(float), rng.normal(90, 2, 60)
    (row,) = comparison({"parameters": costs}, truth, width=0.1, resamples=0)
    largest = truth[costs == costs.max()]
    assert len(largest) > 1
    assert (row.chosen, row.percentile) == pytest.approx((largest.mean(), percentile(largest, truth).mean()))


def test_edges_that_are_no_pooling():
    cell = WeightSharing64Space().from_string
    assert [non_pool_edges(cell(text)) for text in ("111", "121", "414", "234")] == [0, 1, 2, 3]
    mixed = NasBench201Space().from_string("|none~0|+|avg_pool_3x3~0|skip_connect~1|+|none~0|nor_conv_3x3~1|none~2|")
    assert non_pool_edges(mixed) == 2
    assert non_pool_edges(PUBLISHED["darts_v2"]) == 11


def test_trivial_scores_leave_out_what_is_equal_for_all():
    genotypes = [WeightSharing64Space().from_string(text) for text in ("222", "333", "424")]
    assert list(trivial_scores(genotypes, {"parameters": [1, 2, 3], "flops": [5, 5, 5]})) == ["parameters"]
    with pytest.raises(RankingError, match="parameters has 2 items for 3 genotypes"):
        trivial_scores(genotypes, {"parameters": [1, 2]})
    with pytest.raises(RankingError, match="flops: item 1 is nan"):
        trivial_scores(genotypes, {"flops": [1, np.nan, 2]})


def test_rows_hold_the_figures():
    rng = np.random.default_rng(0)
    truth = rng.normal(90, 2, 40)
    scores = truth + rng.normal(0, 1, 40)
    perfect, noisy = comparison({"truth": truth, "noisy": scores}, truth, width=0.5, n=5, resamples=200)
    assert (perfect.tau, perfect.spearman, perfect.percentile, perfect.top_rank, perfect.surpass_random) == (
        pytest.approx((1, 1, 100, 1, 1))
    )
    assert perfect.chosen == truth.max()
    assert noisy.tau == kendall_tau(scores, truth)
    assert noisy.tau_interval.low < noisy.tau < noisy.tau_interval.high
    assert noisy.sparse_tau == sparse_kendall_tau(scores, truth, 0.5)
    assert noisy.spearman == spearman(scores, truth)
    assert noisy.top_mean == pytest.approx(truth[np.argsort(scores)[-5:]].mean())


def test_percentiles_and_ranks_are_among_the_population():
    population = np.arange(100.0)
    (row,) = comparison({"a": [1, 2, 3]}, [10.0, 20.0, 89.0], 0.1, n=1, population=population, resamples=0)
    assert (row.chosen, row.percentile, row.top_rank) == (89, 90, 11)
    assert row.surpass_random == pytest.approx(0.9)


def test_rows_are_printed_in_one_width():
    rows = comparison({"a": [1, 2, 3], "b": [3, 1, 2]}, [1.0, 2.0, 3.0], width=0.1, n=1, resamples=10)
    header, line, *body = markdown(rows).splitlines()
    assert header.count("|") == line.count("|") == body[0].count("|") == body[1].count("|")
    assert body[0].startswith("| a | 1.000 | ")
    (plain,) = comparison({"a": [1, 2, 3]}, [1.0, 2.0, 3.0], width=0.1, n=1, resamples=0)
    assert markdown([plain]).splitlines()[2].startswith("| a | 1.000 |  | 1.000 | 1.000 | 3.00 | 100.0 |")


def test_the_row_at_fault_is_named():
    with pytest.raises(RankingError, match=r"ranking 'flops': scores: all 3 values are 5"):
        comparison({"good": [1, 2, 3], "flops": [5, 5, 5]}, [1, 2, 3], width=0.1, n=1, resamples=0)
    with pytest.raises(RankingError, match="ranking 'good': n is 10; a top of 3 items"):
        comparison({"good": [1, 2, 3]}, [1, 2, 3], width=0.1, resamples=0)
