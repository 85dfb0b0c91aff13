"""From an image to the tensor an exported network takes."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import Tensor

from sparsenas.errors import DataError
from sparsenas.images import MODES, Resize, decode, exact_mode, pixels, resized, upright, with_channels


@dataclass(frozen=True)
class Preparation:
    """Preparation of images as for evaluation in training.

    Attributes:
        image_shape: ``(C, H, W)`` of the network's images.
        mean: Per channel, of pixels scaled to [0, 1].
        std: Deviation per channel, likewise.
        resize: How images come to the size, see :data:`sparsenas.images.Resize`; None for no resize.
    """

    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: Resize | None = None

    def __call__(self, image: Image.Image | str | os.PathLike[str], adapt: bool = False) -> Tensor:
        """Read, bring to size, and normalise an image.

        Args:
            image: A file, or an image of Pillow.
            adapt: Resize, cut and convert any image, also if training did not.

        Returns:
            float32, shape ``(C, H, W)``; ``network(prepared[None])`` gives its logits.

        Raises:
            DataError: If the file cannot be read, or the image does not fit the network.
        """
        if isinstance(image, Image.Image):
            return self.normalise(self._fit(upright(image, "image"), "image", adapt))
        return self.normalise(self._fit(decode(Path(image)), str(image), adapt))

    def normalise(self, pixels: Tensor) -> Tensor:
        """Normalise pixels of 0 to 255, shape ``(..., C, H, W)``."""
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (pixels.to(torch.float32) - 255 * mean) / (255 * std)

    def _fit(self, image: Image.Image, name: str, adapt: bool) -> Tensor:
        """Return pixels of the right shape, uint8."""
        channels, height, width = self.image_shape
        if channels in MODES and not adapt and self.resize is None:
            found, wanted = exact_mode(image, name), MODES[channels]
            if (image.height, image.width, found) != (height, width, wanted):
                raise DataError(
                    f"{name}: is {_shape(image.height, image.width, found)}, but the network takes "
                    f"{_shape(height, width, wanted)}; give such an image, or let it be converted and resized (--adapt)"
                )
            return pixels(with_channels(image, channels, name))
        image = with_channels(image, channels, name)
        if self.resize is None:
            return pixels(ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR))
        return pixels(resized(image, self.resize, height, width))


def _shape(height: int, width: int, mode: str) -> str:
    kinds = {"L": "grey", "LA": "grey with transparency", "RGB": "colour", "RGBA": "colour with transparency"}
    return f"{height}x{width} {kinds.get(mode, 'in four inks')}"
