"""Files of benchmark tables: their places, and columns of gzipped CSV."""

import csv
import gzip
import os
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsenas.errors import TableError
from sparsenas.tables.releases import Release

#: Folder of tables, if no path is given.
VARIABLE = "SPARSENAS_DATA"

Floats = NDArray[np.float64]


def table_path(path: str | Path | None, release: Release) -> Path:
    """Find a table.

    Args:
        path: Path given by the user; ``~`` and environment variables are replaced. None looks for the table in the
            folder that the environment variable ``SPARSENAS_DATA`` names.
        release: What the table is made of.

    Raises:
        TableError: If it is not there; the message says where it is published and how to make it.
    """
    then = f"{release.advice}, then set {VARIABLE} to the folder of {release.table} or give its path"
    if path is None:
        if VARIABLE not in os.environ:
            raise TableError(f"{release.table}: no path is given and {VARIABLE} is not set. {then}")
        path = Path(os.environ[VARIABLE]) / release.table
    found = Path(os.path.expandvars(path)).expanduser()
    if not found.exists():
        raise TableError(f"{found} is not there. {then}")
    return found


def read_columns(
    path: Path,
    rows: int,
    texts: Sequence[str],
    numbers: Sequence[str] | None = None,
    optional: Iterable[str] = (),
    gaps: Iterable[str] = (),
    sample: bool = False,
) -> tuple[list[tuple[str, ...]], dict[str, Floats]]:
    """Read columns of a gzipped CSV file with a header.

    Args:
        path: The file.
        rows: Number of rows it must have.
        texts: Names of the columns that are wanted as text.
        numbers: Names of the columns that are wanted as finite numbers; by default all others.
        optional: Names of further number columns, which the file may lack.
        gaps: Names of further number columns, which the file may lack, and whose entries may be empty: NaN.
        sample: The file may have fewer rows, but one at least.

    Returns:
        The text columns, and shape ``(rows,)`` per name of a number column.

    Raises:
        TableError: If the file cannot be read, has other columns or rows, or an entry is not a finite number.
    """
    header, *lines = _lines(path)
    numbers = [name for name in header if name not in texts] if numbers is None else numbers
    missing = [name for name in (*texts, *numbers) if name not in header]
    if missing:
        raise TableError(f"{path}: no column {', '.join(missing)}; it has {', '.join(header)}: is it another table?")
    if len(lines) != rows and not (sample and 0 < len(lines) < rows):
        raise TableError(f"{path}: {len(lines)} rows; the benchmark has {rows:,}: is the file complete?")
    numbers = [*numbers, *(name for name in optional if name in header)]
    columns = dict(zip(header, zip(*lines, strict=True), strict=True))
    found = {name: _numbers(path, name, columns[name]) for name in numbers}
    found |= {name: _numbers(path, name, columns[name], gaps=True) for name in gaps if name in header}
    return [columns[name] for name in texts], found


def check_order(path: Path, index: Sequence[str]) -> None:
    """Raise a ``TableError`` unless row ``i`` is network ``i`` of the benchmark."""
    for row, entry in enumerate(index):
        if entry != str(row):
            raise TableError(f"{path}, line {row + 2}: number is {entry!r}; rows must be numbered from 0 in order")


def _lines(path: Path) -> list[list[str]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise TableError(
            f"{path}: not a readable .csv.gz file ({error}); copy it again, or convert what its authors publish: "
            "`python -m sparsenas tables`"
        ) from error
    if not lines:
        raise TableError(f"{path}: the file is empty; copy it again")
    for number, line in enumerate(lines, start=1):
        if len(line) != len(lines[0]):
            raise TableError(f"{path}, line {number}: {len(line)} entries, but the header names {len(lines[0])}")
    return lines


def _numbers(path: Path, name: str, entries: Sequence[str], gaps: bool = False) -> Floats:
    values = np.array([_number(entry) for entry in entries])
    right = np.isfinite(values) | np.array([gaps and not entry for entry in entries])
    if not right.all():
        row = int(right.argmin())
        raise TableError(f"{path}, line {row + 2}: {name} is {entries[row]!r}; it must be a number")
    return values


def _number(entry: str) -> float:
    try:
        return float(entry)
    except ValueError:
        return np.nan
