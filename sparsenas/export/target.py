"""The folder of an export: checked before the work, filled whole or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sparsenas.errors import ConfigError
from sparsenas.export.formats import FORMATS
from sparsenas.export.manifest import GENOTYPE, MANIFEST, SCHEMA
from sparsenas.files import partial_name, remove_leftovers
from sparsenas.reading import ReadingError, parse_json, read_text

#: Files of an export, the manifest last: without it, a folder is no whole export.
OWN_FILES = (
    *(name for made in FORMATS.values() for name in (made.filename, made.companion) if name is not None),
    GENOTYPE,
    MANIFEST,
)


def check_target(folder: str | Path, overwrite: bool = False) -> None:
    """Check by trying that an export can be written to a folder.

    The folder may be new in an existing parent, or empty; or hold an earlier export, with ``overwrite``.

    Raises:
        ConfigError: If it cannot; the message says why.
    """
    with _partial(Path(folder), overwrite):
        pass


@contextmanager
def filled_whole(folder: Path, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary folder whose files take their place when the block ends without an exception.

    A new folder appears at once, by renaming. In an existing one, files are replaced one by one, the manifest last: a
    loss of power is found out when the export is read. Other files of an earlier export are removed; foreign ones stay.

    Raises:
        ConfigError: If the folder cannot be written.
    """
    with _partial(folder, overwrite) as partial, _explained(folder):
        yield partial
        if folder.exists():
            _replace_files(partial, folder)
        else:
            partial.rename(folder)


@contextmanager
def _partial(folder: Path, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary folder on the same disk as ``folder``; remove it at the end."""
    _check_contents(folder, overwrite)
    # inside an existing folder: its parent may be on another disk, or not writable
    inside = folder / folder.name
    partial = partial_name(inside if folder.exists() else folder)
    with _explained(folder):
        remove_leftovers(inside if folder.exists() else folder)
        partial.mkdir()
    try:
        with _explained(folder):
            (partial / MANIFEST).touch()  # on a full disk, a folder can be made but no file
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_contents(folder: Path, overwrite: bool) -> None:
    with _explained(folder):
        if not folder.exists():
            if not folder.parent.is_dir():
                raise ConfigError(f"{folder}: {folder.parent} is no folder; make it first, or name another target")
            return
        if not folder.is_dir():
            raise ConfigError(f"{folder}: is a file; name a folder that is empty or does not exist yet")
        if next(folder.iterdir(), None) is None:
            return
    if not _is_export(folder):
        raise ConfigError(
            f"{folder}: is not empty and holds no earlier export that could be replaced; name a folder that is empty "
            "or does not exist yet"
        )
    if not overwrite:
        raise ConfigError(f"{folder}: holds an earlier export; replace it by --overwrite, or name another folder")


def _is_export(folder: Path) -> bool:
    """Return True if a folder holds an export of any version."""
    try:
        tree = parse_json(read_text(folder / MANIFEST))
    except ReadingError:
        return False
    return isinstance(tree, dict) and str(tree.get("schema")).startswith(f"{SCHEMA}/")


def _replace_files(partial: Path, folder: Path) -> None:
    for name in OWN_FILES:
        if (partial / name).exists():
            (partial / name).replace(folder / name)
        else:
            (folder / name).unlink(missing_ok=True)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn errors of the system into one line."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"{folder}: cannot be written ({reason}); name a folder that can be") from error
