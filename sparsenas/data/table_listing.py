"""Image files in a table."""

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sparsenas.classification import SEPARATOR
from sparsenas.data.folder_tree import PART_FOLDERS, Identity
from sparsenas.data.labels import Labels, check_classes
from sparsenas.data.listing import LeftOut, ListedPart, Listing
from sparsenas.data.sources import PARTS, PartName
from sparsenas.errors import DataError
from sparsenas.reading import ReadingError, read_text, shorten
from sparsenas.texts import readable

#: Columns that a table has, and those that it may have.
NEEDED, OPTIONAL = ("path", "label"), ("split", "group")


class _Row(NamedTuple):
    """A row: its line, the name of the file, and what the table says of it; its labels are sorted, each once."""

    line: int
    name: str
    labels: tuple[str, ...]
    several: bool
    part: PartName
    group: str | None


def list_table(path: Path) -> Listing:
    """List the image files of a CSV table, in order of class and name.

    Columns are ``path`` (relative to the table's folder, or absolute) and ``label``. Optional are ``split`` (``train``,
    ``val`` or ``test``) and ``group``. A row that is there twice counts once.

    If one cell of ``label`` holds a ``;``, images have any number of labels. Then ``;`` separates names in all cells,
    and an empty cell means none. Blanks around a name, a name that is there twice, and a ``;`` too many are ignored.

    Raises:
        DataError: If the table is missing, empty, no text in UTF-8, or lacks a column. If files are missing. If a file
            has two rows of different labels, parts or groups, or lies in the folder of another label. If there is one
            class, or a class without training images.
    """
    left_out = LeftOut()
    rows = list(_rows(path, left_out))
    if not rows:
        raise DataError(f"{path}: has no rows; give one for each image, such as cats/1.jpg,cat")
    multilabel = any(row.several for row in rows)
    if not multilabel:
        _check_labelled(path, rows)
    class_names = tuple(sorted({label for row in rows for label in row.labels}))
    if len(class_names) < 2:
        found = f"only one label, {class_names[0]}" if class_names else "no label in any row"
        raise DataError(f"{path}: {found}; a classifier needs at least two")
    rows = _different(path, rows, left_out)
    if not multilabel:
        _check_folders(path, rows, class_names)
    trained = {label for row in rows if row.part == "train" for label in row.labels}
    for label in class_names:
        if label not in trained:
            raise DataError(f"{path}: label {label!r} has no training image; give every label at least one")
    rows.sort(key=lambda row: (row.labels, row.name))
    parts: dict[PartName, ListedPart] = {}
    for part in PARTS:
        own = [row for row in rows if row.part == part]
        if own:
            groups = None if own[0].group is None else [str(row.group) for row in own]
            labels = _numbered(own, class_names, multilabel)
            parts[part] = ListedPart(path.parent, [row.name for row in own], labels, groups)
    check_classes(parts["train"].labels, class_names, str(path))
    return Listing(class_names, parts, left_out)


def _numbered(rows: list[_Row], class_names: tuple[str, ...], multilabel: bool) -> Labels:
    """Return the labels of rows as numbers: ``(N,)`` int64, or ``(N, K)`` uint8 of 0 and 1."""
    number = {label: index for index, label in enumerate(class_names)}
    if not multilabel:
        return np.array([number[row.labels[0]] for row in rows], dtype=np.int64)
    labels = np.zeros((len(rows), len(class_names)), dtype=np.uint8)
    for own, row in zip(labels, rows, strict=True):
        own[[number[label] for label in row.labels]] = 1
    return labels


