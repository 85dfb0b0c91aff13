"""Image files in one folder per class."""

import filecmp
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.datasets.folder import IMG_EXTENSIONS

from sparsenas.data.augment import Augmentation
from sparsenas.data.auto import SMALL, AugmentationWord, BatchSizeWord
from sparsenas.data.base import ImageData
from sparsenas.data.folder_tree import Found, Identity, holds_classes, images_below, read_tree
from sparsenas.data.image_files import ImageFiles
from sparsenas.data.names import Indices
from sparsenas.data.pixel_sizes import fitting_side, pixel_sizes
from sparsenas.data.sources import ImageSource, PartName, check_at_least, expand_path, part_lines
from sparsenas.errors import ConfigError, DataError
from sparsenas.images import Resize

#: Smallest share of the area of a window that is chosen for larger images: it still shows most of the object.
MILD_CROP = 0.5
_SUFFIXES = ", ".join(IMG_EXTENSIONS)


class FolderSource(ImageSource):
    """Image files as ``root/class/file``, or ``root/train/class/file`` with ``val`` and ``test`` beside ``train``.

    The arguments are those of :class:`ImageFolder`. An image is known by its path below the folder of its part.

    Raises:
        ConfigError: If a number is out of range.
        DataError: If the folder is missing, has no class folders, or a class has no image.
    """

    #: Enough for an error of the mean of about 0.01; decoding all of a large folder would take hours.
    statistics_sample = 512
    grows = True

    def __init__(self, path: str, size: int, grey: bool, eval_resize: Resize, crop_scale: float) -> None:
        self.eval_resize = eval_resize
        check_at_least(1, size=size)
        if eval_resize != "squeeze":
            check_at_least(size, eval_resize=eval_resize)
        if not 0 < crop_scale <= 1:
            raise ConfigError(f"data.crop_scale is {crop_scale}; it is a share of the area, above 0 and at most 1")
        root = expand_path(path, "data.path")
        self.name = str(root)
        if not root.is_dir():
            raise DataError(f"{self.name}: no such folder; data.path must name one with a folder of images per class")
        self._tree = read_tree(root)
        self.class_names = tuple(self._tree.parts["train"])
        if len(self.class_names) < 2:
            meant = [str(folder) for folder in self._tree.parts["train"].values() if holds_classes(folder)]
            raise DataError(
                f"{self._tree.folders['train']}: class folders: {', '.join(self.class_names) or 'none'}; "
                "it needs at least two, each with the images of one class"
                + (f"; perhaps {meant[0]} is meant" if meant else "")
                + (f"; left out: {self._tree.left_out}" if self._tree.left_out.counts else "")
            )
        self.image_shape = (1 if grey else 3, size, size)
        self.windowed = crop_scale < 1
        self._crop_scale = crop_scale
        self._listed: dict[PartName, tuple[list[Path], NDArray[np.int64]]] = {}
        self._files: dict[PartName, set[Identity]] = {}
        self.labels("train")
        for part in self._tree.parts:
            if part != "train":
                self._check_part(part)
        self._files.clear()  # of a large folder, hundreds of megabytes

    def has(self, part: PartName) -> bool:
        """Return True if the part has a folder of its own."""
        return part in self._tree.parts

    def labels(self, part: PartName) -> NDArray[np.int64]:
        """Return the labels of a part, shape ``(N,)``."""
        return self._list(part)[1]

    def load(self, part: PartName, indices: Indices) -> ImageFiles:
        """Return the files at ``indices`` of a part; they are read when drawn."""
        files, labels = self._list(part)
        return ImageFiles(
            [files[index] for index in indices],
            torch.from_numpy(labels[indices]),
            channels=self.image_shape[0],
            size=self.image_shape[1],
            eval_resize=self.eval_resize,
            crop_scale=self._crop_scale,
        )

    def files(self, part: PartName) -> list[str]:
        """Return the path of each file below the folder of its part."""
        folder = self._tree.folders[part]
        return [file.relative_to(folder).as_posix() for file in self._list(part)[0]]

    def pixel_sizes(self) -> NDArray[np.int64]:
        """See :class:`ImageSource`; by the headers of some files."""
        return pixel_sizes(self._list("train")[0])

    def trained(self, part: PartName, names: Sequence[str]) -> list[str]:
        """Say which files of a part equal the training files of the same names, byte by byte."""
        own, other = (dict(zip(self.names(p), self._list(p)[0], strict=True)) for p in (part, "train"))
        return [name for name in names if filecmp.cmp(own[name], other[name], shallow=False)]

    def report(self) -> list[str]:
        """Say what was taken as parts and classes, and what was left out; a line each."""
        lines = part_lines(self, {part: str(folder) for part, folder in self._tree.folders.items()})
        return [*lines, *([f"left out: {self._tree.left_out}"] if self._tree.left_out.counts else [])]

    def _list(self, part: PartName) -> tuple[list[Path], NDArray[np.int64]]:
        """Return files and labels of a part, in order of class and name; a file that is linked counts once."""
        if part not in self._listed:
            found: list[tuple[Found, int]] = []
            for name, folder in self._tree.parts[part].items():
                files = images_below(folder, self._tree.left_out)
                if not files and part == "train":
                    raise DataError(f"{folder}: no images; a class folder holds at least one of {_SUFFIXES}")
                found += [(file, self.class_names.index(name)) for file in files]
            taken = {file.identity for file, _ in found if not file.linked}
            kept = []
            for file, label in found:
                if file.linked and file.identity in taken:
                    self._tree.left_out.counts["links to images that are there"] += 1
                    continue
                taken.add(file.identity)
                kept.append((file.path, label))
            self._files[part] = taken
            self._listed[part] = [path for path, _ in kept], np.array([label for _, label in kept], dtype=np.int64)
        return self._listed[part]

    def _check_part(self, part: PartName) -> None:
        """Check classes and files of a part beside the training images, before anything is trained.

        Raises:
            DataError: If there is an unknown class, or a file of the training images.
        """
        known = self._tree.folders["train"]
        for name, folder in self._tree.parts[part].items():
            if name not in self.class_names:
                raise DataError(f"{folder}: {known} has no class of this name; both need the same classes")
        if not len(self.labels(part)):
            raise DataError(f"{self._tree.folders[part]}: no images in its class folders; fill or remove them")
        shared = len(self._files[part] & self._files["train"])
        if shared:
            raise DataError(
                f"{self._tree.folders[part]}: {shared} of its images are, by links, those of {known}; unlink them"
            )


