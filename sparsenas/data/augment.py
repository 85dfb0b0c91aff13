"""Augment and normalise batches by tensor operations on the device, without a loop over images."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsenas.data.sources import ImageSource
from sparsenas.data.transforms import Mixing, Transforms, seeded
from sparsenas.errors import ConfigError

#: What lies around an image: black, or the image mirrored at its border.
Padding = Literal["zeros", "reflect"]
#: Streams of training batches; the numbers keep their randomness apart. Short trainings of a search read a stream of
#: their own, so that what was found does not meet the same images in the same order again.
STREAMS = {"weights": 0, "arch": 1, "search": 2}
#: The stream that compares architectures, whose images are never mixed.
ARCH = STREAMS["arch"]
#: Largest magnitude of RandAugment.
STRONGEST = 30


@dataclass(frozen=True)
class Augmentation:
    """Options of the augmentation of training images.

    Attributes:
        crop_padding: Pixels added on each side before a random image-sized window is cut out; 0 for no crop. ``None``
            is an eighth of the smaller side, or 0 where random windows move the image already.
        flip: Mirror images left to right at random.
        cutout: Side in pixels of the square hidden at random; 0 for none.
        padding_mode: Added pixels are black (``zeros``), or continue the image as in a mirror (``reflect``). ``None``
            is ``reflect``, and ``zeros`` for data sets whose published recipes have it.
        randaugment: Operations of RandAugment; 0 for none. See :class:`~sparsenas.data.transforms.Transforms`.
        magnitude: Their strength, from 0 to 30.
        transforms: Transforms of your own, such as those of ``torchvision.transforms.v2``, in this order. Each is given
            a uint8 batch ``(B, C, H, W)`` on the device, after crop, mirroring and RandAugment, and gives the like. It
            draws from the global generators, which are seeded for each batch.
        mixup: ``alpha`` of MixUp; 0 for none. With ``cutmix``, one of both is drawn for each batch.
        cutmix: ``alpha`` of CutMix; 0 for none.

    Raises:
        ConfigError: If a number is out of range, or the mode is unknown.
    """

    crop_padding: int | None = None
    flip: bool = True
    cutout: int = 0
    padding_mode: Padding | None = None
    randaugment: int = 0
    magnitude: int = 9
    transforms: tuple[nn.Module, ...] = ()
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        """Check the options."""
        for name in ("crop_padding", "cutout", "randaugment", "mixup", "cutmix"):
            value = getattr(self, name) or 0
            if not 0 <= value < math.inf:
                raise ConfigError(f"data.augmentation.{name} is {value}; it must be at least 0")
        if not 0 <= self.magnitude <= STRONGEST:
            raise ConfigError(f"data.augmentation.magnitude is {self.magnitude}; it lies between 0 and {STRONGEST}")
        if self.padding_mode not in (None, *get_args(Padding)):
            modes = " or ".join(get_args(Padding))
            raise ConfigError(f"data.augmentation.padding_mode is {self.padding_mode!r}; use {modes}")

    def at(self, source: ImageSource) -> "Augmentation":
        """Fill in what the images of a source decide.

        Raises:
            ConfigError: If more is to be reflected, moved or hidden than there is, or RandAugment knows no such images.
        """
        if self.randaugment and source.image_shape[0] not in (1, 3):
            raise ConfigError(
                f"data.augmentation.randaugment is {self.randaugment}, but images have {source.image_shape[0]} "
                "channels; it knows those of 1 or 3: set it to 0"
            )
        side, padding = min(source.image_shape[1:]), self.crop_padding
        if padding is None:
            padding = 0 if source.windowed else side // 8
        mode: Padding = self.padding_mode or ("reflect" if source.grows else "zeros")
        if mode == "reflect" and padding >= side:
            raise ConfigError(
                f"data.augmentation.crop_padding is {padding}; an image of {side} pixels reflects at most {side - 1}"
            )
        for name, value in (("crop_padding", padding), ("cutout", self.cutout)):
            if value > side:
                raise ConfigError(f"data.augmentation.{name} is {value}, more than the {side} pixels of an image")
        return replace(self, crop_padding=padding, padding_mode=mode)


def crop_windows(images: Tensor, top: Tensor, left: Tensor, mirrored: Tensor, padding: int, mode: Padding) -> Tensor:
    """Cut one image-sized window out of each padded image, in one gather.

    Windows begin at rows ``top`` and columns ``left`` of images ``(B, C, H, W)`` with ``padding`` pixels on each side.
    They are mirrored left to right where ``mirrored`` is True.
    """
    count, channels, height, width = images.shape
    rows = _places(height, padding, mode, images.device)[0, top]
    columns = _places(width, padding, mode, images.device)[mirrored.long(), left]
    if mode == "zeros":  # reflected pixels are pixels of the image: they need no copy
        images = functional.pad(images, (padding, padding, padding, padding))
    # Pixels are numbered through: on a CPU, gathering by one index is 2.5 times as fast as by image, row and column.
    pixels = (rows * images.shape[3])[:, :, None] + columns[:, None, :]  # (B, H, W)
    index = pixels.view(count, 1, -1).expand(count, channels, -1)
    return images.flatten(2).gather(2, index).view(count, channels, height, width)


@lru_cache(maxsize=16)
def _places(length: int, padding: int, mode: Padding, device: torch.device) -> Tensor:
    """Tabulate the places of a line that each window sees, as it is and mirrored: ``(2, 2 padding + 1, length)``.

    A table saves a dozen small operations a batch, which on small images cost more than the gather. Places of ``zeros``
    count from the first added pixel, reflected ones are folded back into ``0 ... length - 1``.
    """
    places = torch.arange(2 * padding + 1)[:, None] + torch.arange(length)
    if mode == "reflect":
        places = length - 1 - (length - 1 - (places - padding).abs()).abs()
    return torch.stack([places, places.flip(1)]).to(device)


def random_crop_flip(images: Tensor, padding: int, mode: Padding, flip: bool, generator: torch.Generator) -> Tensor:
    """Crop with padding and mirror at random, each image ``(B, C, H, W)`` by itself.

    Windows are uniform over the ``(2 padding + 1)^2`` places. The generator is on the device of ``images``.
    """
    size, device = (len(images),), images.device
    top = torch.randint(2 * padding + 1, size, generator=generator, device=device)
    left = torch.randint(2 * padding + 1, size, generator=generator, device=device)
    mirrored = torch.randint(2, size, generator=generator, device=device).bool()
    return crop_windows(images, top, left, mirrored if flip else torch.zeros_like(mirrored), padding, mode)


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
    count, channels, height, width = images.shape
    copy = images.to(torch.float32, memory_format=torch.channels_last)
    # by whole rows of pixels: a loop over three channels at a time takes twice as long
    rows = copy.permute(0, 2, 3, 1).view(count * height, width * channels)
    rows.sub_((255 * mean).repeat(width)).div_((255 * std).repeat(width))
    return copy


@lru_cache(maxsize=16)
def _first_seed(*words: int) -> int:
    """Make the seed of the first batch of an epoch; the others count on, as a sequence for each would cost more."""
    # the last word tells augmentation apart from the shuffling of the same seed
    return int(np.random.SeedSequence([*words, 0xA06]).generate_state(1, np.uint64)[0]) >> 2


class Augmenter:
    """Applies an :class:`Augmentation` with one generator per stream, seeded anew for each batch.

    Only ``(seed, epoch, batch, rank, stream)`` decide the outcome: a run that goes on from any batch sees the same
    images as an uninterrupted one. Global generators are not touched, or put back.

    Args:
        augmentation: What to do.
        seed: Seed of all draws.
        rank: Number of the process.
        classes: Number of classes, to mix images.
    """

    def __init__(self, augmentation: Augmentation, seed: int, rank: int = 0, classes: int = 0) -> None:
        self._augmentation = augmentation
        self._transforms = Transforms(augmentation.randaugment, augmentation.magnitude, augmentation.transforms)
        self._mixing = Mixing(augmentation.mixup, augmentation.cutmix, classes)
        self._seed = seed
        self._rank = rank
        self._generators: dict[torch.device, torch.Generator] = {}

    def generator(self, stream: int, epoch: int, batch: int, device: torch.device) -> torch.Generator:
        """Return a generator, seeded for a batch."""
        if device not in self._generators:
            self._generators[device] = torch.Generator(device)
        return self._generators[device].manual_seed(self._seed_of(stream, epoch, batch))

    def _seed_of(self, stream: int, epoch: int, batch: int) -> int:
        return _first_seed(self._seed, epoch, self._rank, stream) + batch

    def __call__(self, images: Tensor, mean: Tensor, std: Tensor, *, stream: int, epoch: int, batch: int) -> Tensor:
        """Augment and normalise uint8 images ``(B, C, H, W)`` of a batch of an epoch; the result is float32."""
        wanted = self._augmentation
        generator = self.generator(stream, epoch, batch, images.device)
        if wanted.crop_padding or wanted.flip:
            padding, mode = wanted.crop_padding or 0, wanted.padding_mode or "zeros"
            images = random_crop_flip(images, padding, mode, wanted.flip, generator)
        if self._transforms:
            with seeded(self._seed_of(stream, epoch, batch), images.device):
                images = self._transforms(images)
        images = normalise(images, mean, std)
        return random_cutout(images, wanted.cutout, generator) if wanted.cutout else images

    def with_labels(
        self, images: Tensor, labels: Tensor, mean: Tensor, std: Tensor, *, stream: int, epoch: int, batch: int
    ) -> tuple[Tensor, Tensor]:
        """Augment and normalise a batch, and mix its images if asked to.

        Returns:
            Images, and labels: as given, or shares of classes ``(B, classes)`` of mixed images.
        """
        ready = self(images, mean, std, stream=stream, epoch=epoch, batch=batch)
        if not self._mixing or stream == ARCH:
            return ready, labels
        with seeded(self._seed_of(stream, epoch, batch) ^ 0x317, ready.device):  # apart from those of the transforms
            return self._mixing(ready, labels)