def _rows(path: Path, left_out: LeftOut) -> Iterator[_Row]:
    """Read the rows.

    Raises:
        DataError: If there is no table, a column or a cell is missing, or a part is unknown.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; data.path must name a folder, or a .csv with columns path and label")
    try:
        table = csv.reader(io.StringIO(read_text(path).removeprefix("\ufeff"), newline=""), strict=True)
        header = [name.strip().lower() for name in next(table, [])]
        _check_header(path, header)
        for name in header:
            if name not in NEEDED + OPTIONAL:
                left_out.counts[f"column {readable(name) or 'without a name'}"] += 1
        for cells in table:
            if any(cells):
                yield _row(path, table.line_num, header, cells)
    except ReadingError as error:
        raise DataError(f"{path}: cannot be read ({error}); save the table as CSV in UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path}: line {table.line_num} is no CSV ({error}); write the table again") from error


def _check_header(path: Path, header: list[str]) -> None:
    shown = shorten(readable(", ".join(header)), 80) or "nothing"
    missing = [name for name in NEEDED if name not in header]
    if missing:
        commas = "; separate columns by commas" if len(header) == 1 and set(header[0]) & set(";\t") else ""
        raise DataError(
            f"{path}: no column {' and '.join(missing)}; its first line has {shown}, and needs path,label, with split "
            f"and group if you like{commas}"
        )
    twice = [name for name in NEEDED + OPTIONAL if header.count(name) > 1]
    if twice:
        raise DataError(f"{path}: its first line has the column {twice[0]} twice; remove one")


def _row(path: Path, line: int, header: list[str], cells: list[str]) -> _Row:
    where = f"{path}: line {line}"
    if len(cells) != len(header):
        raise DataError(f"{where} has {len(cells)} cells for {len(header)} columns; quote cells that hold commas")
    found = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
    for name in ("path", *OPTIONAL):
        if found.get(name) == "":
            raise DataError(f"{where} has no {name}; fill the cell")
    part = PART_FOLDERS.get(found.get("split", "train").lower())
    if part is None:
        raise DataError(f"{where}: split is {shorten(found['split'], 40)!r}; use train, val or test")
    below = os.path.relpath(found["path"], path.parent) if os.path.isabs(found["path"]) else found["path"]
    name = Path(os.path.normpath(below)).as_posix()
    if os.path.isabs(found["path"]) and name.startswith("../"):
        name = Path(found["path"]).as_posix()
    labels = {readable(label.strip()) for label in found["label"].split(SEPARATOR)} - {""}
    return _Row(line, name, tuple(sorted(labels)), SEPARATOR in found["label"], part, found.get("group"))


def _check_labelled(path: Path, rows: list[_Row]) -> None:
    """Check that each row of a table of one label an image has one.

    Raises:
        DataError: Naming the first that has none.
    """
    for row in rows:
        if not row.labels:
            raise DataError(
                f"{path}: line {row.line} has no label; fill the cell (it may be empty only where images have several "
                f"labels: a {SEPARATOR} in any label cell says so)"
            )


def _different(path: Path, rows: list[_Row], left_out: LeftOut) -> list[_Row]:
    """Return a row for each file that is there.

    Raises:
        DataError: If files are missing, or one is there with two labels, parts or groups.
    """
    found: dict[Identity, _Row] = {}
    missing = []
    for row in rows:
        file = path.parent / row.name
        if not file.is_file():
            missing.append(row)
            continue
        status = file.stat()
        other = found.setdefault((status.st_dev, status.st_ino), row)
        if other is row:
            continue
        both = SEPARATOR.join(sorted({*other.labels, *row.labels}))
        for kind, one, two, otherwise in (
            (
                "labels",
                SEPARATOR.join(other.labels) or "none",
                SEPARATOR.join(row.labels) or "none",
                f", or write one row with the label {both} if an image may have several",
            ),
            ("parts", other.part, row.part, ""),
            ("groups", other.group, row.group, ""),
        ):
            if one != two:
                raise DataError(
                    f"{path}: {readable(row.name)} has two {kind}, {one} in line {other.line} and {two} in line "
                    f"{row.line}; keep one{otherwise}"
                )
        left_out.counts["rows of images that are there"] += 1
    if missing:
        raise DataError(
            f"{path}: {len(missing)} of {len(rows)} files are missing, the first in line {missing[0].line}: "
            f"{readable(str(path.parent / missing[0].name))}; paths begin at the table's folder, or at the root"
        )
    return list(found.values())


def _check_folders(path: Path, rows: list[_Row], class_names: tuple[str, ...]) -> None:
    """Check that no file lies in the folder of another label, where most lie in that of their own.

    Raises:
        DataError: Naming the first that does.
    """
    known = set(class_names)
    wrong, right = [], 0
    for row in rows:
        folders = set(map(readable, Path(row.name).parts[:-1]))
        right += row.labels[0] in folders
        if row.labels[0] not in folders and folders & known:
            wrong.append((row, min(folders & known)))
    if 0 < len(wrong) < right:  # else folders are no classes, and share their names by chance
        row, folder = wrong[0]
        raise DataError(
            f"{path}: the labels of {len(wrong)} images are not those of their folders; the first, in line {row.line}: "
            f"{readable(row.name)} has the label {row.labels[0]}, but lies in a folder {folder}; correct it or move it"
        )
