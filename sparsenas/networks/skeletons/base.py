"""The base of all skeletons: everything around the operations of a space, from the image to the logits."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

from torch import nn

from sparsenas.errors import BudgetError, ConfigError
from sparsenas.networks.cell import Cell
from sparsenas.networks.heads import PlainStem, Stem, StemName
from sparsenas.networks.normalisation import NormOptions
from sparsenas.spaces import Candidate, Genotype

#: Candidates by cell type.
Held = Mapping[str, Sequence[Candidate]]


def reduction_positions(cells: int) -> frozenset[int]:
    """Return the positions of the reductions: after one and after two thirds of the depth, as in DARTS."""
    return frozenset({cells // 3, 2 * cells // 3})


class Skeleton(ABC):
    """Builder of the networks of a space.

    It makes everything in the order in which it runs, so that random draws do not depend on the caller.

    Attributes:
        cell_types: Cell types whose candidates are needed.
        num_inputs: Inputs of a cell: the outputs of as many cells before.
        concatenates: Concatenate a cell's computed nodes to its output; else the output is the last node.
        has_stems: True for several kinds of stem.
        has_auxiliary: True if an auxiliary classifier can be built.
        has_partial: True if operations can work on a part of the channels.
        has_node_operations: True if a node's operations can run on a sum of its sources.
        single_path: True if every operation is the only way through the network, so that none may be dropped.
        layers: The only possible number of cells; ``None`` where any will do.
    """

    cell_types: tuple[str, ...] = ("normal",)
    num_inputs: int = 1
    concatenates: bool
    has_stems: bool = False
    has_auxiliary: bool = False
    has_partial: bool = False
    has_node_operations: bool = False
    single_path: bool = False
    layers: int | None = None

    @abstractmethod
    def check(self, genotype: Genotype) -> None:
        """Raise a ``GenotypeError`` unless a network can be built of a genotype."""

    def holding(self, held: Held) -> "Skeleton":
        """Return the skeleton of networks that hold some candidates: another one where those decide its parts."""
        del held
        return self

    def count(self, cells: int | None) -> int:
        """Return the number of cells of a network; ``None`` asks for that of the space.

        Raises:
            ConfigError: If the space has no number of its own, or it is another one.
        """
        if cells is None and self.layers is None:
            raise ConfigError("network.cells is null, but networks of this space have any number of cells: give it")
        if self.layers not in (None, cells) and cells is not None:
            raise ConfigError(f"network.cells is {cells}; networks of this space have {self.layers}: set it to null")
        return cells or self.layers or 0

    def types(self, cells: int) -> tuple[str, ...]:
        """Return the type of each cell of a network of :meth:`count` cells."""
        return ("normal",) * cells

    def reductions(self, cells: int) -> int:
        """Count the halvings of the resolution behind the stem."""
        return 0

    @abstractmethod
    def stem(self, name: StemName, image_channels: int, channels: int) -> Stem | PlainStem:
        """Make the stem; ``name`` is read if there are several kinds."""

    @abstractmethod
    def cells(
        self, held: Held, cells: int, stem: Stem | PlainStem, channels: int, norms: NormOptions, partial: int
    ) -> Iterator[Cell]:
        """Make the cells, one by one; their operations work on one in ``partial`` channels, see :class:`Cell`."""

    def neck(self, in_channels: int, channels: int, norms: NormOptions) -> tuple[nn.Sequential | None, int]:
        """Make the part between the last cell and the pooling, if any; return it and the channels behind it."""
        return None, in_channels


def check_resolution(height: int, width: int, reductions: int, downscale: int = 1, stem: str = "cifar") -> None:
    """Check that the last cell still sees 2x2 pixels: 3x3 primitives on one pixel are 1x1 convolutions.

    Raises:
        BudgetError: If it does not.
    """
    factor = downscale * 2**reductions
    if min(height, width) < 2 * factor:
        raise BudgetError(
            f"images are {height}x{width}, but the {stem} stem and {reductions} reductions divide by {factor} and the "
            f"last cell needs 2x2: use images of at least {2 * factor}x{2 * factor}"
            + (", or the stem 'small' or 'cifar'" if stem == "imagenet" else "")
        )
