"""What an image source must offer, and checks that all sources share."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sparsenas.data.loading import BatchDataset
from sparsenas.data.split import Indices
from sparsenas.errors import ConfigError, DataError

#: Parts a source can bring. ``"train"`` always exists.
PartName = Literal["train", "val", "test"]


class ImageSource(Protocol):
    """Labelled images in up to three parts."""

    @property
    def name(self) -> str:
        """File, folder or data set, as error messages call it."""
        ...

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of every image."""
        ...

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name per label."""
        ...

    @property
    def statistics_sample(self) -> int | None:
        """At most so many images are read for mean and deviation; ``None`` reads all."""
        ...

    def prepare(self) -> None:
        """Fetch what is missing, if asked to; called by one process only."""
        ...

    def has(self, part: PartName) -> bool:
        """Whether the source brings this part; reads none of its images and labels."""
        ...

    def labels(self, part: PartName) -> NDArray[np.int64]:
        """Label of each image of a part it brings, shape ``(N,)``."""
        ...

    def load(self, part: PartName, indices: Indices) -> BatchDataset:
        """A dataset of the images at ``indices`` of a part, in that order."""
        ...


def expand_path(path: str, option: str) -> Path:
    """Replace ``~`` and environment variables (``$NAME``, ``${NAME}``) in a path.

    Args:
        path: As the user wrote it.
        option: Name of the option that holds it, for messages.

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


def check_classes(labels: NDArray[np.int64], class_names: Sequence[str], where: str) -> None:
    """Check the labels of a training part.

    Raises:
        DataError: If there are fewer than two classes, a label without a name, or a class without an image.
    """
    if len(class_names) < 2:
        raise DataError(f"{where}: only one class, {', '.join(class_names)}; a classifier needs at least two")
    check_labels(labels, len(class_names), where)
    counts = np.bincount(labels, minlength=len(class_names))
    if not counts.all():
        missing = class_names[int(counts.argmin())]
        raise DataError(
            f"{where}: class {missing!r} has no training image; give every class at least one (labels count from 0)"
        )


def check_labels(labels: NDArray[np.int64], num_classes: int, where: str) -> None:
    """Check that every label has a class.

    Raises:
        DataError: Naming the first label that has none.
    """
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        raise DataError(
            f"{where}: label {labels[wrong[0]]} of image {wrong[0]} is out of range; "
            f"with {num_classes} classes, labels are 0 to {num_classes - 1}"
        )


def check_at_least(option: str, value: int, least: int) -> None:
    """Check a whole-number option.

    Raises:
        ConfigError: If ``value < least``.
    """
    if value < least:
        raise ConfigError(f"data.{option} is {value}; it must be at least {least}")
