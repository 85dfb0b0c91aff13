"""Pareto sets: what no other item is better than in everything."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsenas.ranking.vectors import matrix


def non_dominated(figures: ArrayLike) -> NDArray[np.bool_]:
    """Find the items of which no other is at least as good in every figure and better in one, shape ``(R,)``.

    Equal items are in the set together, or not at all.

    Args:
        figures: Shape ``(R, K)``, higher is better.

    Raises:
        RankingError: If figures are no finite numbers, or there are none.
    """
    values = matrix(figures, "figures", at_least=1)
    at_least = (values[:, None] >= values[None]).all(2)
    better = (values[:, None] > values[None]).any(2)
    return np.logical_not((at_least & better).any(0))
