"""Names of runs: each is the name of a folder, and none is taken twice."""

import re
from pathlib import Path

from sparsenas.errors import ConfigError

#: Names that every file system takes, without those of runs that have none.
_NAME = re.compile(r"(?!version_)\w(?:[\w .+=-]*[\w+=-])?")


def check_name(option: str, name: str) -> None:
    """Raise a ``ConfigError`` unless a name can be that of a folder on any system."""
    if not _NAME.fullmatch(name) or len(name) > 100:
        raise ConfigError(
            f"{option} {name!r}: is no name for a folder; use at most 100 letters, digits, and blanks or _ . + = - "
            "between them; version_ begins the names of runs without one"
        )


def free_name(parent: Path, name: str) -> str:
    """Return a name for a new folder: ``name``, or, where that is taken, ``name_1`` and so on.

    Args:
        parent: Folder of the new one.
        name: The name that is asked for.
    """
    number, free = 0, name
    while not _is_free(parent / free):
        number += 1
        free = f"{name}_{number}"
    return free


def next_version(parent: Path) -> str:
    """Return the name of the next run without a name in a folder, ``version_N``, as Lightning's loggers count."""
    found = [re.fullmatch(r"version_(\d+)", path.name) for path in parent.glob("version_*")]
    return f"version_{max((int(match[1]) + 1 for match in found if match), default=0)}"


def _is_free(folder: Path) -> bool:
    """Say if nothing is lost in a folder; an empty one is left over from a command that was refused."""
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
