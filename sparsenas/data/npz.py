"""Images in one NumPy archive."""

import lzma
import math
import tokenize
import zipfile
import zlib
from collections import Counter
from hashlib import blake2b
from typing import IO, Any

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray

from sparsenas.data.augment import Augmentation
from sparsenas.data.auto import AugmentationWord, BatchSizeWord
from sparsenas.data.base import ImageData
from sparsenas.data.labels import Labels, check_classes, check_labels, label_tensor
from sparsenas.data.loading import InMemory
from sparsenas.data.names import Indices, Places, hashes
from sparsenas.data.sources import PARTS, ImageSource, PartName, expand_path, part_lines
from sparsenas.errors import DataError
from sparsenas.reading import shorten
from sparsenas.texts import readable

#: Shape and type of an array.
Header = tuple[tuple[int, ...], np.dtype[Any]]
#: Errors of readers of damaged archives.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    tokenize.TokenError,
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,  # a password; a kind of compression that is not there; brackets nested too deeply
    SyntaxError,
    TypeError,
    ValueError,
)
#: Ending of the name of an array.
_ARRAY = ".npy"


def _read_header(stream: IO[bytes]) -> Header:
    """Read the header of an array in NumPy's format; the data stay unread."""
    # Version 3 differs in the field names of structured types only, which no reader here accepts.
    read = npy.read_array_header_1_0 if npy.read_magic(stream) == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(stream)
    return shape, dtype


