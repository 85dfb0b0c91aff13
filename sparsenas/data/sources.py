"""The protocol of image sources, and checks that all of them share."""

import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from sparsenas.data.labels import Labels, class_counts
from sparsenas.data.loading import BatchDataset
from sparsenas.data.names import Indices, Places
from sparsenas.errors import ConfigError, DataError
from sparsenas.texts import readable

#: Parts that a source may have; ``"train"`` always exists.
PartName = Literal["train", "val", "test"]
PARTS: tuple[PartName, ...] = get_args(PartName)
#: Most classes in a line of a report.
SHOWN = 5


class ImageSource(Protocol):
    """Labelled images in up to three parts.

    Attributes:
        name: File, folder or data set, for messages.
        image_shape: ``(C, H, W)`` of every image.
        class_names: One name per label.
        statistics_sample: Most images read for mean and deviation; None for all.
        grows: True if images may be added later; then each image's place alone decides its part.
        windowed: True if training images are random windows of larger ones, so that shifts are needless.
        multilabel: True if an image has any number of labels.
    """

    name: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    statistics_sample: int | None = None
    grows: bool = False
    windowed: bool = False
    multilabel: bool = False

    def prepare(self) -> None:
        """Fetch what is missing, if asked to; called by one process only."""
        return None

    def has(self, part: PartName) -> bool:
        """Return True if the source has this part; read no image or label."""
        ...

    def labels(self, part: PartName) -> Labels:
        """Return the labels of a part: classes ``(N,)`` int64; with ``multilabel`` 0 and 1 ``(N, K)`` uint8."""
        ...

    def load(self, part: PartName, indices: Indices) -> BatchDataset:
        """Return a dataset of the images at ``indices`` of a part, in that order."""
        ...

    def names(self, part: PartName) -> list[str]:
        """Return a name of each image, by which a later run knows it again."""
        files = self.files(part)
        if files is None:
            return list(map(str, range(len(self.labels(part)))))
        return [unicodedata.normalize("NFC", file) for file in files]  # which file systems compose differently

    def files(self, part: PartName) -> list[str] | None:
        """Return the file of each image; ``None`` if they are no files."""
        return None

    def trained(self, part: PartName, names: Sequence[str]) -> list[str]:
        """Say which images of a part are the training images of the same names."""
        return list(names)

    def places(self) -> Places:
        """Return the places of the training images, which decide their parts if the source grows."""
        return Places.of(self.names("train"))

    def pixel_sizes(self) -> NDArray[np.int64]:
        """Return heights and widths of some training images as they are stored, shape ``(N, 2)``."""
        return np.zeros((0, 2), dtype=np.int64)

    def groups(self, part: PartName) -> list[str] | None:
        """Return the group of each image, which is whole in one part; ``None`` if there are none."""
        return None

    def held_out(self, seed: int) -> NDArray[np.bool_] | None:
        """Say which training images are for testing, shape ``(N,)``; ``None`` leaves it to shares."""
        return None

    def duplicates(self) -> list[list[tuple[PartName, int]]]:
        """Return part and number of images that are copies, those of the same image together; of files only."""
        return []

    def report(self) -> list[str]:
        """Say what was taken as parts and classes, and what was left out; a line each."""
        return []


def part_lines(source: ImageSource, places: Mapping[PartName, str]) -> Iterator[str]:
    """Say how many images each part has, a line each.

    Args:
        source: The images.
        places: Place of each part that the source has.
    """
    for part, place in places.items():
        labels = source.labels(part)
        counts = class_counts(labels, len(source.class_names))
        classes = [f"{name} {count}" for name, count in zip(source.class_names, counts, strict=True)]
        shown = ", ".join(classes[:SHOWN]) + (", ..." if len(classes) > SHOWN else "")
        several = f", {_several(labels)}" if source.multilabel else ""
        yield f"{part}: {len(labels)} images of {len(classes)} classes in {place} ({shown}){several}"
    missing = [part for part in ("val", "test") if part not in places]
    if missing:
        shares = " and ".join(f"data.{part}_fraction" for part in missing)
        yield f"{' and '.join(missing)}: none there; {shares} of the training images"


def _several(labels: Labels) -> str:
    """Say that counts of classes overlap, for images of any number of labels: ``(N, K)``."""
    each = labels.sum(1, dtype=np.int64)
    return f"several labels an image, {each.mean():.1f} on average, {np.count_nonzero(each == 0)} images without"


def expand_path(path: str, option: str) -> Path:
    """Replace ``~`` and environment variables (``$NAME``, ``${NAME}``) in the path of an option.

    Raises:
        DataError: If a variable is not set.
    """
    for braced, plain in re.findall(r"\$(?:\{(\w+)\}|(\w+))", path):
        if (braced or plain) not in os.environ:
            raise DataError(
                f"{option} is {path!r}, but the environment variable {braced or plain} is not set; "
                "set it, or write the path itself"
            )
    return Path(os.path.expandvars(path)).expanduser()


def check_at_least(least: int, **options: int) -> None:
    """Check whole-number options.

    Raises:
        ConfigError: If one is smaller than ``least``.
    """
    for option, value in options.items():
        if value < least:
            raise ConfigError(f"data.{option} is {value}; it must be at least {least}")


def check_trained_alike(source: ImageSource, state: Mapping[str, Any]) -> None:
    """Check that images have the classes of a training, and one label or several as there.

    Args:
        source: The images.
        state: ``class_names`` of the training, and ``multilabel``; earlier versions knew only images of one label.

    Raises:
        DataError: If they differ.
    """
    kinds = ("one label each", "any number of labels")
    trained_kind, own_kind = (kinds[bool(kind)] for kind in (state.get("multilabel", False), source.multilabel))
    if trained_kind != own_kind:
        raise DataError(
            f"{source.name}: has images of {own_kind}, but the checkpoint was trained on images of {trained_kind}; "
            "give images labelled alike"
        )
    trained, own = tuple(map(readable, state["class_names"])), tuple(map(str, source.class_names))
    if trained == own:
        return
    difference = f"has {len(own)} classes, but the checkpoint was trained on {len(trained)}"
    if len(trained) == len(own):
        label = next(label for label, (one, other) in enumerate(zip(trained, own, strict=True)) if one != other)
        difference = f"class {label} is {own[label]!r}, but the checkpoint was trained with {trained[label]!r}"
    raise DataError(f"{source.name}: {difference}; give images of the same classes in the same order")
