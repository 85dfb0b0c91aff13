"""Image files that cannot be read."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

from sparsenas.errors import DataError
from sparsenas.images import decode, with_channels

#: Files that are handed to the threads together; all of a large folder at once would fill the memory.
CHUNK = 4096
#: What was found in this process, by a digest of the files: a run that chooses by its images lists them twice.
_FOUND: dict[bytes, dict[int, str]] = {}


def broken_files(files: Sequence[Path], channels: int) -> dict[int, str]:
    """Read the pixels of every file, and return the reasons of those that cannot be read, by position.

    Threads share the work: Pillow lets others run while it decodes. Asked again for the same unchanged files, it does
    not read them again.

    Args:
        files: The files.
        channels: Channels of the images that are made of them.
    """
    key = _digest(files, channels)
    if key not in _FOUND:
        _FOUND[key] = _read(files, channels)
    return _FOUND[key]


def _digest(files: Sequence[Path], channels: int) -> bytes:
    """Return a digest of the names, sizes and times of files."""
    found = blake2b(str(channels).encode())
    for file in files:
        with suppress(OSError):  # it is gone, or out of reach, by now
            state = file.stat()
            found.update(f"{state.st_size} {state.st_mtime_ns} ".encode())
        found.update(os.fsencode(file.absolute()) + b"\0")
    return found.digest()


def _read(files: Sequence[Path], channels: int) -> dict[int, str]:
    def reason(file: Path) -> str | None:
        try:
            with_channels(decode(file), channels, str(file))
        except DataError as error:
            return str(error).removeprefix(f"{file}: ")
        return None

    found: dict[int, str] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(files), CHUNK):
            reasons = enumerate(pool.map(reason, files[start : start + CHUNK]), start)
            found.update((index, said) for index, said in reasons if said is not None)
    return found
