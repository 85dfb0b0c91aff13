"""Skeletons: everything around the operations of a space, from the image to the logits."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from torch import nn

from sparsenas.errors import ConfigError, GenotypeError
from sparsenas.networks.cell import Cell
from sparsenas.networks.heads import PlainStem, Stem, StemName
from sparsenas.networks.normalisation import NormOptions
from sparsenas.networks.operations import (
    Operation,
    layer_operation,
    make_operation,
    reduce_norm,
    relu_conv_norm,
    residual_reduction,
)
from sparsenas.spaces import (
    Candidate,
    Genotype,
    NasBench201Space,
    NasBenchMacroSpace,
    SearchSpace,
    WeightSharing64Space,
)

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

    def types(self, cells: int) -> tuple[str, ...]:
        """Return the type of each cell of a network, or raise a ``ConfigError`` if it cannot have so many cells."""
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


class DartsSkeleton(Skeleton):
    """Two inputs per cell, matched by 1x1 convolutions; reduction cells at a third and at two thirds of the depth.

    ``cells`` is any number; ``channels`` is the width of the first cell's nodes, doubled at every reduction.

    Source: Liu et al., DARTS (ICLR 2019).
    """

    cell_types = ("normal", "reduce")
    num_inputs = 2
    concatenates = True
    has_stems = True
    has_auxiliary = True
    has_partial = True

    def check(self, genotype: Genotype) -> None:
        """Check that both cells are there, and that their nodes are numbered without gaps."""
        cells = {cell: genotype.cell(cell) for cell in self.cell_types}
        for cell, candidates in cells.items():
            targets = sorted({c.target for c in candidates})
            if targets != list(range(2, 2 + len(targets))):
                raise GenotypeError(
                    f"genotype: the {cell} cell computes nodes {targets}; computed nodes are numbered 2, 3, ... "
                    "without gaps"
                )

    def types(self, cells: int) -> tuple[str, ...]:
        """See :class:`Skeleton`."""
        reductions = reduction_positions(cells)
        return tuple("reduce" if position in reductions else "normal" for position in range(cells))

    def reductions(self, cells: int) -> int:
        """See :class:`Skeleton`."""
        return len(reduction_positions(cells))

    def stem(self, name: StemName, image_channels: int, channels: int) -> Stem:
        """See :class:`Skeleton`."""
        return Stem(name, image_channels, channels)

    def cells(
        self, held: Held, cells: int, stem: Stem | PlainStem, channels: int, norms: NormOptions, partial: int
    ) -> Iterator[Cell]:
        """See :class:`Skeleton`."""
        older, newer = stem.out_channels
        input_reduced = isinstance(stem, Stem) and stem.second is not None
        for cell_type in self.types(cells):
            reduction = cell_type == "reduce"
            channels = channels * 2 if reduction else channels
            match_older = reduce_norm if input_reduced else relu_conv_norm
            preprocess = [match_older(older, channels, norms), relu_conv_norm(newer, channels, norms)]
            operations = {
                c: make_operation(c.primitive, channels // partial, 2 if reduction and c.source < 2 else 1, norms)
                for c in held[cell_type]
            }
            cell = Cell(preprocess, operations, channels, self.concatenates, partial)
            yield cell
            older, newer, input_reduced = newer, cell.out_channels, reduction


class _BenchmarkSkeleton(Skeleton):
    """Base of the skeletons that belong to one fixed space."""

    space: SearchSpace

    def check(self, genotype: Genotype) -> None:
        """Check that the genotype is a member of the space."""
        self.space.validate(genotype)


class NasBench201Skeleton(_BenchmarkSkeleton):
    """Three stages of equal cells; between stages a residual block halves the resolution and doubles the width.

    ``cells`` is the number of cells in all: 15 in the benchmark. The blocks stand before the cells at a third and at
    two thirds of the depth: 3 cells are three stages, 2 are two, and 1 is one. ``channels`` is the width of the first
    stage, 16 in the benchmark. All batch-norms behind the stem follow the options of the cells: their inputs depend on
    the support.

    Source: Dong and Yang, NAS-Bench-201 (ICLR 2020), section 2.1.
    """

    space = NasBench201Space()
    concatenates = False
    has_partial = True
    has_node_operations = True

    def reductions(self, cells: int) -> int:
        """See :class:`Skeleton`."""
        return len(reduction_positions(cells) - {0})

    def stem(self, name: StemName, image_channels: int, channels: int) -> PlainStem:
        """See :class:`Skeleton`."""
        return PlainStem(image_channels, channels)

    def cells(
        self, held: Held, cells: int, stem: Stem | PlainStem, channels: int, norms: NormOptions, partial: int
    ) -> Iterator[Cell]:
        """See :class:`Skeleton`; a block that reduces is the preprocessing of the cell behind it."""
        reductions = reduction_positions(cells) - {0}
        for position in range(cells):
            preprocess: nn.Module = nn.Identity()
            if position in reductions:
                preprocess, channels = residual_reduction(channels, 2 * channels, norms), 2 * channels
            operations = {c: make_operation(c.primitive, channels // partial, 1, norms) for c in held["normal"]}
            yield Cell([preprocess], operations, channels, self.concatenates, partial)

    def neck(self, in_channels: int, channels: int, norms: NormOptions) -> tuple[nn.Sequential, int]:
        """See :class:`Skeleton`."""
        return nn.Sequential(norms.layer(in_channels), nn.ReLU()), in_channels


class WeightSharing64Skeleton(_BenchmarkSkeleton):
    """Equal cells with a 1x1 convolution before them, at the resolution of the image.

    ``cells`` is any number (4 in the publication); ``channels`` is the width of their nodes (16). The publication has
    ``NormOptions(affine=False, append="pools")``.

    Source: Zhang et al., Deeper Insights into Weight Sharing in Neural Architecture Search (2020), as in their code:
    the paper sums the nodes of a cell where the code concatenates them.
    """

    space = WeightSharing64Space()
    concatenates = True
    has_node_operations = True

    def stem(self, name: StemName, image_channels: int, channels: int) -> PlainStem:
        """See :class:`Skeleton`."""
        return PlainStem(image_channels, 3 * channels, depth=2)

    def cells(
        self, held: Held, cells: int, stem: Stem | PlainStem, channels: int, norms: NormOptions, partial: int
    ) -> Iterator[Cell]:
        """See :class:`Skeleton`."""
        (newer,) = stem.out_channels
        for _ in range(cells):
            preprocess = relu_conv_norm(newer, channels, norms)
            operations = {c: make_operation(c.primitive, channels, 1, norms) for c in held["normal"]}
            cell = Cell([preprocess], operations, channels, self.concatenates)
            yield cell
            newer = cell.out_channels


class NasBenchMacroSkeleton(_BenchmarkSkeleton):
    """Chain of layers; the first of each of three stages halves the resolution and doubles the width.

    ``cells`` is the number of layers, 8. ``channels`` is the width of the stem, 32 in the benchmark. Layers have 2, 4
    and 8 times as many, and the convolution before the classifier 40 times.

    Source: Su et al., Prioritized Architecture Sampling with Monto-Carlo Tree Search (CVPR 2021), and its code.
    """

    space = NasBenchMacroSpace()
    cell_types = space.cell_types
    concatenates = False
    single_path = True
    layers = space.layers
    #: Layers that halve the resolution.
    halving = (0, 2, 5)

    def types(self, cells: int) -> tuple[str, ...]:
        """See :class:`Skeleton`; the whole chain is one cell."""
        if cells != self.layers:
            raise ConfigError(
                f"cells is {cells}; networks of the space {self.space.name} have {self.layers} layers: use that"
            )
        return self.cell_types

    def reductions(self, cells: int) -> int:
        """See :class:`Skeleton`."""
        return len(self.halving)

    def stem(self, name: StemName, image_channels: int, channels: int) -> PlainStem:
        """See :class:`Skeleton`."""
        return PlainStem(image_channels, channels, relu=True)

    def cells(
        self, held: Held, cells: int, stem: Stem | PlainStem, channels: int, norms: NormOptions, partial: int
    ) -> Iterator[Cell]:
        """See :class:`Skeleton`."""
        widths = [channels * 2 ** sum(layer < node for layer in self.halving) for node in range(cells + 1)]
        sizes = list(pairwise(widths))
        operations: dict[Candidate, Operation] = {
            c: layer_operation(c.primitive, *sizes[c.source], 2 if c.source in self.halving else 1, norms)
            for c in held["chain"]
        }
        yield Cell([nn.Identity()], operations, widths[-1], self.concatenates)

    def neck(self, in_channels: int, channels: int, norms: NormOptions) -> tuple[nn.Sequential, int]:
        """See :class:`Skeleton`."""
        wide = 40 * channels
        return nn.Sequential(nn.Conv2d(in_channels, wide, 1, bias=False), norms.layer(wide), nn.ReLU()), wide


#: Skeletons by the name of their space.
SKELETONS: dict[str, Skeleton] = {
    "darts": DartsSkeleton(),
    "nasbench201": NasBench201Skeleton(),
    "weight_sharing64": WeightSharing64Skeleton(),
    "nasbench_macro": NasBenchMacroSkeleton(),
}


def skeleton_of(space: str) -> Skeleton:
    """Return the skeleton of a space by its name, or raise a ``ConfigError`` if there is none."""
    if space not in SKELETONS:
        raise ConfigError(f"no network is known for the space {space!r}; known are {', '.join(SKELETONS)}")
    return SKELETONS[space]
