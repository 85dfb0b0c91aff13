"""Mean and deviation of a set of images."""

import torch

from sparsenas.data.loading import BatchDataset, Draw
from sparsenas.data.names import Indices
from sparsenas.errors import ConfigError, DataError

#: One value per channel.
PerChannel = tuple[float, ...]


def channel_statistics(
    dataset: BatchDataset, indices: Indices, sample: int | None = None, batch_size: int = 1000
) -> tuple[PerChannel, PerChannel]:
    """Return mean and population deviation per channel of images scaled to [0, 1].

    Exact: the 256 values of each channel are counted, ``batch_size`` images at a time. ``sample`` limits the number of
    images, evenly spaced in ``indices``.
    """
    if sample is not None:
        indices = indices[:: -(-len(indices) // sample)]
    counts = torch.zeros(1, 256, dtype=torch.float64)
    for start in range(0, len(indices), batch_size):
        images, _ = dataset[Draw(indices[start : start + batch_size])]
        counts = counts + torch.stack([c.flatten().bincount(minlength=256) for c in images.unbind(1)])  # (C, 256)
    share = counts / counts.sum(1, keepdim=True)
    values = torch.linspace(0, 1, 256, dtype=torch.float64)
    mean = share @ values
    deviation = (share @ values.square() - mean.square()).clamp(min=0).sqrt()
    # A constant channel has deviation 0; one grey level keeps the division finite.
    return tuple(mean.tolist()), tuple(deviation.clamp(min=1 / 255).tolist())


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
