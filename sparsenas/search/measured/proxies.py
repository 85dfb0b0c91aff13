"""Proxies: numbers that stand for the quality of an architecture."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from sparsenas.complexity import effective_support
from sparsenas.errors import ConfigError
from sparsenas.search.measured.bench import Bench
from sparsenas.spaces import Support
from sparsenas.zero_cost import ZeroCostScore


class Proxy(ABC):
    """A number for an architecture, more is better.

    Its ``repr`` names its settings: scores on disk are those of proxies of equal ``repr``.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Short text for reports."""

    @abstractmethod
    def __call__(self, support: Support, bench: Bench, repeat: int) -> float:
        """Measure an architecture.

        Args:
            support: The architecture.
            bench: Images and networks to measure with.
            repeat: Number of the measurement, of several independent ones.

        Returns:
            The number; ``-inf`` for an architecture that fails. Never NaN.
        """

    @property
    def repeatable(self) -> bool:
        """True if another repeat measures anything new."""
        return True

    @property
    def batches(self) -> int:
        """Number of batches that a repeat reads."""
        return 1

    @property
    def least_images(self) -> int:
        """Number of images that a batch must have."""
        return 1

    def check(self, images: int) -> None:
        """Check that a batch of so many images is enough.

        Raises:
            ConfigError: If it is not.
        """
        if images < self.least_images:
            raise ConfigError(
                f"{self.name}: images is {self.least_images}, but a batch has {images}: set data.batch_size to at "
                "least as many"
            )


@dataclass(frozen=True)
class ZeroCost(Proxy):
    """A training-free score of the network with new weights.

    Attributes:
        score: The score.
        pixels: Side that images are averaged down to; ``None`` for images as they are.
        images: Number of images; a batch has at least as many.

    Raises:
        ConfigError: If a number is too small.
    """

    score: ZeroCostScore
    pixels: int | None = None
    images: int = 64

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.images < 2 or (self.pixels is not None and self.pixels < 1):
            raise ConfigError(
                f"{self.name}: images is {self.images}, pixels is {self.pixels}; need at least 2 images and 1 pixel"
            )

    @property
    def name(self) -> str:
        """See :class:`Proxy`."""
        return type(self.score).__name__

    @property
    def least_images(self) -> int:
        """See :class:`Proxy`."""
        return self.images

    def __call__(self, support: Support, bench: Bench, repeat: int) -> float:
        """See :class:`Proxy`.

        Raises:
            ConfigError: If a batch has too few images.
        """
        pixels = self.pixels or max(bench.size["image_shape"][1:])
        images, _ = bench.images(repeat, pixels)
        self.check(len(images))
        network = bench.untrained(support, repeat, pixels)
        with torch.enable_grad(), torch.autocast(images.device.type, enabled=False):  # scores need the digits
            return self.score(network, images[: self.images])


@dataclass(frozen=True)
class SharedWeights(Proxy):
    """The score of an architecture with the weights that a super-net shares, on images held out for that.

    A proxy of :class:`~sparsenas.search.SinglePathSearch` only, whose ``criterion`` is the loss or the accuracy.
    """

    @property
    def name(self) -> str:
        """See :class:`Proxy`."""
        return "shared weights"

    @property
    def repeatable(self) -> bool:
        """See :class:`Proxy`."""
        return False

    def __call__(self, support: Support, bench: Bench, repeat: int) -> float:
        """See :class:`Proxy`.

        Raises:
            ConfigError: If there is no super-net.
        """
        if bench.shared is None:
            raise ConfigError(
                "measuring.proxies has SharedWeights, but no super-net is trained here: use it in a MeasuredSelection "
                "of SinglePathSearch"
            )
        score = bench.shared(support)
        return -np.inf if np.isnan(score) else score


@dataclass(frozen=True)
class EffectiveCost(Proxy):
    """The cost of the network without what lies on no path: the trivial opinion that more is better.

    Attributes:
        unit: Unit of the cost.
    """

    unit: Literal["parameters", "macs"] = "parameters"

    @property
    def name(self) -> str:
        """See :class:`Proxy`."""
        return f"effective {'MACs' if self.unit == 'macs' else self.unit}"

    @property
    def repeatable(self) -> bool:
        """See :class:`Proxy`."""
        return False

    def __call__(self, support: Support, bench: Bench, repeat: int) -> float:
        """See :class:`Proxy`."""
        rows = zip(getattr(bench.costs, self.unit), effective_support(bench.space, support), strict=True)
        return float(sum(row[index] for row, kept in rows for index in kept))
