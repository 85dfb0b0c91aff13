"""Agreement of several rankings of the same items with each other and with truth."""

from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from sparsenas.errors import RankingError
from sparsenas.ranking.correlation import kendall_tau
from sparsenas.ranking.vectors import Floats, check_same_items, matrix, vector


class Stability(NamedTuple):
    """Kendall's tau over all pairs of rankings: "S-Tau", "Max-Tau" and "Min-Tau"."""

    mean: float
    highest: float
    lowest: float


class Spread(NamedTuple):
    """Mean and standard deviation of several figures; the latter divides by their number."""

    mean: float
    std: float


def stability(snapshots: ArrayLike) -> Stability:
    r"""Compute the agreement of rankings with each other, "S-Tau".

    .. math:: \frac{2}{N (N - 1)} \sum_{i < j} \tau(R_i, R_j)

    Args:
        snapshots: Scores of ``R`` items in ``N`` runs, epochs or mini-batches, shape ``(N, R)``.

    Raises:
        RankingError: If there are fewer than 2 rankings or items, a value is not finite, or a ranking is constant.

    Source: Zhang et al., Deeper Insights into Weight Sharing (2020); also of the other figures here.
    """
    rankings = matrix(snapshots, "snapshots")
    if len(rankings) < 2:
        raise RankingError("snapshots holds one ranking; stability compares at least 2")
    taus = [kendall_tau(first, second) for first, second in combinations(rankings, 2)]
    return Stability(float(np.mean(taus)), max(taus), min(taus))


def truth_taus(snapshots: ArrayLike, truth: ArrayLike) -> Floats:
    """Compute Kendall's tau of every ranking with truth, "GT-Tau", shape ``(N,)``.

    Raises:
        RankingError: If shapes disagree, a value is not finite, or a ranking is constant.
    """
    rankings, exact = matrix(snapshots, "snapshots"), vector(truth, "truth", at_least=2)
    check_same_items(rankings, exact, ("snapshots", "truth"))
    return np.array([kendall_tau(ranking, exact) for ranking in rankings])


def truth_tau_spread(snapshots: ArrayLike, truth: ArrayLike, last: int) -> Spread:
    """Compute mean and standard deviation of tau over the last mini-batches, "GT-Tau-Mean-k" and "GT-Tau-Std-k".

    Args:
        snapshots: Scores after each mini-batch, in the order of time, shape ``(N, R)``.
        truth: Shape ``(R,)``.
        last: ``k``; the paper takes one cycle over all items, 64.

    Raises:
        RankingError: As for :func:`truth_taus`, or if there are fewer than ``last`` rankings.
    """
    rankings = matrix(snapshots, "snapshots")
    if not 1 <= last <= len(rankings):
        raise RankingError(
            f"last is {last}; snapshots holds {len(rankings)} rankings, so it can be 1 to {len(rankings)}"
        )
    taus = truth_taus(rankings[-last:], truth)
    return Spread(float(taus.mean()), float(taus.std()))


def consensus_rank(snapshots: ArrayLike) -> Floats:
    """Compute the mean rank of every item over several rankings, shape ``(R,)``; 1 is the best.

    The negative is a score. Within a ranking, items of equal score share their mean rank.

    Raises:
        RankingError: If the scores are not a finite matrix.
    """
    ranks: Floats = stats.rankdata(-matrix(snapshots, "snapshots"), axis=1).mean(0)
    return ranks
