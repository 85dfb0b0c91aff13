"""Augment and normalise batches by tensor operations on the device, without a loop over images."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sparsenas.errors import ConfigError


@dataclass(frozen=True)
class Augmentation:
    """Options of the augmentation of training images.

    Attributes:
        crop_padding: Black pixels added on each side before a random image-sized window is cut out; 0 for no crop,
            ``None`` for an eighth of the smaller side.
        flip: Mirror images left to right at random.
        cutout: Side in pixels of the square hidden at random; 0 for none.

    Raises:
        ConfigError: If a number is below 0.
    """

    crop_padding: int | None = None
    flip: bool = True
    cutout: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, value in (("crop_padding", self.crop_padding or 0), ("cutout", self.cutout)):
            if value < 0:
                raise ConfigError(f"data.augmentation.{name} is {value}; it must be at least 0")

    def at(self, image_shape: tuple[int, int, int]) -> "Augmentation":
        """Fill in the padding for images of a shape ``(C, H, W)``."""
        return self if self.crop_padding is not None else replace(self, crop_padding=min(image_shape[1:]) // 8)


def crop_windows(images: Tensor, top: Tensor, left: Tensor, mirrored: Tensor, padding: int) -> Tensor:
    """Cut one image-sized window out of each padded image, in one gather.

    Windows begin at rows ``top`` and columns ``left`` of images ``(B, C, H, W)`` with ``padding`` zeros on each side.
    They are mirrored left to right where ``mirrored`` is True.
    """
    count, channels, height, width = images.shape
    padded = functional.pad(images, (padding, padding, padding, padding))
    rows = top[:, None] + torch.arange(height, device=images.device)
    columns = left[:, None] + torch.arange(width, device=images.device)
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    # Pixels are numbered through: on a CPU, gathering by one index is 2.5 times as fast as by image, row and column.
    pixels = rows[:, :, None] * padded.shape[3] + columns[:, None, :]  # (B, H, W)
    index = pixels.view(count, 1, -1).expand(count, channels, -1)
    return padded.flatten(2).gather(2, index).view(images.shape)


def random_crop_flip(images: Tensor, padding: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Crop with padding and mirror at random, each image ``(B, C, H, W)`` by itself.

    Windows are uniform over the ``(2 padding + 1)^2`` places. The generator is on the device of ``images``.
    """
    size, device = (len(images),), images.device
    top = torch.randint(2 * padding + 1, size, generator=generator, device=device)
    left = torch.randint(2 * padding + 1, size, generator=generator, device=device)
    mirrored = torch.randint(2, size, generator=generator, device=device).bool()
    return crop_windows(images, top, left, mirrored if flip else torch.zeros_like(mirrored), padding)


def random_cutout(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Set one square of each image to zero; its centre is uniform over the image.

    Images ``(B, C, H, W)`` are normalised, so zero is the mean colour.

    Source: DeVries and Taylor, Improved Regularization of CNNs with Cutout (2017), as used by DARTS.
    """
    count, _, height, width = images.shape
    device = images.device

    def inside(length: int) -> Tensor:  # (B, length)
        first = torch.randint(length, (count, 1), generator=generator, device=device) - side // 2
        position = torch.arange(length, device=device)
        return (position >= first) & (position < first + side)

    hole = inside(height)[:, None, :, None] & inside(width)[:, None, None, :]  # (B, 1, H, W)
    return images * ~hole  # unlike masked_fill, keeps the memory format, and is faster


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Bring uint8 images ``(B, C, H, W)`` to zero mean and unit deviation, float32 in channels-last memory.

    ``mean`` and ``std``, shape ``(C,)``, are of images scaled to [0, 1].
    """
    copy = images.to(torch.float32, memory_format=torch.channels_last)
    return copy.sub_(255 * mean[:, None, None]).div_(255 * std[:, None, None])


class Augmenter:
    """Applies an :class:`Augmentation` with one generator per stream, seeded anew for each epoch.

    Only ``(seed, epoch, rank, stream)`` and the order of batches decide the outcome: a resumed run sees the same images
    as an uninterrupted one. Global generators are not touched.
    """

    def __init__(self, augmentation: Augmentation, seed: int, rank: int = 0) -> None:
        self._augmentation = augmentation
        self._seed = seed
        self._rank = rank
        self._generators: dict[int, tuple[int, torch.Generator]] = {}

    def generator(self, stream: int, epoch: int, device: torch.device) -> torch.Generator:
        """Return the generator of a stream, seeded if the epoch is new to it."""
        known = self._generators.get(stream)
        if known is not None and known[0] == epoch and known[1].device == device:
            return known[1]
        # The last word tells augmentation apart from the shuffling of the same seed.
        state = np.random.SeedSequence([self._seed, epoch, self._rank, stream, 0xA06]).generate_state(1, np.uint64)
        generator = torch.Generator(device).manual_seed(int(state[0]) >> 1)
        self._generators[stream] = (epoch, generator)
        return generator

    def __call__(self, images: Tensor, mean: Tensor, std: Tensor, *, stream: int, epoch: int) -> Tensor:
        """Augment and normalise uint8 images ``(B, C, H, W)``; the result is float32."""
        wanted = self._augmentation
        generator = self.generator(stream, epoch, images.device)
        if wanted.crop_padding or wanted.flip:
            images = random_crop_flip(images, wanted.crop_padding or 0, wanted.flip, generator)
        images = normalise(images, mean, std)
        return random_cutout(images, wanted.cutout, generator) if wanted.cutout else images
