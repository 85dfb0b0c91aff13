"""Which signal to trust, by what can be seen without knowing how good any architecture is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

Floats = NDArray[np.float64]

#: A signal whose repeats agree less has more noise than meaning; one that agrees less with the others is not believed.
LEAST_STABILITY, LEAST_SUPPORT = 0.5, 0.4


@dataclass(frozen=True)
class Evidence:
    """What speaks for a signal.

    Attributes:
        signal: Its name.
        stability: Reliability of the mean of its repeats, from their rank correlation: 1 for no noise; ``None`` where
            a repeat would be the same.
        consensus: Spearman's correlation with the rank sum of the other trusted signals; ``None`` without others.
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


def weigh(names: Sequence[str], values: Floats, repeatable: Sequence[bool], trained: Floats) -> tuple[Evidence, ...]:
    r"""Decide which signals to use.

    A signal is dropped if it ranks nothing, or if its repeats disagree. Of the others, the one with the least support
    is dropped as long as that is too little, where support is the correlation with the rank sum of the other signals
    and that with the short trainings, each weighted by the number of architectures it rests on. Signals of different
    descent that agree do so because of the architectures; one that stands alone may be right, but nothing says so.

    Args:
        names: Of the signals.
        values: Shape ``(K, S, R)``: architectures, signals, repeats. ``-inf`` is allowed, NaN is not.
        repeatable: Of each signal, whether repeats are independent.
        trained: Minus the loss of short trainings, shape ``(K,)``; NaN for architectures that were not trained.
    """
    scores = signal_scores(values)
    stability = [stability_of(values[:, i]) if repeats else None for i, repeats in enumerate(repeatable)]
    dropped: dict[int, str] = {}
    for i, stable in enumerate(stability):
        if np.ptp(scores[:, i]) == 0:
            dropped[i] = "gives all the same score"
        elif stable is not None and stable < LEAST_STABILITY:
            dropped[i] = "its repeats disagree"
    asked = ~np.isnan(trained)

    def consensus(i: int) -> float | None:
        others = [j for j in range(len(names)) if j != i and j not in dropped]
        return correlation(scores[:, i], scores[:, others].sum(1)) if others else None

    def training(i: int) -> float | None:
        return correlation(scores[asked, i], trained[asked]) if asked.sum() > 2 else None

    def support(i: int) -> float:
        terms = [(consensus(i), len(scores)), (training(i), int(asked.sum()))]
        known = [(value, weight) for value, weight in terms if value is not None]
        return sum(value * weight for value, weight in known) / max(sum(weight for _, weight in known), 1)

    while len(left := [i for i in range(len(names)) if i not in dropped]) > 1:
        worst = min(left, key=support)
        # two that disagree contradict each other alike: only trainings can tell them apart
        if support(worst) >= LEAST_SUPPORT or (len(left) == 2 and not asked.sum() > 2):
            break
        dropped[worst] = "the others disagree with it"
    return tuple(
        Evidence(
            signal=name,
            stability=stability[i],
            consensus=consensus(i),
            training=training(i),
            trained=int(asked.sum()),
            trusted=i not in dropped,
            why=dropped.get(i, "trusted"),
        )
        for i, name in enumerate(names)
    )


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
        values: Shape ``(K, R)``; ``r`` is the mean rank correlation of two repeats. One repeat tells nothing: 1.
    """
    repeats = values.shape[1]
    if repeats == 1:
        return 1.0
    pairs = [correlation(values[:, i], values[:, j]) for i in range(repeats) for j in range(i)]
    r = max(float(np.mean(pairs)), 0.0)
    return float(repeats * r / (1 + (repeats - 1) * r))


def correlation(first: Floats, second: Floats) -> float:
    """Spearman's correlation; 0 where one of them ranks nothing."""
    a, b = rankdata(first), rankdata(second)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
