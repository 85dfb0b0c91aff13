"""How well one ranking agrees with another: correlations, and the sparse variants of Kendall's tau."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from sparsenas.errors import RankingError
from sparsenas.ranking.vectors import Floats, correlation, pair, vector

#: Values this far (in bins) below the edge of a bin lie on it: 0.3 / 0.1 is 2.9999999999999996.
EDGE = 1e-6

NAMES = ("scores", "truth")


def kendall_tau(scores: ArrayLike, truth: ArrayLike) -> float:
    r"""Kendall's tau-b, which corrects for ties.

    .. math:: \tau_b = (C - D) / \sqrt{(P - T_S) (P - T_G)}

    with ``C`` concordant and ``D`` discordant of the ``P`` pairs, and ``T_S``, ``T_G`` pairs tied in scores and truth.

    Args:
        scores: Shape ``(R,)``; higher is meant to be better.
        truth: Shape ``(R,)``, of the same items.

    Returns:
        In [-1, 1].

    Raises:
        RankingError: If lengths differ, there are fewer than 2 items, a value is not finite, or one side is constant.

    Source: Kendall, The treatment of ties in ranking problems (Biometrika 1945).
    """
    return correlation(_tau_b, *pair(scores, truth, at_least=2), NAMES)


def spearman(scores: ArrayLike, truth: ArrayLike) -> float:
    """Spearman's correlation, that of average ranks; arguments and errors as for :func:`kendall_tau`."""
    return correlation(_spearman, *pair(scores, truth, at_least=2), NAMES)


def pearson(scores: ArrayLike, truth: ArrayLike) -> float:
    """Pearson's linear correlation; arguments and errors as for :func:`kendall_tau`."""
    return correlation(_pearson, *pair(scores, truth, at_least=2), NAMES)


def sparse_kendall_tau(scores: ArrayLike, truth: ArrayLike, width: float) -> float:
    r"""Kendall's tau-b where differences of truth below a bin's width are not ranked: the recommended definition.

    .. math:: \tau_b(S, \lfloor G / w \rfloor)

    Args:
        scores: ``S``, shape ``(R,)``.
        truth: ``G``, shape ``(R,)``.
        width: ``w``, in the unit of truth: 0.1 for accuracies in percent means 0.1 %. Report it with the figure.

    Raises:
        RankingError: As for :func:`kendall_tau`; if the width is not positive, or all truth lies in one bin.

    Source: Yu et al., How to Train Your Super-Net (2020); for their released computation see
    :func:`released_sparse_kendall_tau`, for that of NAS-Bench-301 :func:`rounded_kendall_tau`.
    """
    checked, exact = pair(scores, truth, at_least=2)
    return correlation(_tau_b, checked, _bins(exact, width), (NAMES[0], _binned(width)))


def released_sparse_kendall_tau(scores: ArrayLike, truth: ArrayLike, width: float) -> float:
    r"""Sparse Kendall's tau as the authors' released code computes it, to compare with figures made by that code.

    Tau-b of the bins in the order of truth and the bins in the order of scores, two lists of which neither is indexed
    by item. It tends to read higher than :func:`sparse_kendall_tau`. Equal scores count in the order in which they are
    given.

    Args:
        scores: Shape ``(R,)``.
        truth: Shape ``(R,)``.
        width: In the unit of truth; the released code uses 0.1 % while training, 1 % in its analysis.

    Raises:
        RankingError: As for :func:`sparse_kendall_tau`.

    Source: code of Yu et al., Landmark Regularization (CVPR 2021), who continue How to Train Your Super-Net.
    Differs: a value on the edge of a bin lies in it; there, rounding may put it into the bin below.
    """
    checked, exact = pair(scores, truth, at_least=2)
    bins = _bins(exact, width)
    by_scores = bins[np.argsort(checked, kind="stable")]
    return correlation(_tau_b, np.sort(bins), by_scores, (_binned(width), _binned(width)))


def rounded_kendall_tau(scores: ArrayLike, truth: ArrayLike, width: float) -> float:
    r"""Tau-b of truth and **predictions** rounded to multiples of the width: what NAS-Bench-301 calls sparse.

    Only for predictions of accuracy: a score in another unit has no meaningful width.

    Args:
        scores: Predicted accuracies, shape ``(R,)``.
        truth: Shape ``(R,)``.
        width: 0.1 for accuracies in percent, as there.

    Raises:
        RankingError: As for :func:`sparse_kendall_tau`, with scores in the place of truth.

    Source: Siems et al., NAS-Bench-301 (2020).
    """
    checked, exact = pair(scores, truth, at_least=2)
    return correlation(_tau_b, np.rint(checked / _positive(width)), exact, (f"scores rounded to {width:g}", NAMES[1]))


def percentile(accuracy: ArrayLike, population: ArrayLike) -> Floats:
    """Share of a population that is not better than an accuracy, in percent; 100 for the best.

    Args:
        accuracy: One or more accuracies, any shape.
        population: Truth of all feasible items, shape ``(R,)``.

    Returns:
        In [0, 100], shape of ``accuracy``.

    Raises:
        RankingError: If the population is no finite vector, or an accuracy is not finite.
    """
    checked = np.sort(vector(population, "population"))
    values = vector(np.ravel(accuracy), "accuracy").reshape(np.shape(accuracy))
    return np.asarray(100 * np.searchsorted(checked, values, side="right") / len(checked))


def _tau_b(first: Floats, second: Floats) -> float:
    return float(stats.kendalltau(first, second).statistic)


def _spearman(first: Floats, second: Floats) -> float:
    return float(stats.spearmanr(first, second).statistic)


def _pearson(first: Floats, second: Floats) -> float:
    # scaled, so that no intermediate value of finite numbers overflows
    return float(stats.pearsonr(*(values / np.abs(values).max() for values in (first, second))).statistic)


def _bins(values: Floats, width: float) -> Floats:
    bins: Floats = np.floor(values / _positive(width) + EDGE)
    return bins


def _binned(width: float) -> str:
    return f"truth in bins of {width:g}"


def _positive(width: float) -> float:
    if not 0 < width < np.inf:
        raise RankingError(f"width is {width}; it must be a positive number, in the unit of the accuracies")
    return width
