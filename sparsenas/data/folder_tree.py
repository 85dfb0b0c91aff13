"""Which folders are parts, which are classes, and which files are images: one rule for all."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from sparsenas.data.sources import PartName
from sparsenas.errors import DataError
from sparsenas.texts import readable

#: Names of folders, in small letters, that hold the class folders of a part.
PART_FOLDERS: dict[str, PartName] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
#: Names that suggest a part, but not which.
_LIKE_A_PART = re.compile(
    r"(?<![a-z])(train|test|val|valid|eval|dev|fold|split|set)|(train|test|val|fold|split|set)(?![a-z])"
)
#: Folders of copies and of rubbish, beside all hidden ones, that systems and storage boxes put among the user's.
_SYSTEM = {"__MACOSX", "__pycache__", "@eaDir", "#recycle", "@Recycle", "$RECYCLE.BIN", "lost+found"}
_SYSTEM |= {"System Volume Information"}
#: Files and folders by which a folder that sparsenas wrote is known.
_RUN = {"hparams.yaml", "config.yaml", "manifest.json"}
_VERSION = re.compile(r"version_\d+")


@dataclass
class LeftOut:
    """What was not taken, by reason."""

    counts: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        """Format the reasons and how often each occurred."""
        return ", ".join(f"{count} {reason}" for reason, count in self.counts.items())


@dataclass(frozen=True)
class FolderTree:
    """Class folders of each part.

    Attributes:
        root: The folder.
        parts: By part, its class folders by the name of their class, in order of the names.
        folders: By part, the folder that holds its class folders.
        left_out: What was not taken.
    """

    root: Path
    parts: dict[PartName, dict[str, Path]]
    folders: dict[PartName, Path]
    left_out: LeftOut


def read_tree(root: Path) -> FolderTree:
    """Find parts and classes.

    A folder ``train`` (or ``Training``) that holds folders makes parts of itself, ``val`` and ``test``. Otherwise every
    folder is a class. Hidden folders, those of systems, and runs of sparsenas are left out at any depth.

    Raises:
        DataError: If it is not clear which folders are parts.
    """
    left_out = LeftOut()
    folders, files = _children(root, left_out)
    if files:
        left_out.counts["images beside the class folders"] += files
    found: dict[PartName, list[Path]] = {"train": [], "val": [], "test": []}
    for folder in folders:
        if (part := PART_FOLDERS.get(folder.name.lower())) is not None:
            found[part].append(folder)
    trained = [folder for folder in found["train"] if holds_classes(folder)]
    if not trained:
        _check_classes(root, folders)
        return FolderTree(root, {"train": _classes(folders)}, {"train": root}, left_out)
    parts: dict[PartName, Path] = {}
    for part, candidates in found.items():
        usable = [folder for folder in candidates if holds_classes(folder)]
        if len(usable) > 1:
            both = " and ".join(folder.name for folder in usable)
            raise DataError(f"{root}: {both} are both names of the part {part}; keep one of them")
        if usable:
            parts[part] = usable[0]
        for folder in candidates:
            if folder not in usable:
                left_out.counts[f"folder {folder.name}, which has no class folders"] += 1
    for folder in folders:
        if PART_FOLDERS.get(folder.name.lower()) is None:
            left_out.counts[f"folder {folder.name} beside {parts['train'].name}"] += 1
    inside = {part: _part_classes(folder, left_out) for part, folder in parts.items()}
    return FolderTree(root, inside, parts, left_out)


def images_below(folder: Path, left_out: LeftOut) -> list[Path]:
    """List the image files of a class, at any depth, in order; links are followed.

    Raises:
        DataError: If a folder cannot be read, or there are none.
    """
    above = frozenset(map(_identity, (folder.parent, folder.parent.parent)))
    files = list(_walk(folder, left_out, above))
    if not files:
        raise DataError(f"{folder}: no images; a class folder holds at least one of {', '.join(IMG_EXTENSIONS)}")
    return files


def _walk(folder: Path, left_out: LeftOut, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    here = above | {_identity(folder)}
    for entry in _entries(folder):
        path = Path(entry.path)
        if entry.is_dir():
            reason = _why_not(path)
            if reason is not None:
                left_out.counts[reason] += 1
                continue
            if _identity(path) in here:
                left_out.counts["links to a folder above"] += 1
                continue
            yield from _walk(path, left_out, here)
        elif entry.name.startswith("."):
            left_out.counts["hidden files"] += 1
        elif path.suffix.lower() not in IMG_EXTENSIONS:
            left_out.counts[f"files {path.suffix.lower() or 'without a suffix'}"] += 1
        elif not entry.is_file():
            left_out.counts["links to nothing"] += 1
        else:
            yield path


def _identity(folder: Path) -> tuple[int, int]:
    """Tell a folder from others, however it is reached."""
    status = folder.stat()
    return status.st_dev, status.st_ino


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}); give it the rights, or remove it") from error


def _children(folder: Path, left_out: LeftOut) -> tuple[list[Path], int]:
    """Folders that may be classes or parts, and the number of images beside them."""
    folders, images = [], 0
    for entry in _entries(folder):
        path = Path(entry.path)
        if not entry.is_dir():
            images += path.suffix.lower() in IMG_EXTENSIONS and not entry.name.startswith(".")
        elif (reason := _why_not(path)) is not None:
            left_out.counts[reason] += 1
        else:
            folders.append(path)
    return folders, images


def _why_not(folder: Path) -> str | None:
    """Reason to leave a folder out; ``None`` to take it."""
    if folder.name.startswith("."):
        return f"hidden folder {readable(folder.name)}"
    if folder.name in _SYSTEM:
        return f"folder {folder.name} of the system"
    return f"folder {readable(folder.name)} of runs" if _is_run(folder) else None


def _is_run(folder: Path) -> bool:
    names = {entry.name for entry in _entries(folder)}
    written = any(name.endswith(".ckpt") or name.startswith("events.out.tfevents") for name in names)
    return written or bool(names & _RUN) or any(_is_run(folder / name) for name in names if _VERSION.fullmatch(name))


def holds_classes(folder: Path) -> bool:
    """Say if a folder holds folders, and no images of its own."""
    folders, images = _children(folder, LeftOut())
    return bool(folders) and not images


def _classes(folders: list[Path]) -> dict[str, Path]:
    """Class folders by name, sorted.

    Raises:
        DataError: If two names differ only in how their letters are written.
    """
    classes: dict[str, Path] = {}
    for folder in folders:
        name = readable(folder.name)
        if name in classes:
            raise DataError(f"{folder}: there are two folders of the name {name}, written differently; rename one")
        classes[name] = folder
    return dict(sorted(classes.items()))


def _part_classes(folder: Path, left_out: LeftOut) -> dict[str, Path]:
    folders, _ = _children(folder, left_out)
    return _classes(folders)


def _check_classes(root: Path, folders: list[Path]) -> None:
    """Refuse parts without a ``train`` of class folders, and sets of equal class folders that look like parts.

    Raises:
        DataError: If they would become classes.
    """
    parts_only = bool(folders) and all(folder.name.lower() in PART_FOLDERS for folder in folders)
    nested = all(holds_classes(folder) for folder in folders)
    inside = [set(_part_classes(folder, LeftOut())) for folder in folders] if nested else []
    alike = len(inside) > 1 and len(inside[0]) > 1 and all(names == inside[0] for names in inside)
    if parts_only or (alike and any(_LIKE_A_PART.search(folder.name.lower()) for folder in folders)):
        names = ", ".join(readable(folder.name) for folder in folders)
        raise DataError(
            f"{root}: its folders {names} look like parts, but none is a train that holds class folders; call them "
            "train, val and test, with a folder per class in each, or name the folder of the class folders"
        )
