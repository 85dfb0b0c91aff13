"""Labels of images: one class each, or any number of classes."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsenas.classification import SEPARATOR
from sparsenas.data.names import Indices
from sparsenas.errors import DataError

#: The class of each image, shape ``(N,)`` int64; or 1 for each of its ``K`` classes and 0 for others, ``(N, K)`` uint8.
Labels = NDArray[np.integer]


def members(labels: Labels, label: int) -> Indices:
    """Return the positions of the images of a class, ascending."""
    return np.flatnonzero(labels == label if labels.ndim == 1 else labels[:, label])


def class_counts(labels: Labels, classes: int) -> NDArray[np.int64]:
    """Count the images of each class, shape ``(classes,)``; an image of several counts for each."""
    if labels.ndim == 1:
        return np.bincount(labels, minlength=classes).astype(np.int64)
    return np.asarray(labels.sum(0, dtype=np.int64))


def rarest(labels: Labels) -> NDArray[np.int64]:
    """Return the class of each image, or of several the one with fewest images; shape ``(N,)``.

    Images of none of ``K`` classes have a class of their own, ``K``. Of classes as rare as each other it is the first.
    """
    if labels.ndim == 1:
        return labels.astype(np.int64)
    order = np.argsort(class_counts(labels, labels.shape[1]), kind="stable")
    return np.asarray(np.where(labels.any(1), order[labels[:, order].argmax(1)], labels.shape[1]))


def label_names(label: NDArray[np.integer] | np.integer, class_names: Sequence[str]) -> str:
    """Return the name of an image's class, or the names of its classes; empty for none.

    Args:
        label: One row of :data:`Labels`.
        class_names: One name per class.
    """
    if label.ndim == 0:
        return class_names[int(label)]
    return SEPARATOR.join(class_names[index] for index in np.flatnonzero(label).tolist())


def label_tensor(labels: Labels) -> Tensor:
    """Return labels as batches have them: ``(N,)`` int64, or ``(N, K)`` float32 of 0 and 1."""
    return torch.from_numpy(labels) if labels.ndim == 1 else torch.from_numpy(labels.astype(np.float32))


def check_classes(labels: Labels, class_names: Sequence[str], where: str) -> None:
    """Check the labels of a training part.

    Raises:
        DataError: If there are fewer than two classes, a label without a name, or a class without an image. Where
            images have several labels, if a class has all images, or a name holds the separator.
    """
    if len(class_names) < 2:
        raise DataError(f"{where}: only one class, {', '.join(class_names)}; a classifier needs at least two")
    check_labels(labels, len(class_names), where)
    counts = class_counts(labels, len(class_names))
    if not counts.all():
        missing = class_names[int(counts.argmin())]
        said = " (labels count from 0)" if labels.ndim == 1 else ""
        raise DataError(f"{where}: class {missing!r} has no training image; give every class at least one{said}")
    if labels.ndim == 1:
        return
    if (counts == len(labels)).any():
        raise DataError(
            f"{where}: all {len(labels)} training images are of class {class_names[int(counts.argmax())]!r}, so there "
            "is nothing to learn about it; leave it out, or add images without it"
        )
    for name in class_names:
        if SEPARATOR in name:
            raise DataError(
                f"{where}: class {name!r} has a {SEPARATOR} in its name, which separates the names of an image's "
                "classes; rename it"
            )


def check_labels(labels: Labels, num_classes: int, where: str) -> None:
    """Check that every label has a class.

    Raises:
        DataError: Naming the first label that has none.
    """
    if labels.ndim == 2:
        if labels.shape[1] != num_classes:
            raise DataError(
                f"{where}: labels have {labels.shape[1]} columns for {num_classes} classes; give one column a class"
            )
        return
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        raise DataError(
            f"{where}: label {labels[wrong[0]]} of image {wrong[0]} is out of range; "
            f"with {num_classes} classes, labels are 0 to {num_classes - 1}"
        )
