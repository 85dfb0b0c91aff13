"""Listing of image files by a folder or a table: their parts, classes and groups."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sparsenas.data.labels import Labels
from sparsenas.data.sources import PartName
from sparsenas.errors import DataError


@dataclass
class LeftOut:
    """Counts of what was not taken, by reason."""

    counts: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        """Format the reasons and how often each occurred."""
        return ", ".join(f"{count} {reason}" for reason, count in self.counts.items())


@dataclass(frozen=True)
class ListedPart:
    """Image files of a part.

    Attributes:
        folder: Where names begin.
        names: Path of each file below the folder, or its whole path; their order is that of the images.
        labels: Class of each file, shape ``(N,)``; or 1 for each of its classes, ``(N, K)``.
        groups: Group of each file; ``None`` if it has none.
    """

    folder: Path
    names: list[str]
    labels: Labels
    groups: list[str] | None = None

    def files(self, indices: Iterable[int]) -> list[Path]:
        """Return the paths of some files."""
        return [self.folder / self.names[index] for index in indices]

    def without(self, left_out: Iterable[int]) -> "ListedPart":
        """Return the part without some files."""
        kept = np.setdiff1d(np.arange(len(self.names)), list(left_out))
        groups = None if self.groups is None else [self.groups[i] for i in kept]
        return ListedPart(self.folder, [self.names[i] for i in kept], self.labels[kept], groups)


@dataclass(frozen=True)
class Listing:
    """Image files by part.

    Attributes:
        class_names: One name per label.
        parts: The parts that there are; ``"train"`` always.
        left_out: What was not taken.
    """

    class_names: tuple[str, ...]
    parts: dict[PartName, ListedPart]
    left_out: LeftOut


def check_groups(parts: dict[PartName, ListedPart], where: str) -> None:
    """Check that no group is in two parts.

    Raises:
        DataError: Naming the first group that is.
    """
    found: dict[str, PartName] = {}
    for name, part in parts.items():
        groups = set(part.groups or ())
        shared = sorted(group for group in groups if group in found)
        if shared:
            raise DataError(
                f"{where}: {len(shared)} groups are in the parts {found[shared[0]]} and {name}, such as "
                f"{shared[0]!r}; put all images of a group into one part"
            )
        found.update(dict.fromkeys(groups, name))
