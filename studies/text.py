"""Numbers and tables of the studies as text."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from studies.common import Row

Floats = NDArray[np.float64]


def groups(rows: Sequence[Row], name: str) -> dict[str, list[Row]]:
    """Rows by their value in a column, in the order of the first of each."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row[name], []).append(row)
    return found


def values(rows: Sequence[Row], name: str) -> Floats:
    """Numbers of a column; rows without one are left out."""
    return np.array([float(row[name]) for row in rows if row.get(name)])


def markdown(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (heads, ["---"] * len(heads), *lines))


def number(value: float | None, digits: int = 1) -> str:
    """A figure for people; empty if there is none."""
    return "" if value is None or np.isnan(value) else f"{value:.{digits}f}"


def mean(numbers: Floats, digits: int = 1) -> str:
    """Their mean; empty if there are none."""
    return number(float(numbers.mean()), digits) if len(numbers) else ""


def spread(numbers: Floats, digits: int = 1) -> str:
    """Mean, and the deviation if there are several that differ."""
    several = len(numbers) > 1 and np.ptp(numbers) > 0
    return mean(numbers, digits) + (f" ± {numbers.std(ddof=1):.{digits}f}" if several else "")


def probability(value: float) -> str:
    """A p-value for people."""
    return "< .001" if value < 0.001 else f"{value:.3f}".lstrip("0") if value < 0.995 else "1"
