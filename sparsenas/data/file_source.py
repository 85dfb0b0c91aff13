"""Image files that a folder or a table lists."""

import filecmp
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sparsenas.data.broken_files import broken_files
from sparsenas.data.cross_validation import CrossValidation
from sparsenas.data.duplicates import duplicates
from sparsenas.data.folder_listing import list_folder
from sparsenas.data.image_files import ImageFiles
from sparsenas.data.labels import Labels, label_tensor
from sparsenas.data.listing import ListedPart, Listing, check_groups
from sparsenas.data.names import Indices, Places
from sparsenas.data.pixel_sizes import pixel_sizes
from sparsenas.data.sources import ImageSource, PartName, expand_path, part_lines
from sparsenas.data.table_listing import list_table
from sparsenas.errors import ConfigError
from sparsenas.images import Resize
from sparsenas.reading import shorten
from sparsenas.texts import readable

#: Most files in a line of a report.
SHOWN = 3


class FileSource(ImageSource):
    """Image files of a folder, or of a table, read when they are drawn.

    An image is known by its path below the folder of its part, or below the table's folder.

    Args:
        path: Folder, or table whose name ends in ``.csv``.
        image_shape: ``(C, H, W)`` of the images that are made of the files.
        resize: How images come to this size in evaluation.
        crop_scale: Smallest share of the area of a training window.
        group_by: Regular expression whose match in a file's name is its group.
        skip_broken: Leave out files that cannot be read.
        cross_validation: Which fold is for testing.

    Raises:
        ConfigError: If options do not fit each other or the files.
        DataError: If the folder or table is missing or wrong.
    """

    #: Enough for an error of the mean of about 0.01; decoding all of a large folder would take hours.
    statistics_sample = 512
    grows = True

    def __init__(
        self,
        path: str,
        image_shape: tuple[int, int, int],
        resize: Resize,
        crop_scale: float,
        group_by: str | None = None,
        skip_broken: bool = False,
        cross_validation: CrossValidation | None = None,
    ) -> None:
        root = expand_path(path, "data.path")
        self.name = str(root)
        listing = list_table(root) if root.suffix.lower() == ".csv" and not root.is_dir() else list_folder(root)
        self._listing = listing if group_by is None else _grouped(listing, group_by, self.name)
        check_groups(self._listing.parts, self.name)
        if cross_validation is not None and self.has("test"):
            raise ConfigError(
                f"{self.name}: has a test part, so there is nothing to fold; leave out it or data.cross_validation"
            )
        self.class_names = self._listing.class_names
        self.multilabel = self._listing.parts["train"].labels.ndim == 2
        self.image_shape = image_shape
        self.windowed = crop_scale < 1
        self.resize = resize
        self._crop_scale = crop_scale
        self._skip_broken = skip_broken
        self._cross_validation = cross_validation

    def has(self, part: PartName) -> bool:
        """Return True if the folder or table has the part."""
        return part in self._listing.parts

    def labels(self, part: PartName) -> Labels:
        """Return the labels of a part, shape ``(N,)``; or ``(N, K)``, 1 for each class of an image."""
        return self._parts[part].labels

    def load(self, part: PartName, indices: Indices) -> ImageFiles:
        """Return the files at ``indices`` of a part; they are read when drawn."""
        listed = self._parts[part]
        return ImageFiles(
            listed.files(indices),
            label_tensor(listed.labels[indices]),
            image_shape=self.image_shape,
            eval_resize=self.resize,
            crop_scale=self._crop_scale,
        )

    def files(self, part: PartName) -> list[str]:
        """Return the path of each file below the folder of its part, or that of the table."""
        return self._parts[part].names

    def groups(self, part: PartName) -> list[str] | None:
        """Return the group of each file of a part; ``None`` if there are none."""
        return self._parts[part].groups

    def pixel_sizes(self) -> NDArray[np.int64]:
        """See :class:`ImageSource`; by the headers of some files."""
        part = self._listing.parts["train"]
        return pixel_sizes(part.files(range(len(part.names))))

    def places(self) -> Places:
        """Return the place of each training image, or that of its group."""
        groups = self.groups("train")
        return super().places() if groups is None else Places.of(groups)

    def held_out(self, seed: int) -> NDArray[np.bool_] | None:
        """Say which training images are those of the fold for testing."""
        if self._cross_validation is None:
            return None
        return self._cross_validation.held_out(self.labels("train"), self.groups("train"), seed, self.name)

    def trained(self, part: PartName, names: Sequence[str]) -> list[str]:
        """Say which files of a part equal the training files of the same names, byte by byte."""
        own, other = (dict(zip(self.names(p), range(len(self.names(p))), strict=True)) for p in (part, "train"))
        one, two = self._parts[part], self._parts["train"]

        def same(name: str) -> bool:
            (file,), (trained,) = one.files([own[name]]), two.files([other[name]])
            return filecmp.cmp(file, trained, shallow=False)

        return [name for name in names if same(name)]

    def duplicates(self) -> list[list[tuple[PartName, int]]]:
        """Return the places, in all parts, of files of the same bytes."""
        places = [(name, index) for name, part in self._parts.items() for index in range(len(part.names))]
        files = [file for part in self._parts.values() for file in part.files(range(len(part.names)))]
        return [[places[index] for index in same] for same in duplicates(files)]

    def report(self) -> list[str]:
        """Say what was taken as parts and classes, and what was left out; a line each."""
        table = {part: self.name for part in self._listing.parts} if self.name.lower().endswith(".csv") else None
        folders = table or {name: str(part.folder) for name, part in self._listing.parts.items()}
        lines = list(part_lines(self, folders))
        if self._cross_validation is not None:
            lines[-1] = f"{lines[-1]}; {self._cross_validation}"
        groups = sum(len(set(part.groups or ())) for part in self._parts.values())
        lines += [f"groups: {groups}, each whole in one part"] if groups else []
        lines += [f"left out: {self._listing.left_out}"] if self._listing.left_out.counts else []
        if self.broken:
            some = ", ".join(readable(name) for name, _ in self.broken[:SHOWN])
            more = ", ..." if len(self.broken) > SHOWN else ""
            said = f"{len(self.broken)} files that cannot be read ({some}{more}); all are in broken.txt"
            lines.append(f"left out: {said}")
        return lines

    @property
    def broken(self) -> list[tuple[str, str]]:
        """Path of each file that was left out because it cannot be read, and the reason."""
        return [pair for part in self._broken.values() for pair in part.values()]

    @cached_property
    def _broken(self) -> dict[PartName, dict[int, tuple[str, str]]]:
        """By part and position, the files that cannot be read, if asked for; reads the pixels of all files."""
        if not self._skip_broken:
            return {}
        found: dict[PartName, dict[int, tuple[str, str]]] = {}
        for name, part in self._listing.parts.items():
            reasons = broken_files(part.files(range(len(part.names))), self.image_shape[0])
            found[name] = {index: (part.names[index], reason) for index, reason in reasons.items()}
        return found

    @cached_property
    def _parts(self) -> dict[PartName, ListedPart]:
        """The parts, without files that cannot be read."""
        return {
            name: part.without(self._broken[name]) if self._broken.get(name) else part
            for name, part in self._listing.parts.items()
        }


def _grouped(listing: Listing, group_by: str, where: str) -> Listing:
    """Group files by a part of their names.

    Raises:
        ConfigError: If the expression is none, matches not all names, or the table has groups already.
    """
    if listing.parts["train"].groups is not None:
        raise ConfigError(f"{where}: has a column group, and data.group_by is {shorten(group_by, 40)!r}; use one")
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        raise ConfigError(
            f"data.group_by is {shorten(group_by, 40)!r}, which is no regular expression ({error})"
        ) from error
    parts: dict[PartName, ListedPart] = {}
    for name, part in listing.parts.items():
        found = [pattern.search(file) for file in part.names]
        without = [file for file, match in zip(part.names, found, strict=True) if match is None]
        if without:
            raise ConfigError(
                f"data.group_by is {shorten(group_by, 40)!r}, which {len(without)} of {len(found)} names do not match, "
                f"such as {readable(without[0])}; it must match every path below {part.folder}"
            )
        groups = ["/".join(m.groups(default="")) if m.re.groups else m[0] for m in found if m is not None]
        parts[name] = replace(part, groups=groups)
    return replace(listing, parts=parts)
