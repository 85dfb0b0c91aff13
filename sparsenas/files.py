"""Files that appear whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path

from sparsenas.errors import ConfigError


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write a file under a temporary name beside its place, then rename it.

    Raises:
        ConfigError: If the folder is missing or cannot be written; the message names the file.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        reason = error.strerror or str(error)
        raise ConfigError(f"{path}: cannot write ({reason}); name a file in an existing, writable folder") from error
