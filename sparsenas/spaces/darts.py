"""The DARTS cell space: two cell types, every node fed by two earlier ones."""

from collections.abc import Sequence
from functools import cached_property

from sparsenas.errors import ConfigError
from sparsenas.spaces.base import SearchSpace
from sparsenas.spaces.topology import Block, dense_block

#: The seven primitives in the order of the official ISTA-NAS code; there is no "none".
DARTS_PRIMITIVES = (
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
#: Most nodes of a cell: it has about half the square of them edges, each with all primitives.
MOST_NODES = 32


class DartsSpace(SearchSpace):
    """Cells of ``nodes`` computed nodes; each keeps ``inputs_per_node`` candidates from all earlier nodes.

    Args:
        nodes: Computed nodes per cell; they are numbered from 2.
        primitives: Names of the primitives, in index order.
        inputs_per_node: Candidates that a node keeps, ``s``.
        distinct_edges: Keep them on different edges. The official ISTA-NAS code does not ask for it.

    Raises:
        ConfigError: If a number is too small, or a primitive is named twice.

    Source: Liu et al., DARTS (ICLR 2019), section 2.1; numbering of Yang et al., ISTA-NAS (NeurIPS 2020).
    """

    name = "darts"
    cell_types = ("normal", "reduce")
    num_inputs = 2

    def __init__(
        self,
        nodes: int = 4,
        primitives: Sequence[str] = DARTS_PRIMITIVES,
        inputs_per_node: int = 2,
        distinct_edges: bool = True,
    ) -> None:
        if nodes < 1:
            raise ConfigError(f"space.nodes is {nodes}; a cell needs at least 1 computed node")
        if nodes > MOST_NODES:
            raise ConfigError(f"space.nodes is {nodes}; use at most {MOST_NODES}")
        if not primitives or len(set(primitives)) < len(primitives):
            raise ConfigError(f"space.primitives is {list(primitives)}; name at least one primitive, each once")
        most = self.num_inputs if distinct_edges else self.num_inputs * len(primitives)
        if not 1 <= inputs_per_node <= most:
            raise ConfigError(
                f"space.inputs_per_node is {inputs_per_node}; the first node can keep 1 to {most} candidates"
            )
        self.nodes = nodes
        self.primitives = tuple(primitives)
        self.inputs_per_node = inputs_per_node
        self.distinct_edges = distinct_edges

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """One block per (cell type, node): normal nodes first, then reduction nodes."""
        return tuple(
            dense_block(cell, node, range(node), self.primitives)
            for cell in self.cell_types
            for node in range(self.num_inputs, self.num_inputs + self.nodes)
        )
