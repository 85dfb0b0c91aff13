"""Quality of the items of highest score; where equal scores leave a choice, the exact expectation."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln
from sklearn.metrics import ndcg_score

from sparsenas.errors import RankingError
from sparsenas.ranking.vectors import Floats, check_top, pair, vector

#: Largest relevance whose exponential gain fits a float with room for sums.
LARGEST_RELEVANCE = 1000.0


class _Top(NamedTuple):
    """The ``n`` items of highest score: those ``sure`` to be in it, and ``drawn`` ones, uniform from those ``tied``."""

    sure: np.ndarray
    tied: np.ndarray
    drawn: int


def top_mean(scores: ArrayLike, truth: ArrayLike, n: int = 1) -> float:
    """Compute the mean truth of the ``n`` items of highest score, in expectation where equal scores leave a choice.

    Args:
        scores: Shape ``(R,)``, higher is better.
        truth: Shape ``(R,)``.
        n: Number of items kept; 1 gives the truth that the score chooses.

    Raises:
        RankingError: If lengths differ, a value is not finite, or there are not ``n`` items.

    Source: final search performance of Yu et al., How to Train Your Super-Net (2020).
    """
    checked, exact = pair(scores, truth)
    top = _top(checked, n)
    return float((exact[top.sure].sum() + top.drawn * exact[top.tied].mean()) / n)


def top_rank(scores: ArrayLike, truth: ArrayLike, n: int, population: ArrayLike | None = None) -> float:
    """Compute the best true rank among the ``n`` items of highest score, "TnR"; 1 is the optimum.

    Other arguments, errors and equal scores are as for :func:`top_mean`. Items of equal truth share their best rank.

    Args:
        scores: Shape ``(R,)``.
        truth: Shape ``(R,)``.
        n: Number of items kept.
        population: Truth of all items among which to rank, if scores are known of a part only.

    Source: Zhang et al., Deeper Insights into Weight Sharing (2020).
    """
    ranks, probabilities, _ = _best_rank(scores, truth, n, population)
    return float(ranks @ probabilities)


def surpass_random(scores: ArrayLike, truth: ArrayLike, n: int, population: ArrayLike | None = None) -> float:
    r"""Compute the chance that none of ``n`` uniform draws is better than the best of the ``n`` items of highest score.

    .. math:: \left(\frac{R - r + 1}{R}\right)^n

    The population has ``R`` items, and ``r`` is the :func:`top_rank`, of which it takes the arguments. Only an oracle
    knows the best of those kept, so the figure is optimistic. Do not compare figures of different ``n``.

    Source: Yu et al., How to Train Your Super-Net (2020), who count ranks from the worst: ``(r / R)^n``.
    """
    ranks, probabilities, size = _best_rank(scores, truth, n, population)
    return float((((size - ranks + 1) / size) ** n) @ probabilities)


def relevance(truth: ArrayLike, scale: float = 20.0, floor: float = 0.2) -> Floats:
    """Compute relevances for :func:`ndcg`: 0 up to a low quantile of truth, rising linearly to ``scale`` at the best.

    Args:
        truth: Shape ``(R,)``.
        scale: Relevance of the best item.
        floor: The quantile, in [0, 1).

    Raises:
        RankingError: If the quantile is the maximum, or an argument is out of range.

    Source: Zhang et al., AceNAS (2021).
    """
    exact = vector(truth, "truth", at_least=2)
    if not (0 <= floor < 1 and 0 < scale <= LARGEST_RELEVANCE):
        raise RankingError(
            f"floor is {floor} and scale is {scale}; floor lies in [0, 1), scale in (0, {LARGEST_RELEVANCE:g}]"
        )
    low, high = np.quantile(exact, floor), exact.max()
    if low == high:
        raise RankingError(
            f"truth: the {floor:g} quantile is the maximum, {high:g}; no item is more relevant than others"
        )
    relevances: Floats = np.clip((exact - low) / (high - low), 0, 1) * scale
    return relevances


def ndcg(
    scores: ArrayLike,
    relevances: ArrayLike,
    k: int | None = None,
    gain: Literal["exponential", "linear"] = "exponential",
) -> float:
    r"""Compute the normalised discounted cumulative gain of the ``k`` items of highest score, in [0, 1].

    .. math:: \mathrm{DCG} = \sum_{i=1}^{k} \frac{g(r_i)}{\log_2(i + 1)}, \quad
        g(r) = 2^r - 1 \text{ or } r

    The sum over ranks ``i`` from 1 is divided by its largest value. The gain of items of equal score is their mean.

    Args:
        scores: Shape ``(R,)``.
        relevances: ``r``, shape ``(R,)``, at least 0, one of them positive; see :func:`relevance`.
        k: Length of the list; all by default.
        gain: ``"exponential"`` as in the ranking literature and AceNAS, or ``"linear"`` as in scikit-learn.

    Raises:
        RankingError: If lengths differ, there are fewer than 2 items, or a relevance is out of range.

    Source: Jarvelin and Kekalainen, Cumulated gain-based evaluation (2002); exponential gain of Burges et al. (2005).
    """
    checked, relevant = pair(scores, relevances, at_least=2, names=("scores", "relevances"))
    k = len(checked) if k is None else k
    check_top(k, checked)
    if not 0 <= relevant.min() <= relevant.max() <= LARGEST_RELEVANCE or relevant.max() == 0:
        raise RankingError(
            f"relevances lie between {relevant.min():g} and {relevant.max():g}; they must lie between 0 and "
            f"{LARGEST_RELEVANCE:g}, and one must be positive"
        )
    gains = np.expm1(relevant * np.log(2)) if gain == "exponential" else relevant
    return float(ndcg_score(gains[None], checked[None], k=k))


def _top(scores: Floats, n: int) -> _Top:
    check_top(n, scores)
    threshold = np.partition(scores, -n)[-n]
    sure = np.flatnonzero(scores > threshold)
    return _Top(sure, np.flatnonzero(scores == threshold), n - len(sure))


def _best_of(truth: Floats, top: _Top) -> tuple[Floats, Floats]:
    """Return the possible values of the highest truth in a top, and their probabilities.

    Let ``g`` tied items be sorted from the best. The ``i``-th (from 0) is the best of ``d`` drawn ones with probability
    ``C(g - 1 - i, d - 1) / C(g, d)``.
    """
    tied = np.sort(truth[top.tied])[::-1]
    behind = np.arange(len(tied))[::-1]
    possible = behind >= top.drawn - 1
    chance = np.zeros(len(tied))
    chance[possible] = np.exp(
        _log_choose(behind[possible], top.drawn - 1) - _log_choose(np.array(len(tied)), top.drawn)
    )
    surest = truth[top.sure].max() if len(top.sure) else -np.inf
    return np.maximum(tied, surest), chance / chance.sum()


def _best_rank(scores: ArrayLike, truth: ArrayLike, n: int, population: ArrayLike | None) -> tuple[Floats, Floats, int]:
    """Return the possible best ranks of a top, their probabilities, and the number of items ranked."""
    checked, exact = pair(scores, truth)
    ranked = np.sort(exact if population is None else vector(population, "population"))
    values, probabilities = _best_of(exact, _top(checked, n))
    better = len(ranked) - np.searchsorted(ranked, values, side="right")
    return (1 + better).astype(np.float64), probabilities, len(ranked)


def _log_choose(of: np.ndarray, drawn: int) -> Floats:
    result: Floats = gammaln(of + 1) - gammaln(drawn + 1) - gammaln(of - drawn + 1)
    return result
