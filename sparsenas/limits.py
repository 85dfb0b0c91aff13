"""Limits of a network, and the width that fills them."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

from sparsenas.complexity import Complexity, network_cost
from sparsenas.errors import ConfigError
from sparsenas.networks import CHANNEL_GRID, NetworkConfig
from sparsenas.spaces import Genotype


def check_limit(name: str, limit: float | None) -> None:
    """Raise a ``ConfigError`` unless a limit of the budget is positive, or there is none."""
    if limit is not None and not (limit > 0 and math.isfinite(limit)):
        raise ConfigError(f"budget.{name} is {limit}; use a positive number, or null for no limit")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of the cost of a network.

    Attributes:
        max_params: Most parameters, auxiliary head not counted.
        max_macs: Most multiply-accumulates (MACs) of one image; the field's tables call them FLOPs.

    Raises:
        ConfigError: If a limit is not positive.
    """

    max_params: float | None = None
    max_macs: float | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("max_params", "max_macs"):
            check_limit(name, getattr(self, name))

    def allow(self, cost: Complexity) -> bool:
        """True if a network of this cost keeps the limits."""
        return (self.max_params is None or cost.parameters <= self.max_params) and (
            self.max_macs is None or cost.macs <= self.max_macs
        )

    def fill(
        self,
        genotype: Genotype,
        image_shape: tuple[int, int, int],
        num_classes: int,
        config: NetworkConfig = NetworkConfig(cells=None),
    ) -> int:
        """Find the largest width on the channel grid at which a network keeps the limits.

        Args:
            genotype: Architecture.
            image_shape: ``(C, H, W)`` of the images.
            num_classes: Number of classes.
            config: Size apart from the width.

        Raises:
            ConfigError: If there is no limit, or the narrowest network breaks one.
        """
        if self.max_params is None and self.max_macs is None:
            raise ConfigError(
                "network.channels is null, which asks for the width that fills the budget, but there is no budget: set "
                "budget.max_params or budget.max_macs, or give network.channels"
            )
        limits = Limits(max_params=self.max_params, max_macs=self.max_macs)
        return _filled(limits, genotype, image_shape, num_classes, config)

    def sized(
        self, genotype: Genotype, image_shape: tuple[int, int, int], num_classes: int, config: NetworkConfig
    ) -> NetworkConfig:
        """Return a config with the width that fills the budget if it has none; arguments of :meth:`fill`.

        Raises:
            ConfigError: If the network breaks a limit.
        """
        if config.channels is None:
            return replace(config, channels=self.fill(genotype, image_shape, num_classes, config))
        if (self.max_params, self.max_macs) != (None, None):
            cost = network_cost(genotype, image_shape, num_classes, config.channels, config)
            if not self.allow(cost):
                raise ConfigError(
                    f"budget: with network.channels {config.channels} the network has {cost.parameters:,} parameters "
                    f"and {cost.macs:,} MACs; allowed are {_text(self.max_params)} and {_text(self.max_macs)}: set "
                    "network.channels to null for the width that fills the budget"
                )
        return config


@lru_cache(maxsize=65536)
def _filled(
    limits: Limits, genotype: Genotype, image_shape: tuple[int, int, int], num_classes: int, config: NetworkConfig
) -> int:
    """See :meth:`Limits.fill`. Costs grow with the width, so it is found by bisection."""

    def cost(steps: int) -> Complexity:
        return network_cost(genotype, image_shape, num_classes, steps * CHANNEL_GRID, config)

    if not limits.allow(narrowest := cost(1)):
        raise ConfigError(
            f"budget: the network needs {narrowest.parameters:,} parameters and {narrowest.macs:,} MACs even at its "
            f"smallest width, {CHANNEL_GRID}; allowed are {_text(limits.max_params)} and {_text(limits.max_macs)}: "
            "raise the budget, or take a shallower network or smaller images"
        )
    fits, breaks = 1, 2
    while limits.allow(cost(breaks)):
        fits, breaks = breaks, 2 * breaks
    while breaks - fits > 1:
        middle = (fits + breaks) // 2
        fits, breaks = (middle, breaks) if limits.allow(cost(middle)) else (fits, middle)
    return fits * CHANNEL_GRID


def _text(limit: float | None) -> str:
    return "any" if limit is None else f"{limit:,.0f}"