class NpzSource(ImageSource):
    """An archive with ``x_train`` and ``y_train``, optionally the same for ``val`` and ``test``, and ``classes``.

    The constructor reads headers, labels and class names only. Pickled objects are never loaded. An image is
    known by its pixels. What decides its part is its number among the different training images of its class, or of the
    same classes: images appended later move none, and copies stay together.

    Raises:
        DataError: If the archive is missing, damaged, or an array is absent or of the wrong kind.
    """

    grows = True

    def __init__(self, path: str) -> None:
        self._path = expand_path(path, "data.path")
        self.name = str(self._path)
        self._headers = self._read_headers()
        self._check("train")
        _, *size = self._headers["x_train"][0]
        height, width, channels = size if len(size) == 3 else (*size, 1)
        self.image_shape = (channels, height, width)
        self._names: dict[PartName, list[str]] = {}
        self.multilabel = len(self._headers["y_train"][0]) == 2
        self._labels: dict[PartName, Labels] = {"train": self._read_labels("train")}
        self.class_names = self._class_names()
        if len(set(self.class_names)) < len(self.class_names):
            raise DataError(f"{self.name}: classes holds a name twice; give every class a name of its own")
        check_classes(self._labels["train"], self.class_names, self.name)
        for part in PARTS[1:]:  # found out now, not when the training is over; their images stay unread
            if self.has(part):
                check_labels(self.labels(part), len(self.class_names), f"{self.name}, {part} part")

    def has(self, part: PartName) -> bool:
        """Return True if the archive holds images of this part."""
        return f"x_{part}" in self._headers

    def labels(self, part: PartName) -> Labels:
        """Return the labels of a part, shape ``(N,)``; or ``(N, K)``, 1 for each class of an image."""
        if part not in self._labels:
            self._check(part)
            self._labels[part] = self._read_labels(part)
        return self._labels[part]

    def _read_labels(self, part: PartName) -> Labels:
        labels = self._read(f"y_{part}")
        if labels.ndim == 1:
            return labels.astype(np.int64)
        wrong = np.argwhere((labels != 0) & (labels != 1))
        if len(wrong):
            image, label = wrong[0]
            raise DataError(
                f"{self.name}: y_{part} holds {labels[image, label]} for image {image} and class {label}; labels of "
                "shape (N, K) are 1 for each class of an image, and 0 for others"
            )
        return labels.astype(np.uint8)

    def load(self, part: PartName, indices: Indices) -> InMemory:
        """Return the images at ``indices`` of a part, as one tensor."""
        labels = self.labels(part)[indices]
        images = self._read(f"x_{part}")[indices]
        images = images[..., None] if images.ndim == 3 else images
        return InMemory(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), label_tensor(labels))

    def names(self, part: PartName) -> list[str]:
        """Return a hash of each image's pixels; copies have the same name."""
        if part not in self._names:
            images = self._read(f"x_{part}")
            self._names[part] = [blake2b(image.tobytes(), digest_size=8).hexdigest() for image in images]
        return self._names[part]

    def places(self) -> Places:
        """Return the number of each training image among the different ones of its class; copies share a place.

        Images of several labels are numbered among those of the same set of labels.
        """
        labels = self._labels["train"]
        texts = [str(label) if labels.ndim == 1 else ",".join(map(str, np.flatnonzero(label))) for label in labels]
        counts: Counter[str] = Counter()
        found: dict[str, tuple[str, int]] = {}
        for name, text in zip(self.names("train"), texts, strict=True):
            if name not in found:
                found[name] = text, counts[text]
                counts[text] += 1
        pairs = [found[name] for name in self.names("train")]
        return Places(hashes(text for text, _ in pairs), np.array([number for _, number in pairs]))

    def report(self) -> list[str]:
        """Say how many images each part has, and which arrays are not read; a line each."""
        has: list[PartName] = [part for part in PARTS if self.has(part)]
        known = {f"{kind}_{part}" for part in PARTS for kind in "xy"} | {"classes"}
        unknown = [name for name in self._headers if name not in known]
        lines = part_lines(self, {part: self.name for part in has})
        return [*lines, *([f"left out: arrays {', '.join(unknown)}"] if unknown else [])]

    def _read_headers(self) -> dict[str, Header]:
        """Read shape and type of every array."""
        if not self._path.is_file():
            raise DataError(f"{self.name}: no such file; data.path must name an .npz archive with x_train and y_train")
        headers: dict[str, Header] = {}
        member = ""
        try:
            with zipfile.ZipFile(self._path) as archive:
                for info in archive.infolist():
                    member = info.filename
                    name = member.removesuffix(_ARRAY)
                    if not member.endswith(_ARRAY) or "/" in member or name in headers:
                        raise ValueError("no array of its own name at the top of the archive")
                    with archive.open(info) as stream:
                        headers[name] = shape, dtype = _read_header(stream)
                        size = stream.tell() + math.prod(shape) * dtype.itemsize
                        if size != info.file_size and not dtype.hasobject:  # pickles are refused by those who want them
                            raise ValueError(f"claims the shape {shape}, which its {info.file_size} bytes do not hold")
        except _DAMAGED as error:
            raise self._damaged(error, member) from error
        return headers

    def _read(self, key: str) -> NDArray[Any]:
        try:
            with np.load(self._path, allow_pickle=False) as archive:
                return np.asarray(archive[key])
        except _DAMAGED as error:
            raise self._damaged(error, f"{key}{_ARRAY}") from error

    def _damaged(self, error: Exception, member: str) -> DataError:
        where = f"{readable(shorten(member, 60))}: " if member else ""
        return DataError(
            f"{self.name}: not a readable .npz archive ({where}{shorten(error)}); copy it again, or write it with "
            "numpy.savez"
        )

    def _class_names(self) -> tuple[str, ...]:
        if "classes" not in self._headers:
            labels = self._labels["train"]
            if self.multilabel:
                return tuple(map(str, range(labels.shape[1])))
            if labels.max() >= len(labels):
                raise DataError(
                    f"{self.name}: y_train has label {labels.max()} among {len(labels)} images; number the classes "
                    "from 0 without gaps"
                )
            return tuple(str(label) for label in range(int(labels.max()) + 1))
        shape, dtype = self._headers["classes"]
        if dtype.kind not in "US" or len(shape) != 1:
            raise DataError(
                f"{self.name}: classes is {dtype} of shape {shape}; it must be a list of names as text, one per label"
            )
        return tuple(map(readable, self._read("classes").tolist()))

    def _check(self, part: PartName) -> None:
        """Check the headers of a part."""
        x, y = f"x_{part}", f"y_{part}"
        missing = [key for key in (x, y) if key not in self._headers]
        if missing:
            raise DataError(
                f"{self.name}: no array {' and '.join(missing)}; it holds {', '.join(self._headers) or 'nothing'}, "
                "and needs x_train (uint8 images) and y_train (integer labels)"
            )
        (x_shape, x_type), (y_shape, y_type) = self._headers[x], self._headers[y]
        if x_type != np.uint8 or len(x_shape) not in (3, 4):
            raise DataError(
                f"{self.name}: {x} is {x_type} of shape {x_shape}; images must be uint8 (0 to 255) of shape "
                "(N, H, W, C), or (N, H, W) for grey"
            )
        several = len(y_shape) == 2 and y_shape[1] > 1 and y_type.kind in "biuf"
        if not several and (y_type.kind not in "iu" or len(y_shape) != 1):
            raise DataError(
                f"{self.name}: {y} is {y_type} of shape {y_shape}; labels must be integers of shape (N,), or 0 and 1 "
                "of shape (N, K) if an image has any number of K classes, at least two"
            )
        if y_shape[1:] != self._headers["y_train"][0][1:]:
            raise DataError(
                f"{self.name}: {y} has shape {y_shape}, but y_train {self._headers['y_train'][0]}; both need the same "
                "classes, and one label an image or one column a class"
            )
        if x_shape[0] != y_shape[0]:
            raise DataError(
                f"{self.name}: {x} has {x_shape[0]} images but {y} has {y_shape[0]} labels; give each one label"
            )
        if 0 in x_shape:
            raise DataError(f"{self.name}: {x} has shape {x_shape}; it must hold at least one pixel of one image")
        if x_shape[1:] != self._headers["x_train"][0][1:]:
            shape = self._headers["x_train"][0][1:]
            raise DataError(
                f"{self.name}: images of {x} have shape {x_shape[1:]}, those of x_train {shape}; they must agree"
            )


class NpzImages(ImageData):
    """Images of one ``.npz`` archive, held in memory as uint8.

    The archive holds ``x_train`` (uint8, ``(N, H, W, C)`` or ``(N, H, W)``) and ``y_train`` (integers from 0). If an
    image has any number of ``K`` classes, labels are 0 and 1 of shape ``(N, K)``. It may hold the same for ``val`` and
    ``test``, and ``classes`` (names as text). Missing parts are taken from ``train``.

    Args:
        path: The archive; ``~`` and environment variables such as ``${SPARSENAS_DATA}`` are replaced.
        batch_size: Images of a training batch, per stream and per process; ``auto`` follows from their number.
        augmentation: Random changes of training images: ``auto`` follows from the images, ``none`` is none; otherwise
            options ``crop_padding``, ``flip``, ``cutout``, ``padding_mode``.
        options: See :class:`ImageData`.
    """

    def __init__(
        self,
        path: str,
        batch_size: int | BatchSizeWord = "auto",
        augmentation: Augmentation | AugmentationWord = "auto",
        **options: Any,
    ) -> None:
        super().__init__(NpzSource(path), batch_size, augmentation=augmentation, **options)
