"""Samplings: which support trains the weights."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from sparsenas.errors import ConfigError
from sparsenas.spaces import SearchSpace, Support


class Sampling(ABC):
    """Draws the support for one weights step."""

    @abstractmethod
    def draw(self, space: SearchSpace, recovered: Support, progress: float, rng: np.random.Generator) -> Support:
        """A support.

        Args:
            space: Search space.
            recovered: The support last recovered.
            progress: Share of the search after warm-up that is done, in [0, 1].
            rng: Source of all draws.
        """


@dataclass(frozen=True)
class RecoveredSampling(Sampling):
    """Always the recovered support: the official choice. What is not recovered is never trained."""

    def draw(self, space: SearchSpace, recovered: Support, progress: float, rng: np.random.Generator) -> Support:
        """See :class:`Sampling`."""
        return recovered


@dataclass(frozen=True)
class UniformSampling(Sampling):
    """Always a uniform draw from the space: single-path training of the super-net."""

    def draw(self, space: SearchSpace, recovered: Support, progress: float, rng: np.random.Generator) -> Support:
        """See :class:`Sampling`."""
        return space.sample_support(rng)


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
        for name in ("uniform_start", "uniform_end"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"sampling.{name} is {getattr(self, name)}; a probability lies in [0, 1]")

    def draw(self, space: SearchSpace, recovered: Support, progress: float, rng: np.random.Generator) -> Support:
        """See :class:`Sampling`."""
        uniform = self.uniform_start + (self.uniform_end - self.uniform_start) * progress
        return space.sample_support(rng) if rng.random() < uniform else recovered
