"""Gradients of LambdaRank against the formula, and what it is to do."""

import math

import numpy as np
import pytest
import torch

from sparsenas.predictors.lambda_rank import lambda_gradients
from sparsenas.ranking import ndcg


def slow(scores, relevances, ranks):
    """The formula, pair by pair."""
    ideal = sum((2**r - 1) / math.log2(1 + i) for i, r in enumerate(sorted(relevances, reverse=True), start=1))
    found = []
    for s_i, r_i, p_i in zip(scores, relevances, ranks, strict=True):
        total = 0.0
        for s_j, r_j, p_j in zip(scores, relevances, ranks, strict=True):
            sign = (r_i > r_j) - (r_i < r_j)
            change = abs((2**r_i - 2**r_j) * (1 / math.log2(1 + p_i) - 1 / math.log2(1 + p_j))) / ideal
            total += ((1 - sign) / 2 - 1 / (1 + math.exp(s_i - s_j))) * change
        found.append(total)
    return found


def a_list(seed=0, size=12):
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(size=size)), torch.tensor(rng.uniform(0, 20, size).round(2))


@pytest.mark.parametrize("rank_by", ["predicted", "target"])
@pytest.mark.parametrize("seed", range(3))
def test_gradients_are_those_of_the_formula_and_sum_to_zero(rank_by, seed):
    scores, relevances = a_list(seed)
    key = -scores if rank_by == "predicted" else relevances
    ranks = [1 + int((key < value).sum()) for value in key]
    found = lambda_gradients(scores, relevances, rank_by)
    assert found.tolist() == pytest.approx(slow(scores.tolist(), relevances.tolist(), ranks), abs=1e-12)
    assert float(found.sum()) == pytest.approx(0, abs=1e-12)


def test_released_ranks_give_the_best_item_the_last_one():
    scores, relevances = torch.zeros(4), torch.tensor([0.0, 5.0, 20.0, 12.0])
    found = lambda_gradients(scores, relevances, "target")
    assert found.tolist() == pytest.approx(slow([0] * 4, [0, 5, 20, 12], [1, 2, 4, 3]), abs=1e-12)


@pytest.mark.parametrize(("rank_by", "weight"), [("predicted", 0.127), ("target", 0.0013)])
def test_the_pair_of_the_best_two_of_20_counts_a_hundredth_with_the_released_ranks(rank_by, weight):
    relevances = torch.linspace(20, 0, 20, dtype=torch.float64)
    scores = -1000 * torch.arange(20.0)  # in order, and so far apart that no pair is moved
    scores[1] = 0  # but the best two, which are equal
    found = lambda_gradients(scores, relevances, rank_by)
    assert found[:2].tolist() == pytest.approx([-weight / 2, weight / 2], rel=0.02)


def test_equal_relevances_give_no_gradient():
    scores, _ = a_list()
    for level in (0.0, 7.0):
        assert lambda_gradients(scores, torch.full_like(scores, level)).tolist() == [0.0] * len(scores)


def test_a_better_item_is_moved_up():
    found = lambda_gradients(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 3.0]))
    assert found[1] < 0 < found[0]


def test_a_pair_counts_less_further_down_the_predicted_list():
    scores, pushes = torch.arange(10.0, 0, -1), []
    for place in range(8):
        relevances = torch.zeros(10)
        relevances[place + 1] = 1.0  # the item above it is to come down
        pushes.append(float(lambda_gradients(scores, relevances)[place]))
    assert min(pushes) > 0
    assert pushes == sorted(pushes, reverse=True)


def test_steps_against_the_gradient_reach_the_perfect_order():
    scores, relevances = a_list()
    before = ndcg(scores.numpy(), relevances.numpy())
    for _ in range(1000):
        scores -= 1.5 * lambda_gradients(scores, relevances)
    assert before < ndcg(scores.numpy(), relevances.numpy())
    assert ndcg(scores.numpy(), relevances.numpy(), k=3) == pytest.approx(1, abs=1e-3)
    assert ndcg(relevances.numpy(), relevances.numpy()) == pytest.approx(1)


def test_gradients_of_single_precision_scores_are_double():
    scores, relevances = a_list()
    found = lambda_gradients(scores.float(), relevances.float())
    assert found.dtype == torch.float64
    assert torch.isfinite(found).all()
