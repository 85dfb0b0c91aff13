"""Figures of several super-nets together."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sparsenas.errors import RankingError


def or_none(function: Callable[..., Any], *arguments: Any) -> Any:
    """A figure; ``None`` where scores do not rank, as those of a super-net that learned nothing may be constant."""
    try:
        return function(*arguments)
    except RankingError:
        return None


def mean_of(values: Sequence[float | None]) -> float | None:
    """Mean over the seeds; ``None`` if one has no value."""
    return None if None in values else float(np.mean(values))  # type: ignore[arg-type]
