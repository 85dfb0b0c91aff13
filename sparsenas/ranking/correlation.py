"""Correlations between two rankings."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from sparsenas.errors import RankingError
from sparsenas.ranking.vectors import Floats, correlation, pair, vector

#: Values this far (in bins) below the edge of a bin lie on it: 0.3 / 0.1 is 2.9999999999999996.
EDGE = 1e-6

NAMES = ("scores", "truth")


def kendall_tau(scores: ArrayLike, truth: ArrayLike) -> float:
    r"""Compute Kendall's tau-b, which corrects for ties.

    .. math:: \tau_b = (C - D) / \sqrt{(P - T_S) (P - T_G)}

    ``C`` of the ``P`` pairs are concordant and ``D`` discordant; ``T_S`` are tied in scores and ``T_G`` in truth.

    Args:
        scores: Shape ``(R,)``; higher is better.
        truth: Shape ``(R,)``, of the same items.

    Raises:
        RankingError: If lengths differ, there are fewer than 2 items, a value is not finite, or one side is constant.

    Source: Kendall, The treatment of ties in ranking problems (Biometrika 1945).
    """
    return correlation(stats.kendalltau, *pair(scores, truth, at_least=2), NAMES)


def spearman(scores: ArrayLike, truth: ArrayLike) -> float:
    """Compute Spearman's correlation, that of average ranks; arguments and errors are those of :func:`kendall_tau`."""
    return correlation(stats.spearmanr, *pair(scores, truth, at_least=2), NAMES)


def sparse_kendall_tau(scores: ArrayLike, truth: ArrayLike, width: float) -> float:
    r"""Compute Kendall's tau-b without ranking differences of truth below the width of a bin.

    .. math:: \tau_b(S, \lfloor G / w \rfloor)

    Args:
        scores: ``S``, shape ``(R,)``.
        truth: ``G``, shape ``(R,)``.
        width: ``w``, in the unit of truth: 0.1 for accuracies in percent means 0.1 %. Report it with the figure.

    Raises:
        RankingError: As for :func:`kendall_tau`; if the width is not positive, or all truth lies in one bin.

    Source: Yu et al., How to Train Your Super-Net (2020).

    Differs: their released code compares two lists of bins that are not indexed by item, and gives larger values.
    """
    checked, exact = pair(scores, truth, at_least=2)
    if not 0 < width < np.inf:
        raise RankingError(f"width is {width}; it must be a positive number, in the unit of the accuracies")
    bins = np.floor(exact / width + EDGE)
    return correlation(stats.kendalltau, checked, bins, (NAMES[0], f"truth in bins of {width:g}"))


def percentile(accuracy: ArrayLike, population: ArrayLike) -> Floats:
    """Compute the share of a population that is not better than an accuracy, in percent; 100 for the best.

    Args:
        accuracy: One or more accuracies, any shape.
        population: Truth of all feasible items, shape ``(R,)``.

    Returns:
        In [0, 100], shape of ``accuracy``.

    Raises:
        RankingError: If the population is not a finite vector, or an accuracy is not finite.
    """
    checked = np.sort(vector(population, "population"))
    values = vector(np.ravel(accuracy), "accuracy").reshape(np.shape(accuracy))
    return np.asarray(100 * np.searchsorted(checked, values, side="right") / len(checked))
