"""Batched augmentation and normalisation: tensor operations on the device, without a loop over images."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Augmentation:
    """What happens to training images.

    Attributes:
        crop_padding: Black pixels added on each side before an image-sized window is cut out; 0 for no crop.
        flip: Mirror each image left to right with probability 1/2.
        cutout: Side of the square set to the mean colour after normalisation, in pixels; 0 for none.
    """

    crop_padding: int = 0
    flip: bool = False
    cutout: int = 0


def crop_windows(images: Tensor, top: Tensor, left: Tensor, mirrored: Tensor, padding: int) -> Tensor:
    """Cut one image-sized window out of each padded image, in one gather.

    Args:
        images: Shape ``(B, C, H, W)``.
        top: First row of each window in the padded image, shape ``(B,)``, in [0, 2 ``padding``].
        left: First column, likewise.
        mirrored: Which windows to mirror left to right, shape ``(B,)``, bool.
        padding: Zeros added on each side.

    Returns:
        Windows, shape ``(B, C, H, W)``, dtype of ``images``.
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
    """Crop with padding and mirror at random, each image by itself.

    Args:
        images: Shape ``(B, C, H, W)``.
        padding: Zeros added on each side; windows are uniform over the ``(2 padding + 1)^2`` places.
        flip: Whether to mirror, with probability 1/2.
        generator: On the device of ``images``.
    """
    size, device = (len(images),), images.device
    top = torch.randint(2 * padding + 1, size, generator=generator, device=device)
    left = torch.randint(2 * padding + 1, size, generator=generator, device=device)
    mirrored = torch.randint(2, size, generator=generator, device=device).bool()
    return crop_windows(images, top, left, mirrored if flip else torch.zeros_like(mirrored), padding)


def random_cutout(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Set one square of each image to zero; its centre is uniform over the image, what lies outside is cut off.

    Args:
        images: Shape ``(B, C, H, W)``, normalised, so that zero is the mean colour.
        side: Side of the square in pixels.
        generator: On the device of ``images``.

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
    """Bring uint8 images to zero mean and unit deviation.

    Args:
        images: Shape ``(B, C, H, W)``, uint8.
        mean: Per channel, shape ``(C,)``, of images scaled to [0, 1].
        std: Likewise.

    Returns:
        float32, shape ``(B, C, H, W)``, in channels-last memory.
    """
    copy = images.to(torch.float32, memory_format=torch.channels_last)
    return copy.sub_(255 * mean[:, None, None]).div_(255 * std[:, None, None])


class Augmenter:
    """Applies an :class:`Augmentation` with a generator per stream that is seeded anew for each epoch.

    Nothing but ``(seed, epoch, rank, stream)`` and the order of batches decides the outcome, so a run resumed at an
    epoch boundary sees the same images as an uninterrupted one. The global generators are not touched.

    Args:
        augmentation: What to do.
        seed: Seed of all streams.
        rank: Number of this process; ranks draw differently.
    """

    def __init__(self, augmentation: Augmentation, seed: int, rank: int = 0) -> None:
        self._augmentation = augmentation
        self._seed = seed
        self._rank = rank
        self._generators: dict[int, tuple[int, torch.Generator]] = {}

    def generator(self, stream: int, epoch: int, device: torch.device) -> torch.Generator:
        """The stream's generator, seeded if the epoch is new to it."""
        known = self._generators.get(stream)
        if known is not None and known[0] == epoch and known[1].device == device:
            return known[1]
        # The last word tells augmentation apart from the shuffling of the same seed.
        state = np.random.SeedSequence([self._seed, epoch, self._rank, stream, 0xA06]).generate_state(1, np.uint64)
        generator = torch.Generator(device).manual_seed(int(state[0]) >> 1)
        self._generators[stream] = (epoch, generator)
        return generator

    def __call__(self, images: Tensor, mean: Tensor, std: Tensor, *, stream: int, epoch: int) -> Tensor:
        """Augmented and normalised images, float32 ``(B, C, H, W)``, from uint8 ones of the same shape."""
        wanted = self._augmentation
        generator = self.generator(stream, epoch, images.device)
        if wanted.crop_padding or wanted.flip:
            images = random_crop_flip(images, wanted.crop_padding, wanted.flip, generator)
        images = normalise(images, mean, std)
        return random_cutout(images, wanted.cutout, generator) if wanted.cutout else images
