"""Size and norms of a network, apart from its architecture."""

from dataclasses import dataclass
from typing import TypedDict

from sparsenas.networks.heads import StemName
from sparsenas.networks.normalisation import NormOptions


class NetworkArguments(TypedDict):
    """Arguments that super-nets and derived nets share."""

    channels: int
    cells: int
    stem: StemName
    norms: NormOptions


@dataclass(frozen=True)
class NetworkConfig:
    """Size and norms of a network: everything but its architecture, its images and its classes.

    Attributes:
        channels: Width; its unit depends on the space, in most the nodes of the first cell.
        cells: Number of cells.
        stem: Kind of stem, where the space has several.
        norms: Batch-norm options of the cells; ``None`` takes those that suit the searcher or the training.
    """

    channels: int = 16
    cells: int = 8
    stem: StemName = "cifar"
    norms: NormOptions | None = None

    def arguments(self, norms: NormOptions) -> NetworkArguments:
        """Make the arguments of a network's constructor; ``norms`` are for a config without norms."""
        return NetworkArguments(
            channels=self.channels, cells=self.cells, stem=self.stem, norms=norms if self.norms is None else self.norms
        )
