"""Pictures beside results, which nobody loses a run for."""

from pathlib import Path

from sparsenas.errors import ConfigError
from sparsenas.files import write_atomically
from sparsenas.texts import note


def write_picture(path: Path, content: bytes) -> None:
    """Write a picture; where that is not possible, say so and go on."""
    try:
        write_atomically(path, content)
    except ConfigError as error:
        note(f"no picture: {error}")
