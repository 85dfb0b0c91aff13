"""One rule for folders of images: their parts, their classes, their files, and all that is left out."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from sparsenas.data.listing import LeftOut
from sparsenas.data.sources import PartName
from sparsenas.errors import DataError
from sparsenas.images import SUFFIXES
from sparsenas.texts import readable

#: Names of folders, in small letters, that hold the class folders of a part.
PART_FOLDERS: dict[str, PartName] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
#: Words in names of folders that suggest such a part.
_WORDS: dict[str, PartName] = {
    **dict.fromkeys(("train", "training", "trainset"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval"), "val"),
    **dict.fromkeys(("test", "testing", "testset"), "test"),
}
#: Words that suggest a part, but not which.
_PIECES = {"fold", "split", "set", "part"}
#: Folders of copies and of rubbish, beside all hidden ones, that systems and storage boxes put among the user's.
_SYSTEM = {"__MACOSX", "__pycache__", "@eaDir", "#recycle", "@Recycle", "$RECYCLE.BIN", "lost+found"}
_SYSTEM |= {"System Volume Information"}
_VERSION = re.compile(r"version_\d+")

#: Device and number of a file or folder, which tell it from others however it is reached.
Identity = tuple[int, int]


class Found(NamedTuple):
    """An image file.

    Attributes:
        path: The file.
        identity: What it is.
        linked: True if it was reached by a link.
    """

    path: Path
    identity: Identity
    linked: bool


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
        usable = [folder for folder in candidates if holds_classes(folder, strict=True)]
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


def images_below(folder: Path, left_out: LeftOut) -> list[Found]:
    """List the image files of a class, at any depth, in order; links are followed.

    Raises:
        DataError: If a folder cannot be read.
    """
    above = frozenset(map(_identity, (folder.parent, folder.parent.parent)))
    return list(_walk(folder, left_out, above, folder.is_symlink()))


def _walk(folder: Path, left_out: LeftOut, above: frozenset[Identity], linked: bool) -> Iterator[Found]:
    own = _identity(folder)
    here = above | {own}
    for entry in _entries(folder):
        path, by_link = Path(entry.path), linked or entry.is_symlink()
        kind = _kind(entry)
        if kind == "folder":
            reason = _why_not(path)
            if reason is None and _identity(path) in here:
                reason = "links to a folder above"
            if reason is not None:
                left_out.counts[reason] += 1
                continue
            yield from _walk(path, left_out, here, by_link)
        elif entry.name.startswith("."):
            left_out.counts["hidden files"] += 1
        elif path.suffix.lower() not in SUFFIXES:
            left_out.counts[f"files {path.suffix.lower() or 'without a suffix'}"] += 1
        elif kind is None:
            left_out.counts["links to nothing"] += 1
        else:
            yield Found(path, _identity(path) if entry.is_symlink() else (own[0], entry.inode()), by_link)


def _kind(entry: "os.DirEntry[str]") -> Literal["folder", "file"] | None:
    """Say what an entry is, or links to; ``None`` for nothing."""
    try:
        return "folder" if entry.is_dir() else "file" if entry.is_file() else None
    except OSError:  # a link to itself
        return None


def _identity(path: Path) -> Identity:
    status = path.stat()
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
        if _kind(entry) != "folder":
            images += path.suffix.lower() in SUFFIXES and not entry.name.startswith(".")
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
    """Say if a run, an export or TensorBoard has written a folder, by what nobody else leaves there."""
    names = {entry.name for entry in _entries(folder)}
    if names >= {"manifest.json", "genotype.json"} or any(name.startswith("events.out.tfevents") for name in names):
        return True
    if folder.name == "checkpoints" and any(name.endswith(".ckpt") for name in names):
        return True
    if _VERSION.fullmatch(folder.name) and names & {"config.yaml", "hparams.yaml"}:
        return True
    return any(_is_run(folder / name) for name in names if _VERSION.fullmatch(name) and (folder / name).is_dir())


def holds_classes(folder: Path, strict: bool = False) -> bool:
    """Say if a folder holds folders, and hardly an image of its own.

    Raises:
        DataError: If ``strict``, and it holds folders and more images than these.
    """
    folders, images = _children(folder, LeftOut())
    if strict and folders and images > len(folders):
        raise DataError(
            f"{folder}: holds {images} images beside {len(folders)} folders; move them, or the folders, away"
        )
    return bool(folders) and (not images or 1 < len(folders) >= images)


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
    folders, images = _children(folder, left_out)
    if images:
        left_out.counts["images beside the class folders"] += images
    return _classes(folders)


def _check_classes(root: Path, folders: list[Path]) -> None:
    """Refuse folders that look like parts, where no ``train`` of class folders says which they are.

    Raises:
        DataError: If they would become classes.
    """
    words = [{word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", folder.name)} for folder in folders]
    kinds = [{_WORDS[word] for word in own & _WORDS.keys()} for own in words]
    both = any("train" in kind for kind in kinds) and any(kind & {"val", "test"} for kind in kinds)
    parts_only = bool(folders) and all(folder.name.lower() in PART_FOLDERS for folder in folders)
    nested = all(holds_classes(folder) for folder in folders)
    inside = [set(_part_classes(folder, LeftOut())) for folder in folders] if nested else []
    alike = len(inside) > 1 and len(inside[0]) > 1 and all(names == inside[0] for names in inside)
    named = any(own & (_PIECES | _WORDS.keys()) for own in words)
    below = any(names and {name.lower() for name in names} <= PART_FOLDERS.keys() for names in inside)
    if both or parts_only or below or (alike and named):
        names = ", ".join(readable(folder.name) for folder in folders)
        raise DataError(
            f"{root}: its folders {names} look like parts, but none is a train that holds class folders; call them "
            "train, val and test, with a folder per class in each, or name the folder of the class folders"
        )
