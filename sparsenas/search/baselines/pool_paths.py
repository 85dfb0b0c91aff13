"""Samplings from a pool of architectures: all alike, or by their size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsenas.complexity import candidate_costs
from sparsenas.errors import ConfigError
from sparsenas.networks import SuperNet
from sparsenas.search.baselines.distances import describe
from sparsenas.search.baselines.paths import PathDraws, PathSampling, UniformPaths
from sparsenas.spaces import SearchSpace, Support

Floats = NDArray[np.float64]

#: Draws in a row that were there before, after which there is thought to be nothing else.
PATIENCE = 10_000
#: Least probability: draws of 53 bits never fall below it.
LEAST = 2.0**-53


class PoolDraws(PathDraws):
    """Draws of a pool, with replacement.

    Args:
        pool: Architectures.
        probabilities: Their probabilities, shape ``(len(pool),)``.
    """

    def __init__(self, pool: Sequence[Support], probabilities: Floats) -> None:
        self.pool, self.probabilities = tuple(pool), probabilities

    def draw(self, rng: np.random.Generator) -> tuple[Support, ...]:
        """See :class:`PathDraws`."""
        return (self.pool[int(rng.choice(len(self.pool), p=self.probabilities))],)

    def state_dict(self) -> dict[str, Any]:
        """See :class:`PathDraws`."""
        return {"pool": self.pool, "probabilities": self.probabilities.tolist()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :class:`PathDraws`."""
        self.pool, self.probabilities = tuple(state["pool"]), np.array(state["probabilities"])


@dataclass(frozen=True)
class PoolPaths(PathSampling):
    """One path per batch, of a pool that is drawn once: few architectures, with many updates each.

    This is what the released code of EN2AS does: its novelty moves nothing, so that 1,000 normal cells stay, each of
    about 39 updates. NAO begins with such a pool.

    Attributes:
        size: Distinct architectures of the pool; equivalent ones count once where the space can tell.

    Raises:
        ConfigError: If the size is below 1.

    Source: Zhang et al., EN2AS (IJCAI 2020), its code; Luo et al., NAO-V2 (2019).
    """

    size: int = 1000

    def __post_init__(self) -> None:
        """Check the size."""
        if self.size < 1:
            raise ConfigError(f"paths.size is {self.size}; a pool holds at least 1 architecture")

    def begin(self, network: SuperNet, rng: np.random.Generator) -> PoolDraws:
        """See :class:`PathSampling`.

        Raises:
            ConfigError: If the space has fewer architectures than the pool, or the probabilities make no sense.
        """
        return self.over(_drawn_pool(network.space, self.size, self.untrained, rng), network)

    def over(self, pool: Sequence[Support], network: SuperNet) -> PoolDraws:
        """Begin draws of a given pool, of any size, such as the one that a search has come to.

        Raises:
            ConfigError: If the pool is empty, or the probabilities make no sense.
        """
        if not pool:
            raise ConfigError("the pool of paths is empty; give at least 1 architecture")
        return PoolDraws(pool, self.probabilities(pool, network))

    def probabilities(self, pool: Sequence[Support], network: SuperNet) -> Floats:
        """Compute the probability of each architecture of a pool, shape ``(len(pool),)``: all alike."""
        return np.full(len(pool), 1 / len(pool))


@dataclass(frozen=True)
class SizeProportionalPaths(PoolPaths):
    r"""One path per batch, of a pool that is drawn once, with probability :math:`p \propto \text{parameters}^g`.

    Small networks come to their accuracy with fewer updates, so that shared weights rate them too high. Parameters are
    those of the network of each architecture alone, at the size of the super-net.

    Attributes:
        exponent: ``g``; 1 is that of NAO-V2, 0 makes all alike.

    Raises:
        ConfigError: If an option is out of range.

    Source: Luo et al., Understanding and Improving One-shot Neural Architecture Optimization (2019), "NAO-V2".
    """

    exponent: float = 1.0

    def __post_init__(self) -> None:
        """Check size and exponent."""
        super().__post_init__()
        if not isfinite(self.exponent):
            raise ConfigError(f"paths.exponent is {self.exponent}; use a number, such as 1")

    def probabilities(self, pool: Sequence[Support], network: SuperNet) -> Floats:
        """See :meth:`PoolPaths.probabilities`: by the number of parameters.

        Raises:
            ConfigError: If a probability would be 0 or not finite.
        """
        if self.exponent == 0:
            return super().probabilities(pool, network)
        costs = candidate_costs(network)
        parameters = np.array(
            [
                costs.base_parameters
                + sum(row[i] for row, kept in zip(costs.parameters, support, strict=True) for i in kept)
                for support in pool
            ]
        )
        if parameters.min() == 0:
            raise ConfigError(
                f"paths.exponent is {self.exponent}, but a network of the pool has no parameters, so that it would be "
                f"drawn {'never' if self.exponent > 0 else 'always'}; set it to 0"
            )
        with np.errstate(over="ignore", invalid="ignore"):
            logs = self.exponent * np.log(parameters)
            shares: Floats = np.exp(logs - logs.max())
            shares /= shares.sum()
        if not shares.min() >= LEAST:  # nor if it is no number
            raise ConfigError(
                f"paths.exponent is {self.exponent}: of networks of {parameters.min():,} to {parameters.max():,} "
                "parameters, some would never be drawn; use an exponent nearer to 0"
            )
        return shares


def _drawn_pool(
    space: SearchSpace, size: int, untrained: tuple[str, ...], rng: np.random.Generator
) -> tuple[Support, ...]:
    """Draw distinct architectures."""
    pool: dict[int, Support] = {}
    repeated, sampling = 0, UniformPaths(untrained)
    while len(pool) < size:
        (path,) = sampling.paths(space, rng)
        (number,) = describe(space, [path]).classes.tolist()
        repeated = repeated + 1 if number in pool else 0
        pool.setdefault(number, path)
        if repeated > PATIENCE:
            raise ConfigError(
                f"paths.size is {size}, but draws from the space {space.name} find no more than {len(pool)} distinct "
                "architectures: use at most so many"
            )
    return tuple(pool.values())
