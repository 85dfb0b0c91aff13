"""Read image files of any size, a batch at a time."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional

from sparsenas.data.loading import Batch, Draw
from sparsenas.images import Resize, decode, pixels, resized, with_channels

#: Most bytes of images that are kept once they are decoded: decoding takes longer than training a small network.
HELD_BYTES = 2**28


class ImageFiles(Dataset[Batch]):
    """Image files; in training a random window of each, resized; in evaluation the centre, or the whole, resized.

    Labels have shape ``(N,)``, ``channels`` is 3 or 1; other options are those of :class:`sparsenas.data.ImageFolder`.

    Source: Szegedy et al., Going Deeper with Convolutions (2015), section 6; torchvision's ``RandomResizedCrop``.
    """

    def __init__(
        self, files: list[Path], labels: Tensor, *, channels: int, size: int, eval_resize: Resize, crop_scale: float
    ) -> None:
        self._files = files
        self._labels = labels
        self._channels = channels
        self._size = size
        self._eval_resize = eval_resize
        self._crop_scale = crop_scale
        held = len(files) * channels * size**2 <= HELD_BYTES
        self._images: dict[int, Tensor] | None = {} if held else None

    @property
    def held(self) -> bool:
        """True if images are kept once they are read, so that other processes need not read them again."""
        return self._images is not None and self._crop_scale == 1

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._files)

    def __getitem__(self, draw: Draw) -> Batch:
        """Read images ``(B, C, size, size)`` and labels of one batch.

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
        file = self._files[index]
        image = with_channels(decode(file), self._channels, str(file))
        made = pixels(resized(image, self._eval_resize, self._size, self._size))
        if self._images is not None:
            self._images[index] = made
        return made

    def _window(self, file: Path) -> Tensor:
        image = with_channels(decode(file), self._channels, str(file))
        window = RandomResizedCrop.get_params(image, [self._crop_scale, 1.0], [3 / 4, 4 / 3])
        return pixels(functional.resized_crop(image, *window, [self._size, self._size]))
