"""The handwritten digits that come with scikit-learn."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from sparsenas.data.augment import Augmentation
from sparsenas.data.auto import AugmentationWord
from sparsenas.data.base import ImageData
from sparsenas.data.loading import InMemory
from sparsenas.data.names import Indices
from sparsenas.data.sources import ImageSource, PartName


class DigitsSource(ImageSource):
    """1,797 grey 8x8 images of digits, part of scikit-learn: nothing to download."""

    name = "digits"
    image_shape = (1, 8, 8)
    class_names = tuple("0123456789")

    def __init__(self) -> None:
        bunch = load_digits()
        self._images: NDArray[np.float64] = bunch.images  # grey levels 0 to 16, shape (1797, 8, 8)
        self._labels: NDArray[np.int64] = bunch.target.astype(np.int64)

    def has(self, part: PartName) -> bool:
        """Return True for the training part, from which the others are taken."""
        return part == "train"

    def labels(self, part: PartName) -> NDArray[np.int64]:
        """Return the digit of each image, shape ``(1797,)``."""
        return self._labels

    def load(self, part: PartName, indices: Indices) -> InMemory:
        """Return the images at ``indices``, grey levels spread over 0 to 255."""
        images = np.rint(self._images[indices] * (255 / 16)).astype(np.uint8)
        return InMemory(torch.from_numpy(images).unsqueeze(1), torch.from_numpy(self._labels[indices]))


class Digits(ImageData):
    """Handwritten digits of scikit-learn: 1,797 grey 8x8 images in 10 classes, embedded.

    The test part has 360 images by default.

    Args:
        augmentation: Random changes of training images; digits are not symmetric, so none is mirrored. See
            :class:`ImageData`.
        options: See :class:`ImageData`.
    """

    def __init__(
        self, augmentation: Augmentation | AugmentationWord = Augmentation(1, flip=False), **options: Any
    ) -> None:
        super().__init__(DigitsSource(), augmentation=augmentation, **options)
