"""What can be measured of an architecture without training it, and without knowing how good it is."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from sparsenas.complexity import live_support
from sparsenas.errors import ConfigError
from sparsenas.search.measuring.bench import Bench
from sparsenas.spaces import Support
from sparsenas.zero_cost import ZeroCostScore


class Measurement(ABC):
    """A number for an architecture, more is better."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Short text for reports."""

    @abstractmethod
    def __call__(self, support: Support, bench: Bench, repeat: int) -> float:
        """Measure an architecture.

        Args:
            support: The architecture.
            bench: What it is measured with.
            repeat: Which of several independent measurements of the same.

        Returns:
            The number; ``-inf`` for an architecture that fails. Never NaN.
        """

    @property
    def repeatable(self) -> bool:
        """Whether another repeat measures anything new."""
        return True

    @property
    def batches(self) -> int:
        """Batches that a repeat reads."""
        return 1

    @property
    def least_images(self) -> int:
        """Images that a batch must have."""
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
class Untrained(Measurement):
    """A training-free score of the network with new weights.

    Attributes:
        score: The score.
        pixels: Images are averaged down to so many pixels a side; ``None`` for as they are.
        images: How many; a batch has at least as many.

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
        """See :class:`Measurement`."""
        return type(self.score).__name__

    @property
    def least_images(self) -> int:
        """See :class:`Measurement`."""
        return self.images

    def __call__(self, support: Support, bench: Bench, repeat: int) -> float:
        """See :class:`Measurement`.

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
class SharedWeights(Measurement):
    """How good an architecture is with the weights that a super-net shares, on images held out for that.

    A signal of :class:`~sparsenas.search.SinglePathSearch` only; its ``criterion`` says whether it is loss or accuracy.
    """

    @property
    def name(self) -> str:
        """See :class:`Measurement`."""
        return "shared weights"

    @property
    def repeatable(self) -> bool:
        """See :class:`Measurement`."""
        return False

    def __call__(self, support: Support, bench: Bench, repeat: int) -> float:
        """See :class:`Measurement`.

        Raises:
            ConfigError: If there is no super-net.
        """
        if bench.shared is None:
            raise ConfigError(
                "measuring.signals has SharedWeights, but no super-net is trained here: use it in "
                "SinglePathSearch.measuring"
            )
        score = bench.shared(support)
        return -np.inf if np.isnan(score) else score


@dataclass(frozen=True)
class LiveCost(Measurement):
    """The trivial opinion that more is better: what the network costs, without what lies on no path.

    Attributes:
        unit: What is counted.
    """

    unit: Literal["parameters", "multiply_adds"] = "parameters"

    @property
    def name(self) -> str:
        """See :class:`Measurement`."""
        return f"live {self.unit.replace('_', '-')}"

    @property
    def repeatable(self) -> bool:
        """See :class:`Measurement`."""
        return False

    def __call__(self, support: Support, bench: Bench, repeat: int) -> float:
        """See :class:`Measurement`."""
        rows = zip(getattr(bench.costs, self.unit), live_support(bench.space, support), strict=True)
        return float(sum(row[index] for row, kept in rows for index in kept))
