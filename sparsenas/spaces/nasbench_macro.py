"""The NAS-Bench-Macro space: a chain of eight layers, each of one of three kinds."""

from functools import cached_property

from sparsenas.errors import GenotypeError
from sparsenas.spaces.base import SearchSpace
from sparsenas.spaces.genotype import Genotype
from sparsenas.spaces.topology import Block, dense_block

#: Kinds of a layer in the order of the digits 0 to 2: nothing, and inverted residual blocks (expansion 3 with a 3x3
#: kernel, expansion 6 with 5x5).
NASBENCH_MACRO_PRIMITIVES = ("identity", "mb3_k3", "mb6_k5")


class NasBenchMacroSpace(SearchSpace):
    """Networks of eight layers in a row: no cell is repeated, so the whole chain is the cell.

    Layer ``i`` leads from node ``i`` to node ``i + 1``. Strides and widths belong to the network, not to the genotype.
    Where a layer halves the resolution, ``identity`` is a 1x1 convolution.

    Source: Su et al., Prioritized Architecture Sampling with Monto-Carlo Tree Search (CVPR 2021).
    """

    name = "nasbench_macro"
    cell_types = ("chain",)
    num_inputs = 1
    inputs_per_node = 1
    distinct_edges = True
    primitives = NASBENCH_MACRO_PRIMITIVES
    layers = 8

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """One block of three candidates per layer."""
        return tuple(dense_block("chain", layer + 1, [layer], self.primitives) for layer in range(self.layers))

    def from_string(self, text: str) -> Genotype:
        """Read an eight-digit string, e.g. ``"22212202"``, or raise a ``GenotypeError`` if the text is not one."""
        if len(text) != self.layers or not set(text) <= set("012"):
            raise GenotypeError(f"{text!r} is no NAS-Bench-Macro network; expected {self.layers} digits 0 to 2")
        return self.genotype(tuple((int(digit),) for digit in text))

    def to_string(self, genotype: Genotype) -> str:
        """Write the eight-digit string of a genotype, the inverse of :meth:`from_string`."""
        return "".join(str(index) for (index,) in self.support(genotype))
