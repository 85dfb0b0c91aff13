"""Networks of DARTS cells."""

from collections.abc import Iterator

from sparsenas.errors import GenotypeError
from sparsenas.networks.cell import Cell
from sparsenas.networks.heads import PlainStem, Stem, StemName
from sparsenas.networks.normalisation import NormOptions
from sparsenas.networks.operations import make_operation, reduce_norm, relu_conv_norm
from sparsenas.networks.skeletons.base import Held, Skeleton
from sparsenas.spaces import Genotype


def reduction_positions(cells: int) -> frozenset[int]:
    """Return the positions of the reductions: after one and after two thirds of the depth, as in DARTS."""
    return frozenset({cells // 3, 2 * cells // 3})


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