class ImageFolder(ImageData):
    """Image files of any size in one folder per class, decoded by worker processes.

    Either ``path/class/file``, or ``path/train/class/file`` with optional ``path/val`` and ``path/test`` alike. Parts
    without a folder are taken from the training images. In evaluation, the image is resized as ``eval_resize`` says; so
    it is in training, unless random windows are resized to ``size`` there. Colours are not changed.

    Args:
        path: The folder; ``~`` and environment variables are replaced.
        size: Side of the square images the network sees, in pixels; ``auto`` is the largest of 32, 48 and 64 that half
            of the training images have.
        grey: Grey images (one channel) instead of colour.
        eval_resize: Shorter side in evaluation before the centre is cut out; 256 is usual for 224. Or ``squeeze``: the
            whole image, its shape not kept. ``auto`` squeezes up to 64 pixels without random windows, where a cut would
            lose what little there is, and is ``size`` otherwise; so is null.
        crop_scale: Smallest share of an image's area that a training window covers; 1 turns random windows off. By
            default 0.5 above 64 pixels, and 1 up to there or without augmentation. Recipes for ImageNet have 0.08.
        batch_size: Images of a training batch, per stream and per process; ``auto`` follows from their number.
        augmentation: Random changes of the resized image or window: ``auto`` follows from the images, ``none`` is none;
            otherwise options ``crop_padding``, ``flip``, ``cutout``, ``padding_mode``.
        num_workers: Processes that decode images. Without random windows, up to 256 MB of decoded images are kept, and
            no other processes are needed.
        options: See :class:`ImageData`.
    """

    def __init__(
        self,
        path: str,
        size: int | Literal["auto"],
        grey: bool = False,
        eval_resize: Resize | Literal["auto"] | None = "auto",
        crop_scale: float | None = None,
        batch_size: int | BatchSizeWord = "auto",
        augmentation: Augmentation | AugmentationWord = "auto",
        num_workers: int = 2,
        **options: Any,
    ) -> None:
        if size == "auto":
            size, _ = fitting_side(FolderSource(path, SMALL, grey, "squeeze", 1.0).pixel_sizes())
        if crop_scale is None:
            crop_scale = MILD_CROP if size > SMALL and augmentation != "none" else 1.0
        if isinstance(eval_resize, str) and eval_resize not in ("auto", "squeeze"):
            raise ConfigError(f"data.eval_resize is {eval_resize!r}; use auto, squeeze, or a number of pixels")
        if eval_resize == "auto":
            eval_resize = "squeeze" if size <= SMALL and crop_scale == 1 else None
        source = FolderSource(path, size, grey, size if eval_resize is None else eval_resize, crop_scale)
        super().__init__(source, batch_size, augmentation=augmentation, num_workers=num_workers, **options)
        self._eval_resize = source.eval_resize

    @property
    def eval_resize(self) -> Resize:
        """Shorter side to which evaluation images are resized before the centre cut, or ``squeeze``."""
        return self._eval_resize
