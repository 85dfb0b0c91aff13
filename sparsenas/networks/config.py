"""Size and norms of a network, apart from its architecture."""

from dataclasses import dataclass
from typing import TypedDict

from sparsenas.errors import ConfigError
from sparsenas.networks.heads import StemName
from sparsenas.networks.normalisation import NormOptions


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
    """

    channels: int | None = 16
    cells: int | None = 8
    stem: StemName = "cifar"
    norms: NormOptions | None = None

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
