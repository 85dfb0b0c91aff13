"""Samplings: which support trains the weights."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from sparsenas.errors import ConfigError
from sparsenas.search.ista_nas.architecture import CompressedArchitecture
from sparsenas.spaces import Support


class Sampling(ABC):
    """Draws the support for one weights step."""

    @abstractmethod
    def draw(self, architecture: CompressedArchitecture, progress: float, rng: np.random.Generator) -> Support:
        """A support.

        Args:
            architecture: Holds the support last recovered, and knows how to draw others.
            progress: Share of the search after warm-up that is done, in [0, 1].
            rng: Source of all draws.
        """


@dataclass(frozen=True)
class RecoveredSampling(Sampling):
    """Always the recovered support: the official choice. What is not recovered is never trained."""

    def draw(self, architecture: CompressedArchitecture, progress: float, rng: np.random.Generator) -> Support:
        """See :class:`Sampling`."""
        return architecture.support


@dataclass(frozen=True)
class UniformSampling(Sampling):
    """Always a uniform draw from the space: single-path training of the super-net."""

    def draw(self, architecture: CompressedArchitecture, progress: float, rng: np.random.Generator) -> Support:
        """See :class:`Sampling`."""
        return architecture.draw(rng)


@dataclass(frozen=True)
class MixtureSampling(Sampling):
    """A uniform draw with a probability that moves linearly over the search; else the recovered support.

    Attributes:
        uniform_start: Probability of a uniform draw when warm-up ends.
        uniform_end: Probability of a uniform draw when the search ends.

    Raises:
        ConfigError: If a probability is outside [0, 1].
    """

    uniform_start: float = 0.75
    uniform_end: float = 0.25

    def __post_init__(self) -> None:
        """Check the probabilities."""
        _check_probabilities(uniform_start=self.uniform_start, uniform_end=self.uniform_end)

    def draw(self, architecture: CompressedArchitecture, progress: float, rng: np.random.Generator) -> Support:
        """See :class:`Sampling`."""
        uniform = self.uniform_start + (self.uniform_end - self.uniform_start) * progress
        return architecture.draw(rng) if rng.random() < uniform else architecture.support


@dataclass(frozen=True)
class NearbySampling(Sampling):
    """The recovered support, each block replaced by a uniform draw with a probability that moves linearly.

    Candidates are tried in the company of what has been found, so most operations of a batch belong to the recovered
    architecture and go on training, while every batch still compares some of them with others.

    Attributes:
        spread_start: Probability with which a block is drawn anew when warm-up ends.
        spread_end: The same when the search ends.

    Raises:
        ConfigError: If a probability is outside [0, 1].
    """

    spread_start: float = 1.0
    spread_end: float = 0.0

    def __post_init__(self) -> None:
        """Check the probabilities."""
        _check_probabilities(spread_start=self.spread_start, spread_end=self.spread_end)

    def draw(self, architecture: CompressedArchitecture, progress: float, rng: np.random.Generator) -> Support:
        """See :class:`Sampling`."""
        spread = self.spread_start + (self.spread_end - self.spread_start) * progress
        blocks = zip(architecture.support, architecture.draw(rng), strict=True)
        return tuple(new if rng.random() < spread else old for old, new in blocks)


def _check_probabilities(**options: float) -> None:
    for name, value in options.items():
        if not 0.0 <= value <= 1.0:
            raise ConfigError(f"sampling.{name} is {value}; a probability lies in [0, 1]")
