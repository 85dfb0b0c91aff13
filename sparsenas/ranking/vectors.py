"""Checked arrays: a figure that cannot be computed is an error, never NaN."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsenas.errors import RankingError

Floats = NDArray[np.float64]


def vector(values: ArrayLike, name: str, at_least: int = 1) -> Floats:
    """Return values as a finite vector, shape ``(R,)``; ``name`` is for messages.

    Raises:
        RankingError: If they are not finite numbers in one row, or fewer than ``at_least``.
    """
    return _checked(values, name, 1, at_least)


def matrix(values: ArrayLike, name: str, at_least: int = 2) -> Floats:
    """Return values as a finite matrix, shape ``(N, R)``, or raise a ``RankingError``."""
    return _checked(values, name, 2, at_least)


def pair(
    scores: ArrayLike, truth: ArrayLike, at_least: int = 1, names: tuple[str, str] = ("scores", "truth")
) -> tuple[Floats, Floats]:
    """Return two vectors of the same items, ``scores`` and ``truth`` unless ``names`` says otherwise.

    Raises:
        RankingError: If one is not a finite vector, or their lengths differ.
    """
    checked = vector(scores, names[0], at_least), vector(truth, names[1], at_least)
    check_same_items(*checked, names)
    return checked


def check_same_items(first: Floats, second: Floats, names: tuple[str, str]) -> None:
    """Raise a ``RankingError`` unless the last axes agree."""
    if first.shape[-1] != len(second):
        raise RankingError(
            f"{names[0]} has {first.shape[-1]} items but {names[1]} has {len(second)}; give both for the same items"
        )


def check_top(n: int, scores: Floats) -> None:
    """Raise a ``RankingError`` unless there are ``n`` items."""
    if not 1 <= n <= len(scores):
        raise RankingError(f"n is {n}; a top of {len(scores)} items has 1 to {len(scores)}")


def correlation(
    statistic: Callable[[Floats, Floats], Any], first: Floats, second: Floats, names: tuple[str, str]
) -> float:
    """Compute a correlation of two vectors, or raise a ``RankingError`` if one is constant."""
    for values, name in zip((first, second), names, strict=True):
        if (values == values[0]).all():
            raise RankingError(
                f"{name}: all {len(values)} values are {values[0]:g}; a correlation needs two that differ"
            )
    return float(statistic(first, second).statistic)


def _checked(values: ArrayLike, name: str, dimensions: int, at_least: int) -> Floats:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise RankingError(f"{name}: not numbers in rows of equal length ({error})") from error
    if array.ndim != dimensions or len(array) == 0 or array.shape[-1] < at_least:
        expected = ("(items,)", "(rankings, items)")[dimensions - 1]
        raise RankingError(f"{name}: shape is {array.shape}; expected {expected} with at least {at_least} items")
    if not np.isfinite(array).all():
        where = np.unravel_index(int((~np.isfinite(array)).argmax()), array.shape)
        raise RankingError(
            f"{name}: item {', '.join(str(index) for index in where)} is {array[where]}; "
            "give a number to every item, or leave the item out of all rankings"
        )
    return array
