"""Figures of the best-ranked items: closed forms against draws, ties against enumeration, NDCG against scikit-learn."""

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from sparsenas.errors import RankingError
from sparsenas.ranking import ndcg, relevance, surpass_random, top_mean, top_rank

ITEMS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=7)


def tops(scores, n):
    """All tops of n items that the scores allow."""
    subsets = combinations(range(len(scores)), n)
    largest = sorted(scores)[-n:]
    return [list(subset) for subset in subsets if sorted(scores[list(subset)]) == largest]


@given(ITEMS, st.data())
@settings(deadline=None)
def test_ties_are_averaged_over_all_tops(items, data):
    scores, truth = np.array(items).T
    n = data.draw(st.integers(1, len(scores)))
    chosen = tops(scores, n)
    ranks = [min(1 + (truth > truth[item]).sum() for item in top) for top in chosen]
    assert top_mean(scores, truth, n) == pytest.approx(np.mean([truth[top].mean() for top in chosen]))
    assert top_rank(scores, truth, n) == pytest.approx(np.mean(ranks))
    size = len(scores)
    expected = np.mean([((size - rank + 1) / size) ** n for rank in ranks])
    assert surpass_random(scores, truth, n) == pytest.approx(expected)


def test_surpassing_random_is_what_draws_show():
    rng = np.random.default_rng(0)
    truth, scores = rng.permutation(50), rng.permutation(50)
    n, draws = 3, 40_000
    best = truth[np.argsort(scores)[-n:]].max()
    survived = (rng.choice(truth, (draws, n)).max(1) <= best).mean()
    assert surpass_random(scores, truth, n) == pytest.approx(survived, abs=4 * 0.5 / np.sqrt(draws))


def test_the_optimum_surpasses_everything():
    truth = np.arange(20)
    assert surpass_random(truth, truth, 5) == 1
    assert top_rank(truth, truth, 5) == 1
    assert surpass_random(-truth, truth, 1) == pytest.approx(1 / 20)
    assert top_rank(-truth, truth, 1) == 20


def test_a_large_tie_has_the_rank_of_a_random_draw():
    # the least of n of R ranks is (R + 1) / (n + 1) in expectation
    assert top_rank(np.zeros(15_625), np.arange(15_625), 10) == pytest.approx(15_626 / 11)


def test_ranks_are_among_the_population():
    population = np.arange(100)
    assert top_rank([1, 2], [50, 40], 1, population) == 60
    assert surpass_random([1, 2], [50, 40], 1, population) == pytest.approx(0.41)


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=2, max_size=6), st.data())
@settings(deadline=None)
def test_ndcg_is_its_definition_averaged_over_the_orders_of_ties(items, data):
    scores, relevances = np.array(items).T
    if relevances.max() == 0:
        relevances[0] = 1
    k = data.draw(st.integers(1, len(scores)))
    discount = 1 / np.log2(np.arange(len(scores)) + 2)
    discount[k:] = 0
    orders = [list(o) for o in permutations(range(len(scores))) if (np.diff(scores[list(o)]) <= 0).all()]
    for gain, gains in (("exponential", 2.0**relevances - 1), ("linear", relevances)):
        ideal = np.sort(gains)[::-1] @ discount
        expected = np.mean([gains[order] @ discount for order in orders]) / ideal
        assert ndcg(scores, relevances, k, gain) == pytest.approx(expected)
    assert ndcg(scores, relevances, k, "linear") == pytest.approx(ndcg_score(relevances[None], scores[None], k=k))


def test_ndcg_knows_only_the_order_of_scores():
    rng = np.random.default_rng(0)
    scores, relevances = rng.normal(size=30), relevance(rng.normal(size=30))
    assert ndcg(np.exp(scores), relevances) == pytest.approx(ndcg(scores, relevances))
    assert ndcg(relevances, relevances) == pytest.approx(1)


def test_relevance_is_clipped_at_the_quantile():
    truth = np.arange(101.0)
    values = relevance(truth)
    assert values[:21].max() == 0
    assert values[100] == 20
    assert values[60] == pytest.approx(10)


@pytest.mark.parametrize("figure", [top_mean, top_rank, surpass_random])
def test_tops_that_do_not_exist(figure):
    for n in (0, 3):
        with pytest.raises(RankingError, match=f"n is {n}; a top of 2 items has 1 to 2"):
            figure([1, 2], [1, 2], n)
    with pytest.raises(RankingError, match="scores has 2 items but truth has 3"):
        figure([1, 2], [1, 2, 3], 1)
    with pytest.raises(RankingError, match="truth: item 0 is nan"):
        figure([1, 2], [np.nan, 2], 1)


@pytest.mark.parametrize(
    ("relevances", "k", "message"),
    [
        ([0, 0], 1, "between 0 and 0; they must lie between 0 and 1000, and one must be positive"),
        ([-1, 2], 1, "between -1 and 2"),
        ([1, 2000], 1, "between 1 and 2000"),
        ([1, 2], 3, "n is 3"),
        ([1], None, r"relevances: shape is \(1,\)"),
        ([1, 2, 3], None, "scores has 2 items but relevances has 3"),
    ],
)
def test_relevances_that_have_no_ndcg(relevances, k, message):
    with pytest.raises(RankingError, match=message):
        ndcg([1, 2], relevances, k)


def test_relevances_that_do_not_exist():
    with pytest.raises(RankingError, match=r"the 0.2 quantile is the maximum, 1"):
        relevance([1, 1, 1])
    with pytest.raises(RankingError, match=r"floor is 1 and scale is 20"):
        relevance([1, 2], floor=1)
