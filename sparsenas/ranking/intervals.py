"""Bootstrap intervals over the items of a ranking."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from sparsenas.errors import RankingError
from sparsenas.ranking.vectors import Floats, vector

#: Most draws per wanted resample: half of all draws of 2 items are constant.
PATIENCE = 20


class Interval(NamedTuple):
    """Ends of an interval."""

    low: float
    high: float


def bootstrap_interval(
    statistic: Callable[..., float],
    *samples: ArrayLike,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Compute the percentile bootstrap over items; values of one item stay together.

    The interval shows the variation with the choice of items, not with the seeds of training. Draws on which the
    statistic fails are drawn again. For the difference of two rankings give both: ``bootstrap_interval(lambda a, b, g:
    kendall_tau(a, g) - kendall_tau(b, g), first, second, truth)``.

    Args:
        statistic: Takes as many vectors as there are samples, gives a number.
        samples: Numbers of each item, shapes ``(R,)``.
        confidence: Share of the resampled figures inside, in (0, 1).
        resamples: Number of draws.
        seed: Seed of the draws.

    Raises:
        RankingError: If samples differ in length, an option is out of range, the statistic fails on the samples
            themselves, or nearly all draws fail.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.
    """
    if not samples:
        raise RankingError("bootstrap_interval got no samples; give scores and truth")
    if not 0 < confidence < 1 or resamples < 1:
        raise RankingError(f"confidence is {confidence} and resamples {resamples}; they lie in (0, 1) and from 1 on")
    vectors = [vector(sample, f"sample {number}", at_least=2) for number, sample in enumerate(samples)]
    sizes = [len(values) for values in vectors]
    if len(set(sizes)) > 1:
        raise RankingError(f"samples have {', '.join(str(size) for size in sizes)} items; give all for the same items")
    statistic(*vectors)  # an error of the data themselves goes to the user
    figures = _resampled(statistic, vectors, resamples, np.random.default_rng(seed))
    low, high = np.quantile(figures, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def _resampled(
    statistic: Callable[..., float], vectors: list[Floats], resamples: int, rng: np.random.Generator
) -> list[float]:
    size = len(vectors[0])
    figures: list[float] = []
    for _ in range(PATIENCE * resamples):
        drawn = rng.integers(size, size=size)
        try:
            figures.append(float(statistic(*(values[drawn] for values in vectors))))
        except RankingError:
            continue
        if len(figures) == resamples:
            return figures
    raise RankingError(
        f"only {len(figures)} of {PATIENCE * resamples} draws of the {size} items can be ranked; "
        "an interval needs more items that differ"
    )
