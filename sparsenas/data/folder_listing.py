"""Image files in one folder per class."""

from pathlib import Path

import numpy as np

from sparsenas.data.folder_tree import FolderTree, Found, Identity, holds_classes, images_below, read_tree
from sparsenas.data.listing import ListedPart, Listing
from sparsenas.data.sources import PartName
from sparsenas.errors import DataError
from sparsenas.images import SUFFIXES

_SUFFIXES = ", ".join(SUFFIXES)


def list_folder(root: Path) -> Listing:
    """List image files as ``root/class/file``, or ``root/train/class/file`` with ``val`` and ``test`` alike.

    Raises:
        DataError: If the folder is missing, has no class folders, or a class has no image. Or if a part has an unknown
            class, no images, or files of the training images.
    """
    if root.suffix == ".npz" and root.is_file():
        raise DataError(f"{root}: is an archive, which NpzImages reads: add --data NpzImages before data.path")
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; data.path must name one with a folder of images per class, or a .csv")
    tree = read_tree(root)
    class_names = tuple(tree.parts["train"])
    if len(class_names) < 2:
        meant = [str(folder) for folder in tree.parts["train"].values() if holds_classes(folder)]
        raise DataError(
            f"{tree.folders['train']}: class folders: {', '.join(class_names) or 'none'}; "
            "it needs at least two, each with the images of one class"
            + (f"; perhaps {meant[0]} is meant" if meant else "")
            + (f"; left out: {tree.left_out}" if tree.left_out.counts else "")
        )
    parts: dict[PartName, ListedPart] = {}
    parts["train"], trained = _list(tree, "train")
    for name in tree.parts:
        if name != "train":
            parts[name], files = _list(tree, name)
            _check(tree, name, parts[name], len(files & trained))
    return Listing(class_names, parts, tree.left_out)


def _list(tree: FolderTree, part: PartName) -> tuple[ListedPart, set[Identity]]:
    """List the files of a part, in order of class and name; a file that is linked counts once."""
    class_names, known = list(tree.parts["train"]), tree.folders["train"]
    found: list[tuple[Found, int]] = []
    for name, folder in tree.parts[part].items():
        if name not in class_names:
            raise DataError(f"{folder}: {known} has no class of this name; both need the same classes")
        files = images_below(folder, tree.left_out)
        if not files and part == "train":
            raise DataError(f"{folder}: no images; a class folder holds at least one of {_SUFFIXES}")
        found += [(file, class_names.index(name)) for file in files]
    taken = {file.identity for file, _ in found if not file.linked}
    names, labels, folder = [], [], tree.folders[part]
    for file, label in found:
        if file.linked and file.identity in taken:
            tree.left_out.counts["links to images that are there"] += 1
            continue
        taken.add(file.identity)
        names.append(file.path.relative_to(folder).as_posix())
        labels.append(label)
    return ListedPart(folder, names, np.array(labels, dtype=np.int64)), taken


def _check(tree: FolderTree, part: PartName, listed: ListedPart, shared: int) -> None:
    """Check the files of a part beside the training images, before anything is trained."""
    if not listed.names:
        raise DataError(f"{tree.folders[part]}: no images in its class folders; fill or remove them")
    if shared:
        known = tree.folders["train"]
        raise DataError(f"{tree.folders[part]}: {shared} of its images are, by links, those of {known}; unlink them")
