"""The handwritten digits that come with scikit-learn."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from sparsenas.data.base import ImageData
from sparsenas.data.loading import InMemory
from sparsenas.data.sources import PartName
from sparsenas.data.split import Indices


class DigitsSource:
    """1,797 grey 8x8 images of digits, part of scikit-learn: nothing to download."""

    name = "digits"
    image_shape = (1, 8, 8)
    class_names = tuple("0123456789")
    statistics_sample = None

    def __init__(self) -> None:
        bunch = load_digits()
        #: Grey levels 0 to 16, shape ``(1797, 8, 8)``.
        self._images: NDArray[np.float64] = bunch.images
        self._labels: NDArray[np.int64] = bunch.target.astype(np.int64)

    def prepare(self) -> None:
        """Nothing is missing."""

    def has(self, part: PartName) -> bool:
        """Only a training part, from which others are taken."""
        return part == "train"

    def labels(self, part: PartName) -> NDArray[np.int64]:
        """The digit of each image, shape ``(1797,)``."""
        return self._labels

    def load(self, part: PartName, indices: Indices) -> InMemory:
        """The images at ``indices``, grey levels spread over 0 to 255."""
        images = np.rint(self._images[indices] * (255 / 16)).astype(np.uint8)
        return InMemory(torch.from_numpy(images).unsqueeze(1), torch.from_numpy(self._labels[indices]))


class Digits(ImageData):
    """Handwritten digits of scikit-learn: 1,797 grey 8x8 images in 10 classes, embedded.

    The test part (360 images by default) is drawn by ``test_seed``, not by ``seed``: test accuracies of runs with
    different seeds are over the same images.

    Args:
        crop_padding: Black pixels added on each side before a random image-sized window is cut out; 0 for no crop.
        flip: Mirror training images left to right at random; digits are not symmetric.
        options: See :class:`ImageData`.
    """

    def __init__(self, crop_padding: int = 1, flip: bool = False, **options: Any) -> None:
        super().__init__(DigitsSource(), crop_padding=crop_padding, flip=flip, **options)
