"""The space of 64 cells in which weight sharing was put under the microscope."""

from functools import cached_property

from sparsenas.errors import GenotypeError
from sparsenas.spaces.base import SearchSpace
from sparsenas.spaces.genotype import Genotype
from sparsenas.spaces.topology import Block, complete_block

#: The four primitives in the order of the digits 1 to 4. The paper calls the last one a 3x3 dilated convolution; the
#: released code has ``dil_conv_5x5``, and the published accuracies were measured with it.
WEIGHT_SHARING64_PRIMITIVES = ("max_pool_3x3", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_5x5")


class WeightSharing64Space(SearchSpace):
    """Cells of two computed nodes with one of four primitives on each of the edges (0,1), (0,2) and (1,2).

    A cell is written as three digits 1 to 4, one per edge in that order.

    Source: Zhang et al., Deeper Insights into Weight Sharing in Neural Architecture Search (2020).
    """

    name = "weight_sharing64"
    cell_types = ("normal",)
    num_inputs = 1
    inputs_per_node = 3
    distinct_edges = True
    primitives = WEIGHT_SHARING64_PRIMITIVES

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The block of the whole cell: 12 candidates, of which 3 on distinct edges are kept."""
        return (complete_block("normal", 3, self.primitives),)

    def from_string(self, text: str) -> Genotype:
        """Read a three-digit label, e.g. ``"434"``, or raise a ``GenotypeError`` if the text is not one."""
        if len(text) != 3 or not set(text) <= set("1234"):
            raise GenotypeError(f"{text!r} is no label of a cell; expected three digits 1 to 4, e.g. '434'")
        return self.genotype((tuple(4 * edge + int(digit) - 1 for edge, digit in enumerate(text)),))

    def to_string(self, genotype: Genotype) -> str:
        """Write the three-digit label of a genotype, the inverse of :meth:`from_string`."""
        (kept,) = self.support(genotype)
        return "".join(str(index % 4 + 1) for index in kept)
