"""Statistics from one pass over images: mean and deviation, and small copies of some."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sparsenas.data.loading import BatchDataset, Draw
from sparsenas.data.names import Indices
from sparsenas.errors import ConfigError, DataError

#: One value per channel.
PerChannel = tuple[float, ...]
#: Side of a thumbnail, and most thumbnails: enough to tell classes apart by a linear classifier in a tenth of a second.
SIDE, MOST = 8, 2000


class Look(NamedTuple):
    """Result of a pass over images.

    Attributes:
        mean: Mean per channel of images scaled to [0, 1].
        std: Population deviation per channel.
        thumbnails: Some images averaged down, ``(M, C, 8, 8)`` float32, in their order.
        labels: Their classes, ``(M,)``; of images of several the rarest.
    """

    mean: PerChannel
    std: PerChannel
    thumbnails: Tensor
    labels: NDArray[np.int64]


def look_at(
    dataset: BatchDataset,
    indices: Indices,
    labels: NDArray[np.int64],
    sample: int | None = None,
    batch_size: int = 1000,
) -> Look:
    """Compute mean and deviation of images, and thumbnails of about as many of each class, reading each image once.

    Mean and deviation are exact: the 256 values of each channel are counted, ``batch_size`` images at a time.

    Args:
        dataset: Reads the images.
        indices: Their positions.
        labels: Their classes, of the same length.
        sample: Most images to read, evenly spaced; ``None`` for all.
        batch_size: Images that are in memory together.
    """
    if sample is not None:
        step = -(-len(indices) // sample)
        indices, labels = indices[::step], labels[::step]
    shown = _some_of_each(labels, MOST)
    counts = torch.zeros(1, 256, dtype=torch.float64)
    thumbnails = []
    for start in range(0, len(indices), batch_size):
        images, _ = dataset[Draw(indices[start : start + batch_size])]
        counts = counts + torch.stack([c.flatten().bincount(minlength=256) for c in images.unbind(1)])  # (C, 256)
        kept = images[torch.from_numpy(shown[start : start + batch_size])]
        # a few at a time: as float32 they are four times as large
        thumbnails += [functional.adaptive_avg_pool2d(some.float(), SIDE) for some in torch.split(kept, 64)]
    share = counts / counts.sum(1, keepdim=True)
    values = torch.linspace(0, 1, 256, dtype=torch.float64)
    mean = share @ values
    deviation = (share @ values.square() - mean.square()).clamp(min=0).sqrt()
    # A constant channel has deviation 0; one grey level keeps the division finite.
    std = deviation.clamp(min=1 / 255)
    return Look(tuple(mean.tolist()), tuple(std.tolist()), torch.cat(thumbnails), labels[shown])


def _some_of_each(labels: NDArray[np.int64], most: int) -> NDArray[np.bool_]:
    """Choose at most ``most`` images, evenly spaced in each class; shape ``(N,)``."""
    classes = np.unique(labels)
    quota = max(most // len(classes), 2)  # one to learn from, one to test
    chosen = np.zeros(len(labels), dtype=bool)
    for label in classes:
        members = np.flatnonzero(labels == label)
        chosen[members[np.linspace(0, len(members) - 1, min(quota, len(members))).astype(int)]] = True
    return chosen


def check_varied(dataset: BatchDataset, indices: Indices, where: str, sample: int = 16) -> None:
    """Check that not all images are alike: a fault of reading or of the files, with which nothing can be learned.

    Raises:
        DataError: If ``sample`` of them, evenly spaced, have the same pixels.
    """
    chosen = indices[:: -(-len(indices) // sample)]
    images, _ = dataset[Draw(chosen)]
    if len(images) > 1 and bool((images == images[0]).all()):
        raise DataError(
            f"{where}: {len(images)} training images that were looked at have the same pixels (values "
            f"{int(images.min())} to {int(images.max())}); look at the files"
        )


def check_statistics(mean: PerChannel | None, std: PerChannel | None, channels: int) -> None:
    """Check mean and deviation given by a user.

    Raises:
        ConfigError: If only one is given, a length differs from the channels, or a deviation is not positive.
    """
    if (mean is None) != (std is None):
        raise ConfigError("data.mean and data.std belong together; give both or neither")
    for option, values in (("mean", mean), ("std", std)):
        if values is not None and len(values) != channels:
            raise ConfigError(f"data.{option} has {len(values)} values; the images have {channels} channels")
    if std is not None and min(std) <= 0:
        raise ConfigError(f"data.std is {list(std)}; every deviation must be above 0 (of images scaled to [0, 1])")
