"""Which signal to trust, by what can be seen without knowing how good any architecture is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

Floats = NDArray[np.float64]
#: Whether signals have to prove themselves, or all are used.
Trust = Literal["evidence", "all"]

#: A signal whose repeats agree less has more noise than meaning; one that agrees less with the others is not believed.
#: The second number was set on NAS-Bench-Macro, where the agreement of three signals is above .5, and on the space of
#: 64 cells, where they know nothing but size, and it is below .3.
LEAST_STABILITY, LEAST_SUPPORT = 0.5, 0.4

#: One-sided 5 % quantile of the normal distribution: trainings alone have to say more than chance does that often.
CHANCE = 1.645
#: Fewer trainings than this leave a partial correlation nothing to say.
LEAST_TRAINED = 5

#: Why a signal, or size, is not used.
SAME, NOISE, CONTRADICTED, DISPROVED, ALONE, UNRELATED = (
    "gives all the same score",
    "its repeats disagree",
    "given size, the others disagree",
    "given size, the short trainings disagree",
    "no other is left to agree with it",
    "what is trusted does not grow with it",
)

#: What size is called among the signals.
SIZE = "size"


@dataclass(frozen=True)
class Evidence:
    """What speaks for a signal, or for size.

    Attributes:
        signal: Its name, or :data:`SIZE`.
        stability: Reliability of the mean of its repeats, from their rank correlation: 1 for no noise; ``None`` where
            a repeat would be the same, or none was made.
        consensus: Spearman's correlation, given size, with the rank sum of the other trusted signals, or of those that
            were left when this one was dropped for it; ``None`` without others. That of size is the plain one.
        training: The same with the short trainings; ``None`` without them.
        trained: How many architectures that rests on.
        trusted: Whether the signal is used.
        why: In a few words.
    """

    signal: str
    stability: float | None
    consensus: float | None
    training: float | None
    trained: int
    trusted: bool
    why: str


def weigh(
    names: Sequence[str],
    values: Floats,
    repeatable: Sequence[bool],
    trained: Floats,
    sizes: Floats,
    trust: Trust = "evidence",
) -> tuple[Evidence, ...]:
    r"""Decide which signals to use.

    A signal is dropped if it ranks nothing, or if its repeats disagree. Of the others, the one with the least support
    is dropped as long as that is too little, where support is the correlation with the rank sum of the other signals
    and that with the short trainings, each weighted by the number of architectures it rests on. It may come to
    dropping all. One that is left alone has the trainings only, which must be for it by more than chance.

    Signals of different descent that agree do so because of the architectures; one that stands alone may be right, but
    nothing says so. Most signals grow with the architecture, and would agree by that alone, also against one that sees
    more; hence the correlations are partial ones, given size.

    Args:
        names: Of the signals. A single one is not asked for support by others.
        values: Shape ``(K, S, R)``: architectures, signals, repeats. ``-inf`` is allowed, NaN is not.
        repeatable: Of each signal, whether repeats are independent.
        trained: Minus the loss of short trainings, shape ``(K,)``; NaN for architectures that were not trained.
        sizes: Live costs, shape ``(K,)``.
        trust: ``all`` drops none but those that rank nothing; what speaks for them is reported all the same.
    """
    scores = signal_scores(values)
    repeated = values.shape[2] > 1
    stability = [stability_of(values[:, i]) if repeats and repeated else None for i, repeats in enumerate(repeatable)]
    dropped: dict[int, str] = {}
    agreed: dict[int, float | None] = {}
    for i, stable in enumerate(stability):
        if np.ptp(scores[:, i]) == 0:
            dropped[i] = SAME
        elif trust == "evidence" and stable is not None and stable < LEAST_STABILITY:
            dropped[i] = NOISE
    asked = ~np.isnan(trained)

    def consensus(i: int) -> float | None:
        others = [j for j in range(len(names)) if j != i and j not in dropped]
        return partial_correlation(scores[:, i], scores[:, others].sum(1), sizes) if others else None

    def training(i: int) -> float | None:
        enough = asked.sum() >= LEAST_TRAINED
        return partial_correlation(scores[asked, i], trained[asked], sizes[asked]) if enough else None

    def surplus(i: int) -> float | None:
        """By how much its support is above what is needed; ``None`` if there is nobody to ask."""
        agreement, trainings = consensus(i), training(i)
        if agreement is None:
            return None if trainings is None else trainings - least_support(int(asked.sum()))
        if trainings is None:
            return agreement - LEAST_SUPPORT
        return float(np.average([agreement, trainings], weights=[len(scores), asked.sum()])) - LEAST_SUPPORT

    while trust == "evidence" and (left := [i for i in range(len(names)) if i not in dropped]):
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
        Evidence(
            signal=name,
            stability=stability[i],
            consensus=agreed[i] if i in agreed else consensus(i),
            training=training(i),
            trained=int(asked.sum()),
            trusted=i not in dropped,
            why=dropped.get(i, "trusted"),
        )
        for i, name in enumerate(names)
    )


def weigh_size(evidence: Sequence[Evidence], values: Floats, trained: Floats, sizes: Floats) -> Evidence:
    """Decide whether size is one more voice in the rank sum.

    It is where the signals that are trusted grow with it: they are trusted for what they know beside it, so that their
    word that larger is better counts. Where they do not, a small architecture of the band is as good as a large one.

    Args:
        evidence: For the signals, from :func:`weigh`; at least one is trusted.
        values: See :func:`weigh`.
        trained: See :func:`weigh`.
        sizes: See :func:`weigh`.
    """
    used = [item.trusted for item in evidence]
    asked = ~np.isnan(trained)
    consensus = correlation(sizes, signal_scores(values)[:, used].sum(1))
    training = correlation(sizes[asked], trained[asked]) if asked.sum() >= LEAST_TRAINED else None
    support = consensus if training is None else np.average([consensus, training], weights=[len(sizes), asked.sum()])
    trusted = bool(support >= LEAST_SUPPORT)
    return Evidence(
        signal=SIZE,
        stability=None,
        consensus=consensus,
        training=training,
        trained=int(asked.sum()),
        trusted=trusted,
        why="trusted" if trusted else UNRELATED,
    )


def least_support(count: int) -> float:
    r"""Least partial correlation with so many trainings that is believed of a signal without others.

    :data:`LEAST_SUPPORT`, or for few of them what chance exceeds in 5 % of cases by Fisher's transformation,
    :math:`\tanh(1.645 / \sqrt{K - 4})`.

    Args:
        count: At least :data:`LEAST_TRAINED`.
    """
    return max(LEAST_SUPPORT, float(np.tanh(CHANCE / (count - 4) ** 0.5)))


def signal_scores(values: Floats) -> Floats:
    """Ranks of every signal, summed over repeats, ranked again; shape ``(K, S)``, whole or half numbers from 1 to K."""
    # sums of such numbers are exact: rounding must not break ties
    scores: Floats = rankdata(rankdata(values, axis=0).sum(2), axis=0)
    return scores


def normal_scores(values: Floats) -> Floats:
    """Ranks as quantiles of a normal distribution, shape ``(K,)``: no value can dominate by its size."""
    scores: Floats = norm.ppf((rankdata(values) - 0.5) / len(values))
    return scores


def stability_of(values: Floats) -> float:
    r"""Reliability of the mean of ``R`` repeats by the formula of Spearman and Brown, :math:`Rr / (1 + (R - 1) r)`.

    Args:
        values: Shape ``(K, R)``, ``R`` at least 2; ``r`` is the mean rank correlation of two repeats.
    """
    repeats = values.shape[1]
    pairs = [correlation(values[:, i], values[:, j]) for i in range(repeats) for j in range(i)]
    r = max(float(np.mean(pairs)), 0.0)
    return float(repeats * r / (1 + (repeats - 1) * r))


def correlation(first: Floats, second: Floats) -> float:
    """Spearman's correlation; 0 where one of them ranks nothing."""
    a, b = rankdata(first), rankdata(second)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def partial_correlation(first: Floats, second: Floats, given: Floats) -> float:
    r"""Spearman's correlation of what the ranks of a third quantity, linearly, do not explain of two others.

    :math:`(r_{ab} - r_{ac} r_{bc}) / \sqrt{(1 - r_{ac}^2)(1 - r_{bc}^2)}`; 0 where nothing is left of one of them.
    """
    ab, ac, bc = correlation(first, second), correlation(first, given), correlation(second, given)
    left = (1 - ac**2, 1 - bc**2)
    return 0.0 if min(left) < 1e-12 else float((ab - ac * bc) / (left[0] * left[1]) ** 0.5)
