"""Image files that cannot be read."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sparsenas.errors import DataError
from sparsenas.images import decode, with_channels

#: Files that are handed to the threads together; all of a large folder at once would fill the memory.
CHUNK = 4096


def broken_files(files: Sequence[Path], channels: int) -> dict[int, str]:
    """Read the pixels of every file, and return the reasons of those that cannot be read, by position.

    Threads share the work: Pillow lets others run while it decodes.

    Args:
        files: The files.
        channels: Channels of the images that are made of them.
    """

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
