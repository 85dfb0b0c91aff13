"""Read image files of any size, a batch at a time."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional

from sparsenas.data.loading import Batch, Draw
from sparsenas.errors import DataError
from sparsenas.images import Resize, decode, pixels, resized, with_channels

#: Most bytes of images that are kept once they are decoded: decoding takes longer than training a small network.
HELD_BYTES = 2**28


class ImageFiles(Dataset[Batch]):
    """Image files; in training a random window of each, resized; in evaluation the centre, or the whole, resized.

    Labels have shape ``(N,)`` or ``(N, K)``, and images ``image_shape``, with 3 channels or 1. Other options are those
    of :class:`sparsenas.data.ImageFolder`. Windows have the network's shape, or up to a third more or less of it.

    Source: Szegedy et al., Going Deeper with Convolutions (2015), section 6; torchvision's ``RandomResizedCrop``.
    """

    def __init__(
        self,
        files: Sequence[Path],
        labels: Tensor,
        *,
        image_shape: tuple[int, int, int],
        eval_resize: Resize,
        crop_scale: float,
    ) -> None:
        self._files = files
        self._labels = labels
        self._channels, *self._size = image_shape
        self._eval_resize = eval_resize
        self._crop_scale = crop_scale
        held = len(files) * math.prod(image_shape) <= HELD_BYTES
        self._images: dict[int, Tensor] | None = {} if held else None

    @property
    def held(self) -> bool:
        """True if images are kept once they are read, so that other processes need not read them again."""
        return self._images is not None and self._crop_scale == 1

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._files)

    def __getitem__(self, draw: Draw) -> Batch:
        """Read images ``(B, C, H, W)`` and labels of one batch.

        Raises:
            DataError: Naming the file that cannot be read.
        """
        labels = self._labels[torch.from_numpy(draw.indices)]
        if draw.entropy is None or self._crop_scale == 1:
            return torch.stack([self._image(int(index)) for index in draw.indices]), labels
        seed = np.random.SeedSequence(draw.entropy).generate_state(1, np.uint64)
        with torch.random.fork_rng(devices=[]):  # torchvision draws windows from the global generator
            torch.default_generator.manual_seed(int(seed[0]) >> 1)
            return torch.stack([self._window(self._files[index]) for index in draw.indices]), labels

    def _image(self, index: int) -> Tensor:
        if self._images is not None and index in self._images:
            return self._images[index]
        made = pixels(resized(self._decoded(self._files[index]), self._eval_resize, *self._size))
        if self._images is not None:
            self._images[index] = made
        return made

    def _window(self, file: Path) -> Tensor:
        image = self._decoded(file)
        ratio = self._size[1] / self._size[0]
        window = RandomResizedCrop.get_params(image, [self._crop_scale, 1.0], [3 / 4 * ratio, 4 / 3 * ratio])
        return pixels(functional.resized_crop(image, *window, self._size))

    def _decoded(self, file: Path) -> Image.Image:
        try:
            return with_channels(decode(file), self._channels, str(file))
        except DataError as error:
            raise DataError(f"{error}; data.skip_broken true leaves such files out") from error
