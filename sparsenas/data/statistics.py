"""Mean and deviation of a set of images."""

import torch

from sparsenas.data.loading import BatchDataset, Draw
from sparsenas.data.split import Indices
from sparsenas.errors import ConfigError

#: One value per channel.
PerChannel = tuple[float, ...]


def channel_statistics(
    dataset: BatchDataset, indices: Indices, sample: int | None = None, batch_size: int = 1000
) -> tuple[PerChannel, PerChannel]:
    """Mean and population deviation per channel of images scaled to [0, 1].

    Exact: the 256 values of each channel are counted, no image is held as floats.

    Args:
        dataset: Where the images are.
        indices: Which of them, shape ``(N,)``.
        sample: At most so many images, evenly spaced in ``indices``; ``None`` for all.
        batch_size: Images read at a time.
    """
    if sample is not None:
        indices = indices[:: -(-len(indices) // sample)]
    counts: torch.Tensor | None = None  # (C, 256)
    for start in range(0, len(indices), batch_size):
        images, _ = dataset[Draw(indices[start : start + batch_size])]
        batch = torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in images.unbind(1)])
        counts = batch if counts is None else counts + batch
    if counts is None:
        raise ValueError("channel_statistics needs at least one image")
    share = counts.double() / counts.sum(1, keepdim=True)
    values = torch.linspace(0, 1, 256, dtype=torch.float64)
    mean = share @ values
    deviation = (share @ values.square() - mean.square()).clamp(min=0).sqrt()
    # A channel that is the same everywhere has deviation 0; one grey level keeps the division finite.
    return tuple(mean.tolist()), tuple(deviation.clamp(min=1 / 255).tolist())


def check_statistics(mean: PerChannel | None, std: PerChannel | None, channels: int) -> None:
    """Check statistics a user gave.

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
