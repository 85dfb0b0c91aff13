"""Reading image files of any size, a batch at a time."""

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2 import functional

from sparsenas.data.loading import Batch, Draw
from sparsenas.images import centre, decode, pixels, with_channels


def random_window(height: int, width: int, smallest: float, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """A window of random area and shape.

    Area is uniform between ``smallest`` and 1 times the image's, the logarithm of width over height between that of
    3/4 and 4/3; the place is uniform.

    Args:
        height: Of the image, in pixels.
        width: Likewise.
        smallest: Smallest share of the area, in (0, 1].
        rng: Source of randomness.

    Returns:
        ``(top, left, height, width)`` in pixels; the largest centred square if ten draws do not fit.

    Source: Szegedy et al., Going Deeper with Convolutions (2015), section 6; as torchvision's ``RandomResizedCrop``.
    """
    for _ in range(10):
        area = height * width * rng.uniform(smallest, 1.0)
        ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        h, w = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < h <= height and 0 < w <= width:
            return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side, side


class ImageFiles(Dataset[Batch]):
    """Reads image files; in training a random window of each, resized, in evaluation the resized centre.

    Args:
        files: The files.
        labels: Their labels, shape ``(N,)``.
        channels: 3 for colour, 1 for grey.
        size: Side of the images given out.
        eval_resize: Shorter side in evaluation, before the centre is cut out.
        crop_scale: Smallest share of the area of a random window; 1 treats training images as in evaluation.
    """

    def __init__(
        self, files: list[Path], labels: Tensor, *, channels: int, size: int, eval_resize: int, crop_scale: float
    ) -> None:
        self._files = files
        self._labels = labels
        self._channels = channels
        self._size = size
        self._eval_resize = eval_resize
        self._crop_scale = crop_scale

    def __len__(self) -> int:
        """Number of images."""
        return len(self._files)

    def __getitem__(self, draw: Draw) -> Batch:
        """Images ``(B, C, size, size)`` and labels of one batch.

        Raises:
            DataError: Naming the file that cannot be read.
        """
        rng = None if draw.entropy is None or self._crop_scale == 1 else np.random.default_rng(draw.entropy)
        images = torch.stack([self._read(self._files[index], rng) for index in draw.indices])
        return images, self._labels[torch.from_numpy(draw.indices)]

    def _read(self, file: Path, rng: np.random.Generator | None) -> Tensor:
        image = with_channels(decode(file), self._channels)
        if rng is None:
            return pixels(centre(image, self._eval_resize, self._size, self._size))
        window = random_window(image.height, image.width, self._crop_scale, rng)
        return pixels(functional.resized_crop(image, *window, [self._size, self._size]))
