"""Files of the same bytes."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path

#: Bytes that are compared before files of the same size are read to their ends.
HEAD = 4096


def duplicates(files: Sequence[Path]) -> list[list[int]]:
    """Return the positions of files of the same bytes, those of equal files together.

    Sizes are compared first, then the first bytes, then all. So of files of different sizes none is read. A file that
    cannot be read equals no other.
    """
    found: list[list[int]] = [list(range(len(files)))]
    for key in (_size, _head, _hash):
        found = [same for candidates in found for same in _alike(candidates, files, key)]
    return found


def _alike(positions: Sequence[int], files: Sequence[Path], key: Callable[[Path], Hashable]) -> Iterator[list[int]]:
    """Yield the positions of files that have a key in common."""
    by_key: defaultdict[Hashable, list[int]] = defaultdict(list)
    for position in positions:
        try:
            by_key[key(files[position])].append(position)
        except OSError:
            continue
    yield from (same for same in by_key.values() if len(same) > 1)


def _size(file: Path) -> int:
    return os.stat(file).st_size


def _head(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(HEAD)


def _hash(file: Path) -> bytes:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()
