"""Limits of a network, and the width that fills them."""

import math
from dataclasses import dataclass, fields, replace
from functools import lru_cache

from sparsenas.complexity import Complexity, network_cost
from sparsenas.errors import BudgetError, ConfigError
from sparsenas.latency import changed, read_layer_times
from sparsenas.networks import CHANNEL_GRID, NetworkConfig
from sparsenas.spaces import Genotype, StageSpace

#: Steps of the channel grid beyond which a network is a mistake.
WIDEST = 2**13


def smaller(space: str, by_images: object = True) -> str:
    """Name the options that make the networks of a space smaller.

    Args:
        space: Name of the space.
        by_images: True for limits of MACs or milliseconds, which smaller images lower, too.
    """
    ways = {
        StageSpace.name: "lower network.channels, space.stages or space.layers, of a training take a smaller genotype",
        "darts": "lower network.channels or network.cells, or set network.stem to small",
    }
    way = ways.get(space, "lower network.channels, or network.cells where the space leaves their number open")
    return f"{way}{', or lower data.size' if by_images else ''}"


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
        max_latency_ms: Most milliseconds by the latency table.
        latency_table: File of ``python -m sparsenas latency``. Where a width fills the budget, it holds times of layers
            (:class:`~sparsenas.latency.LayerTimes`); where a search keeps the budget, times of the candidates of
            its super-net (:class:`~sparsenas.latency.LatencyTable`).

    Raises:
        ConfigError: If a limit is not positive, or only one of ``max_latency_ms`` and ``latency_table`` is set.
    """

    max_params: float | None = None
    max_macs: float | None = None
    max_latency_ms: float | None = None
    latency_table: str | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("max_params", "max_macs", "max_latency_ms"):
            check_limit(name, getattr(self, name))
        if (self.max_latency_ms is None) != (self.latency_table is None):
            raise ConfigError(
                f"budget.max_latency_ms is {self.max_latency_ms} and budget.latency_table is {self.latency_table}; a "
                "limit needs a table, and a table a limit"
            )

    def __str__(self) -> str:
        """Say what is set."""
        given = {option.name: getattr(self, option.name) for option in fields(self)}
        return ", ".join(
            f"{name} {value:,.10g}" if isinstance(value, (int, float)) else f"{name} {value}"
            for name, value in given.items()
            if value
        )

    def allow(self, cost: Complexity, milliseconds: float = 0.0) -> bool:
        """True if a network of this cost keeps the limits."""
        return (
            (self.max_params is None or cost.parameters <= self.max_params)
            and (self.max_macs is None or cost.macs <= self.max_macs)
            and (self.max_latency_ms is None or milliseconds <= self.max_latency_ms)
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
            ConfigError: If there is no limit, or the table cannot tell its time; a ``BudgetError`` if the narrowest
                network breaks a limit, or the images are too small for it.
        """
        if self._unlimited:
            raise ConfigError(
                "network.channels is null, which asks for the width that fills the budget, but there is no budget: set "
                "budget.max_params, max_macs or max_latency_ms, or give network.channels"
            )
        limits = Limits(**{field.name: getattr(self, field.name) for field in fields(Limits)})
        written = 0 if self.latency_table is None else changed(self.latency_table)
        return _filled(limits, genotype, image_shape, num_classes, config, written)

    def sized(
        self, genotype: Genotype, image_shape: tuple[int, int, int], num_classes: int, config: NetworkConfig
    ) -> NetworkConfig:
        """Return a config with the width that fills the budget if it has none; arguments of :meth:`fill`.

        Raises:
            ConfigError: If the network breaks a limit.
        """
        if config.channels is None:
            return replace(config, channels=self.fill(genotype, image_shape, num_classes, config))
        if not self._unlimited:
            cost = self.cost(genotype, image_shape, num_classes, config)
            if not self.allow(*cost):
                raise ConfigError(
                    f"budget: with network.channels {config.channels} {self.compared(*cost)}: set network.channels to "
                    "null for the width that fills the budget"
                )
        return config

    def cost(
        self, genotype: Genotype, image_shape: tuple[int, int, int], num_classes: int, config: NetworkConfig
    ) -> tuple[Complexity, float]:
        """Compute the cost and the milliseconds of a network of a given width; without a table 0 milliseconds.

        Raises:
            ConfigError: If there is no such network, or the table cannot tell its time.
        """
        channels = config.channels or CHANNEL_GRID
        size = network_cost(genotype, image_shape, num_classes, channels, config)
        if self.latency_table is None:
            return size, 0.0
        if genotype.space != StageSpace.name:
            raise ConfigError(
                f"budget.max_latency_ms: times at any width are known of the space {StageSpace.name!r} only, and the "
                f"genotype is of {genotype.space!r}: limit max_params or max_macs"
            )
        table = read_layer_times(self.latency_table)
        return size, table.latency(genotype, image_shape, num_classes, channels)

    def compared(self, cost: Complexity, milliseconds: float) -> str:
        """Say what a network has, and what is allowed."""
        takes = "" if self.max_latency_ms is None else f", and takes {milliseconds:.3g} ms"
        most = "" if self.max_latency_ms is None else f", and {self.max_latency_ms:g} ms"
        return (
            f"the network needs {cost.parameters:,} parameters and {cost.macs:,} MACs{takes}; allowed are "
            f"{_text(self.max_params)} and {_text(self.max_macs)}{most}"
        )

    @property
    def _unlimited(self) -> bool:
        return (self.max_params, self.max_macs, self.max_latency_ms) == (None, None, None)


@lru_cache(maxsize=65536)
def _filled(
    limits: Limits,
    genotype: Genotype,
    image_shape: tuple[int, int, int],
    num_classes: int,
    config: NetworkConfig,
    written: int,
) -> int:
    """See :meth:`Limits.fill`; ``written`` is the time of the table. Costs grow with the width: bisection finds it."""

    def cost(steps: int) -> tuple[Complexity, float]:
        return limits.cost(genotype, image_shape, num_classes, replace(config, channels=steps * CHANNEL_GRID))

    if not limits.allow(*(narrowest := cost(1))):
        raise BudgetError(
            f"budget: at its smallest width, {CHANNEL_GRID}, {limits.compared(*narrowest)}: raise the budget, or "
            f"{smaller(genotype.space, limits.max_macs or limits.max_latency_ms)}"
        )
    fits, breaks = 1, 2
    while limits.allow(*cost(breaks)):
        if breaks > WIDEST:
            raise ConfigError(
                f"budget: it allows more than {WIDEST * CHANNEL_GRID:,} channels, so it limits nothing: "
                f"{limits.compared(*cost(breaks))}; lower it, or measure the latency table anew"
            )
        fits, breaks = breaks, 2 * breaks
    while breaks - fits > 1:
        middle = (fits + breaks) // 2
        fits, breaks = (middle, breaks) if limits.allow(*cost(middle)) else (fits, middle)
    return fits * CHANNEL_GRID


def _text(limit: float | None) -> str:
    return "any" if limit is None else f"{limit:,.0f}"
