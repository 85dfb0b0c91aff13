"""Size and norms of a network, apart from its architecture."""

from dataclasses import dataclass
from typing import TypedDict

from sparsenas.errors import ConfigError
from sparsenas.networks.heads import StemName
from sparsenas.networks.normalisation import NormOptions

#: Largest size of a network.
WIDEST, DEEPEST = 2**16, 1000


class NetworkArguments(TypedDict):
    """Arguments that super-nets and derived nets share."""

    channels: int
    cells: int | None
    stem: StemName
    norms: NormOptions


@dataclass(frozen=True)
class NetworkConfig:
    """Size and norms of a network: everything but its architecture, its images and its classes.

    Attributes:
        channels: Width; its unit depends on the space, in most the nodes of the first cell. ``None`` fills the budget,
            where one network is trained.
        cells: Number of cells; ``None`` where the space has one of its own.
        stem: Kind of stem, where the space has several.
        norms: Batch-norm options of the cells; ``None`` takes those that suit the searcher or the training.

    Raises:
        ConfigError: If the size is below 1, or larger than any machine could hold.
    """

    channels: int | None = 16
    cells: int | None = 8
    stem: StemName = "cifar"
    norms: NormOptions | None = None

    def __post_init__(self) -> None:
        """Check that the size is one that fits into a machine."""
        for name, value, most in (("channels", self.channels, WIDEST), ("cells", self.cells, DEEPEST)):
            if value is not None and not 1 <= value <= most:
                raise ConfigError(f"network.{name} is {value}; use 1 to {most:,}, or null where nothing is to be given")

    def arguments(self, norms: NormOptions) -> NetworkArguments:
        """Make the arguments of a network's constructor; ``norms`` are for a config without norms.

        Raises:
            ConfigError: If there is no width.
        """
        if self.channels is None:
            raise ConfigError("network.channels is null, but a search has one network for all architectures: give it")
        return NetworkArguments(
            channels=self.channels, cells=self.cells, stem=self.stem, norms=norms if self.norms is None else self.norms
        )
