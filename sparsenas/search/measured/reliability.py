"""Proxy reliability: decide which proxies to trust without knowing how good any architecture is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata, spearmanr

Floats = NDArray[np.float64]
#: Use of proxies: those that prove reliable, or all.
Trust = Literal["reliability", "all"]

#: A proxy whose repeats agree less has more noise than meaning; one that agrees less with the others is not trusted.
#: The second number was set on NAS-Bench-Macro, where the agreement of three proxies is above .5, and on the space of
#: 64 cells, where they know nothing but size, and it is below .3.
LEAST_STABILITY, LEAST_SUPPORT = 0.5, 0.4

#: One-sided 5 % quantile of the normal distribution: trainings alone have to say more than chance does that often.
CHANCE = 1.645
#: Fewer trainings than this leave a partial correlation nothing to say.
LEAST_TRAINED = 5

#: Why a proxy, or size, is not used.
SAME, NOISE, CONTRADICTED, DISPROVED, ALONE, UNRELATED = (
    "gives all the same score",
    "its repeats disagree",
    "given size, the others disagree",
    "given size, the short trainings disagree",
    "no other is left to agree with it",
    "what is trusted does not grow with it",
)

#: What size is called among the proxies.
SIZE = "size"


@dataclass(frozen=True)
class ProxyReliability:
    """Reasons for and against a proxy, or size.

    Attributes:
        proxy: Its name, or :data:`SIZE`.
        stability: Reliability of the mean of its repeats, from their rank correlation: 1 for no noise; ``None`` where
            a repeat would be the same, or none was made.
        consensus: Spearman's correlation, given size, with the rank sum of the other trusted proxies; ``None`` without
            others. If it was too small, the others are those that were left then. That of size is the plain one.
        training: The same with the short trainings; ``None`` without them.
        trained: Number of architectures with a short training.
        trusted: True for a proxy that is used.
        why: Reason in a few words.
    """

    proxy: str
    stability: float | None
    consensus: float | None
    training: float | None
    trained: int
    trusted: bool
    why: str


def assess(
    names: Sequence[str],
    values: Floats,
    repeatable: Sequence[bool],
    trained: Floats,
    sizes: Floats,
    trust: Trust = "reliability",
) -> tuple[ProxyReliability, ...]:
    r"""Decide which proxies to use.

    A proxy is dropped if it ranks nothing, or if its repeats disagree. Of the others, the one with the least support
    is dropped as long as that is too little, which may come to dropping all. Support is the correlation with the rank
    sum of the other proxies and that with the short trainings, each weighted by its number of architectures. One that
    is left alone has the trainings only, which must be for it by more than chance.

    Proxies of different descent that agree do so because of the architectures. One that stands alone may be right, but
    nothing says so. Most proxies grow with the architecture, and would agree by that alone, also against one that sees
    more. Hence the correlations are partial ones, given size.

    Args:
        names: Names of the proxies. A single one needs no support by others.
        values: Shape ``(K, S, R)``: architectures, proxies, repeats. ``-inf`` is allowed, NaN is not.
        repeatable: True for each proxy whose repeats are independent.
        trained: Minus the loss of short trainings, shape ``(K,)``; NaN for architectures that were not trained.
        sizes: Effective costs, shape ``(K,)``.
        trust: ``all`` drops none but those that rank nothing; their reliability is reported all the same.
    """
    scores = proxy_scores(values)
    repeated = values.shape[2] > 1
    stability = [stability_of(values[:, i]) if repeats and repeated else None for i, repeats in enumerate(repeatable)]
    dropped: dict[int, str] = {}
    agreed: dict[int, float | None] = {}
    for i, stable in enumerate(stability):
        if np.ptp(scores[:, i]) == 0:
            dropped[i] = SAME
        elif trust == "reliability" and stable is not None and stable < LEAST_STABILITY:
            dropped[i] = NOISE
    asked = ~np.isnan(trained)

    def consensus(i: int) -> float | None:
        others = [j for j in range(len(names)) if j != i and j not in dropped]
        return partial_correlation(scores[:, i], scores[:, others].sum(1), sizes) if others else None

    def training(i: int) -> float | None:
        enough = asked.sum() >= LEAST_TRAINED
        return partial_correlation(scores[asked, i], trained[asked], sizes[asked]) if enough else None

    def surplus(i: int) -> float | None:
        """Compute by how much its support is above what is needed; ``None`` without others and trainings."""
        agreement, trainings = consensus(i), training(i)
        if agreement is None:
            return None if trainings is None else trainings - least_support(int(asked.sum()))
        if trainings is None:
            return agreement - LEAST_SUPPORT
        return float(np.average([agreement, trainings], weights=[len(scores), asked.sum()])) - LEAST_SUPPORT

    while trust == "reliability" and (left := [i for i in range(len(names)) if i not in dropped]):
        least, worst = min((surplus(i) or 0.0, i) for i in left)
        if surplus(worst) is None:
            if len(names) > 1:
                dropped[worst] = ALONE
            break
        if least >= 0:
            break
        agreed[worst] = consensus(worst)
        dropped[worst] = DISPROVED if agreed[worst] is None else CONTRADICTED
    return tuple(
        ProxyReliability(
            proxy=name,
            stability=stability[i],
            consensus=agreed[i] if i in agreed else consensus(i),
            training=training(i),
            trained=int(asked.sum()),
            trusted=i not in dropped,
            why=dropped.get(i, "trusted"),
        )
        for i, name in enumerate(names)
    )


def assess_size(
    reliability: Sequence[ProxyReliability], values: Floats, trained: Floats, sizes: Floats
) -> ProxyReliability:
    """Decide whether size is one more proxy in the rank sum.

    It is where the proxies that are trusted grow with it. They are trusted for what they know beside it, so that it
    counts that they prefer larger ones. Else, a small architecture of the band is as good as a large one.

    Args:
        reliability: Reliability of the proxies, from :func:`assess`; at least one is trusted.
        values: See :func:`assess`.
        trained: See :func:`assess`.
        sizes: See :func:`assess`.
    """
    used = [item.trusted for item in reliability]
    asked = ~np.isnan(trained)
    consensus = correlation(sizes, proxy_scores(values)[:, used].sum(1))
    training = correlation(sizes[asked], trained[asked]) if asked.sum() >= LEAST_TRAINED else None
    support = consensus if training is None else np.average([consensus, training], weights=[len(sizes), asked.sum()])
    trusted = bool(support >= LEAST_SUPPORT)
    return ProxyReliability(
        proxy=SIZE,
        stability=None,
        consensus=consensus,
        training=training,
        trained=int(asked.sum()),
        trusted=trusted,
        why="trusted" if trusted else UNRELATED,
    )


def least_support(count: int) -> float:
    r"""Compute the least partial correlation with so many trainings by which a proxy without others is trusted.

    It is :data:`LEAST_SUPPORT`. For few trainings it is what chance exceeds in 5 % of cases by Fisher's transformation,
    :math:`\tanh(1.645 / \sqrt{K - 4})`.

    Args:
        count: Number of trainings, at least :data:`LEAST_TRAINED`.
    """
    return max(LEAST_SUPPORT, float(np.tanh(CHANCE / (count - 4) ** 0.5)))


def proxy_scores(values: Floats) -> Floats:
    """Rank every proxy, sum over repeats, rank again; shape ``(K, S)``, whole or half numbers from 1 to K."""
    # sums of such numbers are exact: rounding must not break ties
    scores: Floats = rankdata(rankdata(values, axis=0).sum(2), axis=0)
    return scores


def normal_scores(values: Floats) -> Floats:
    """Turn ranks into quantiles of a normal distribution, shape ``(K,)``: no value can dominate by its size."""
    scores: Floats = norm.ppf((rankdata(values) - 0.5) / len(values))
    return scores


def stability_of(values: Floats) -> float:
    r"""Compute the reliability of the mean of ``R`` repeats, :math:`Rr / (1 + (R - 1) r)`, of Spearman and Brown.

    Args:
        values: Shape ``(K, R)``, ``R`` at least 2; ``r`` is the mean rank correlation of two repeats.
    """
    repeats = values.shape[1]
    pairs = [correlation(values[:, i], values[:, j]) for i in range(repeats) for j in range(i)]
    r = max(float(np.mean(pairs)), 0.0)
    return float(repeats * r / (1 + (repeats - 1) * r))


def correlation(first: Floats, second: Floats) -> float:
    """Compute Spearman's correlation; 0 where one of them ranks nothing."""
    if any(np.unique(values).size < 2 for values in (first, second)):
        return 0.0
    return float(spearmanr(first, second).statistic)


def partial_correlation(first: Floats, second: Floats, given: Floats) -> float:
    r"""Compute Spearman's correlation of what the ranks of a third quantity, linearly, do not explain of two others.

    :math:`(r_{ab} - r_{ac} r_{bc}) / \sqrt{(1 - r_{ac}^2)(1 - r_{bc}^2)}`; 0 where nothing is left of one of them.
    """
    ab, ac, bc = correlation(first, second), correlation(first, given), correlation(second, given)
    left = (1 - ac**2, 1 - bc**2)
    return 0.0 if min(left) < 1e-12 else float((ab - ac * bc) / (left[0] * left[1]) ** 0.5)
