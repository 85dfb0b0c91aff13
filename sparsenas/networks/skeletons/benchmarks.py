"""Networks of the published benchmarks."""

from collections.abc import Iterator
from itertools import pairwise

from torch import nn

from sparsenas.networks.cell import Cell
from sparsenas.networks.heads import PlainStem, Stem, StemName
from sparsenas.networks.normalisation import NormOptions
from sparsenas.networks.operations import (
    Operation,
    layer_operation,
    make_operation,
    relu_conv_norm,
    residual_reduction,
)
from sparsenas.networks.skeletons.base import Held, Skeleton
from sparsenas.networks.skeletons.darts import reduction_positions
from sparsenas.spaces import (
    Candidate,
    Genotype,
    NasBench201Space,
    NasBenchMacroSpace,
    SearchSpace,
    WeightSharing64Space,
)


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
