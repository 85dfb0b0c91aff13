"""The DARTS cell space: two cell types, every node fed by two earlier ones."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import combinations
from math import comb

import numpy as np

from sparsenas.errors import ConfigError, GenotypeError
from sparsenas.spaces.base import SearchSpace
from sparsenas.spaces.genotype import Genotype
from sparsenas.spaces.topology import Block, Candidate, Support, dense_block

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


class DartsSpace(SearchSpace):
    """Cells of ``nodes`` computed nodes; each keeps ``inputs_per_node`` candidates from all earlier nodes.

    Args:
        nodes: Computed nodes per cell; they are numbered from 2.
        primitives: Names of the primitives, in index order.
        inputs_per_node: Candidates a node keeps, ``s``.
        distinct_edges: Whether they must lie on different edges. The official ISTA-NAS code does not ask for it.

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

    @property
    def size(self) -> int:
        """Number of genotypes; isomorphic ones are counted apart. Not ``len``, which ends at ``sys.maxsize``."""
        total = 1
        for block in self.blocks:
            s, k = self.inputs_per_node, len(self.primitives)
            total *= comb(block.node, s) * k**s if self.distinct_edges else comb(len(block), s)
        return total

    def validate(self, genotype: Genotype) -> None:
        """Check that the genotype belongs to this space.

        Raises:
            GenotypeError: Saying which candidate, node or cell does not.
        """
        self.support(genotype)

    def genotype(self, support: Support) -> Genotype:
        """Genotype of a support (kept indices per block, in the order of :attr:`blocks`)."""
        cells: dict[str, list[Candidate]] = {cell: [] for cell in self.cell_types}
        for block, kept in zip(self.blocks, support, strict=True):
            cells[block.cell].extend(block.candidates[index] for index in kept)
        return Genotype.build(self.name, cells)

    def support(self, genotype: Genotype) -> Support:
        """Support of a genotype.

        Raises:
            GenotypeError: If the genotype is not of this space.
        """
        if genotype.space != self.name or set(genotype.cell_types) != set(self.cell_types):
            raise GenotypeError(
                f"genotype is of space {genotype.space!r} with cells {', '.join(genotype.cell_types)}; "
                f"expected {self.name!r} with {', '.join(self.cell_types)}"
            )
        known = {(block.cell, candidate) for block in self.blocks for candidate in block.candidates}
        for cell, candidates in genotype.cells:
            for candidate in candidates:
                if (cell, candidate) not in known:
                    raise GenotypeError(
                        f"{cell} cell: {candidate} is not in the space (nodes 2 to {self.nodes + 1}, "
                        f"primitives {', '.join(self.primitives)})"
                    )
        support = []
        for block in self.blocks:
            members = set(genotype.cell(block.cell))
            kept = tuple(index for index, candidate in enumerate(block.candidates) if candidate in members)
            edges = {block.candidates[index].edge for index in kept}
            if len(kept) != self.inputs_per_node:
                raise GenotypeError(f"{block} keeps {len(kept)} candidates; expected {self.inputs_per_node}")
            if self.distinct_edges and len(edges) < len(kept):
                raise GenotypeError(f"{block} keeps two candidates on one edge; this space asks for distinct edges")
            support.append(kept)
        return tuple(support)

    def sample_support(self, rng: np.random.Generator) -> Support:
        """A support drawn uniformly from the space."""
        s, k = self.inputs_per_node, len(self.primitives)
        support = []
        for block in self.blocks:
            if self.distinct_edges:
                edges = rng.choice(block.node, size=s, replace=False)
                kept = edges * k + rng.integers(k, size=s)
            else:
                kept = rng.choice(len(block), size=s, replace=False)
            support.append(tuple(sorted(int(index) for index in kept)))
        return tuple(support)

    def sample(self, rng: np.random.Generator) -> Genotype:
        """A genotype drawn uniformly from the space."""
        return self.genotype(self.sample_support(rng))

    def neighbours(self, genotype: Genotype) -> Iterator[Genotype]:
        """All genotypes of the space that differ in exactly one kept candidate, each once."""
        support = self.support(genotype)
        for position, block in enumerate(self.blocks):
            for changed in self._changed(block, support[position]):
                yield self.genotype((*support[:position], changed, *support[position + 1 :]))

    def mutate(self, genotype: Genotype, rng: np.random.Generator) -> Genotype:
        """A neighbour drawn uniformly.

        Raises:
            GenotypeError: If the genotype has no neighbour (a space of one genotype).
        """
        support = self.support(genotype)
        options = [
            (position, changed)
            for position, block in enumerate(self.blocks)
            for changed in self._changed(block, support[position])
        ]
        if not options:
            raise GenotypeError("the space holds a single genotype; nothing can be mutated")
        position, changed = options[int(rng.integers(len(options)))]
        return self.genotype((*support[:position], changed, *support[position + 1 :]))

    def _changed(self, block: Block, kept: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        """Supports of one block that share all but one candidate with ``kept``."""
        for rest in combinations(kept, len(kept) - 1):
            taken = {block.candidates[index].edge for index in rest} if self.distinct_edges else set()
            for index, candidate in enumerate(block.candidates):
                if index not in kept and candidate.edge not in taken:
                    yield tuple(sorted((*rest, index)))
