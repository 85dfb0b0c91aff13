"""Several scores as one."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from sparsenas.errors import RankingError


def rank_sum(scores: Sequence[ArrayLike]) -> NDArray[np.float64]:
    """Sum of the ranks that several scores give the same networks, as a score.

    Ranks and not values: scores have other units and heavy tails. Equal ones share their mean rank; ``-inf`` is last.

    Args:
        scores: Each of shape ``(R,)``, more is better.

    Returns:
        Shape ``(R,)``, more is better, between the number of scores and ``R`` times it.

    Raises:
        RankingError: If there are none, shapes differ, or a score is NaN.
    """
    rows = [np.asarray(row, np.float64) for row in scores]
    if not rows or any(row.shape != rows[0].shape or row.ndim != 1 for row in rows):
        raise RankingError(f"scores have shapes {[row.shape for row in rows]}; give at least one, all of shape (R,)")
    if any(np.isnan(row).any() for row in rows):
        raise RankingError("a score is NaN; use -inf for a network that cannot be scored")
    return np.asarray(sum(rankdata(row) for row in rows), np.float64)
