"""Checked arrays: what a ranking figure cannot be computed from is an error, never NaN."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsenas.errors import RankingError

Floats = NDArray[np.float64]


def vector(values: ArrayLike, name: str, at_least: int = 1) -> Floats:
    """Values as a finite vector, shape ``(R,)``.

    Args:
        values: Numbers.
        name: What they are, for messages.
        at_least: Smallest admissible length.

    Raises:
        RankingError: If they are not finite numbers in one row, or too few.
    """
    return _checked(values, name, 1, at_least)


def matrix(values: ArrayLike, name: str) -> Floats:
    """Values as a finite matrix with at least one row of at least two entries, shape ``(N, R)``.

    Raises:
        RankingError: As for :func:`vector`.
    """
    return _checked(values, name, 2, 2)


def pair(
    scores: ArrayLike, truth: ArrayLike, at_least: int = 1, names: tuple[str, str] = ("scores", "truth")
) -> tuple[Floats, Floats]:
    """Scores and truth, or what else ``names`` says, of the same items.

    Raises:
        RankingError: If one is no finite vector, or their lengths differ.
    """
    checked = vector(scores, names[0], at_least), vector(truth, names[1], at_least)
    check_same_items(*checked, names)
    return checked


def check_same_items(first: Floats, second: Floats, names: tuple[str, str]) -> None:
    """Check that the last axes agree.

    Raises:
        RankingError: Naming both lengths.
    """
    if first.shape[-1] != len(second):
        raise RankingError(
            f"{names[0]} has {first.shape[-1]} items but {names[1]} has {len(second)}; give both for the same items"
        )


def check_top(n: int, scores: Floats) -> None:
    """Check the size of a top.

    Raises:
        RankingError: If there are not ``n`` items.
    """
    if not 1 <= n <= len(scores):
        raise RankingError(f"n is {n}; a top of {len(scores)} items has 1 to {len(scores)}")


def correlation(
    statistic: Callable[[Floats, Floats], float], first: Floats, second: Floats, names: tuple[str, str]
) -> float:
    """A correlation of two vectors that both vary.

    Raises:
        RankingError: If one is constant.
    """
    for values, name in zip((first, second), names, strict=True):
        if (values == values[0]).all():
            raise RankingError(
                f"{name}: all {len(values)} values are {values[0]:g}; a correlation needs two that differ"
            )
    return statistic(first, second)


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
