"""The base of all search spaces. A space is its blocks; everything else follows from them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import combinations, product
from math import comb
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsenas.errors import ConfigError, GenotypeError
from sparsenas.spaces.genotype import Genotype
from sparsenas.spaces.topology import Block, Candidate, Support

#: Draws in a row without a new genotype after which a space is taken for exhausted.
PATIENCE = 1000


class SearchSpace(ABC):
    """The set of genotypes a searcher may find: of every block, ``inputs_per_node`` candidates are kept.

    A method that takes a genotype raises a ``GenotypeError`` if it is not of this space.

    Attributes:
        name: Name written into every genotype; it selects the network.
        cell_types: Cell types, in order.
        num_inputs: Input nodes of a cell; they are numbered first.
        inputs_per_node: Support size ``s`` of every block, which is one node in most spaces.
        distinct_edges: True if a block's kept candidates must lie on different edges.
    """

    name: str
    cell_types: tuple[str, ...]
    num_inputs: int
    inputs_per_node: int
    distinct_edges: bool

    @property
    @abstractmethod
    def blocks(self) -> tuple[Block, ...]:
        """All blocks, cell types outermost; the nodes of a cell ascend."""

    @property
    def size(self) -> int:
        """Number of genotypes; isomorphic ones are counted apart. Not ``len``, which ends at ``sys.maxsize``."""
        s, total = self.inputs_per_node, 1
        for block in self.blocks:
            edges, k = len(block.edges), block.primitives_per_edge
            total *= comb(edges, s) * k**s if self.distinct_edges else comb(len(block), s)
        return total

    def validate(self, genotype: Genotype) -> None:
        """Raise a ``GenotypeError`` that names the candidate, node or cell that is not of this space."""
        self.support(genotype)

    def genotype(self, support: Support) -> Genotype:
        """Make the genotype of a support (kept indices per block, in the order of :attr:`blocks`)."""
        cells: dict[str, list[Candidate]] = {cell: [] for cell in self.cell_types}
        for block, kept in zip(self.blocks, support, strict=True):
            cells[block.cell].extend(block.candidates[index] for index in kept)
        return Genotype.build(self.name, cells)

    def support(self, genotype: Genotype) -> Support:
        """Return the support of a genotype, the inverse of :meth:`genotype`."""
        self._check_members(genotype)
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

    def encode(self, genotype: Genotype) -> NDArray[np.bool_]:
        """Mark the candidates that a genotype keeps: ``(N,)`` over the candidates of all blocks, in their order.

        These are the places where the sparse vector ``z`` of the genotype is not zero.
        """
        kept = [np.zeros(len(block), dtype=bool) for block in self.blocks]
        for row, indices in zip(kept, self.support(genotype), strict=True):
            row[list(indices)] = True
        return np.concatenate(kept)

    def decode(self, kept: ArrayLike) -> Genotype:
        """Make the genotype of a vector ``(N,)`` that is not zero where a candidate is kept: invert :meth:`encode`.

        Raises:
            GenotypeError: If the vector has another length or a number that is not finite, or its genotype is not of
                this space.
        """
        numbers = np.asarray(kept)
        if not np.isfinite(numbers).all():
            raise GenotypeError("the vector has numbers that are not finite")
        flags = numbers != 0
        sizes = [len(block) for block in self.blocks]
        if flags.shape != (sum(sizes),):
            raise GenotypeError(f"the vector has shape {flags.shape}; this space has {sum(sizes)} candidates")
        rows = np.split(flags, np.cumsum(sizes)[:-1])
        genotype = self.genotype(tuple(tuple(int(i) for i in np.flatnonzero(row)) for row in rows))
        self.validate(genotype)
        return genotype

    def supports(self) -> Iterator[Support]:
        """Iterate over all supports of the space, :attr:`size` of them."""
        s, options = self.inputs_per_node, []
        for block in self.blocks:
            if self.distinct_edges:
                k, edges = block.primitives_per_edge, combinations(range(len(block.edges)), s)
                kept = [
                    tuple(edge * k + primitive for edge, primitive in zip(chosen, primitives, strict=True))
                    for chosen in edges
                    for primitives in product(range(k), repeat=s)
                ]
            else:
                kept = list(combinations(range(len(block)), s))
            options.append(kept)
        yield from product(*options)

    def sample_support(self, rng: np.random.Generator) -> Support:
        """Draw a support uniformly from the space."""
        s = self.inputs_per_node
        support = []
        for block in self.blocks:
            if self.distinct_edges:
                k = block.primitives_per_edge
                edges = rng.choice(len(block.edges), size=s, replace=False)
                kept = edges * k + rng.integers(k, size=s)
            else:
                kept = rng.choice(len(block), size=s, replace=False)
            support.append(tuple(sorted(int(index) for index in kept)))
        return tuple(support)

    def sample(self, rng: np.random.Generator) -> Genotype:
        """Draw a genotype uniformly from the space."""
        return self.genotype(self.sample_support(rng))

    def neighbours(self, genotype: Genotype) -> Iterator[Genotype]:
        """Iterate over all genotypes of the space that differ in exactly one kept candidate, each once."""
        return map(self.genotype, self._neighbours(self.support(genotype)))

    def mutate(self, genotype: Genotype, rng: np.random.Generator) -> Genotype:
        """Draw a neighbour uniformly, or raise a ``GenotypeError`` if there is none (a space of one genotype)."""
        options = list(self._neighbours(self.support(genotype)))
        if not options:
            raise GenotypeError("the space holds a single genotype; nothing can be mutated")
        return self.genotype(options[int(rng.integers(len(options)))])

    def _check_members(self, genotype: Genotype) -> None:
        """Raise unless name, cell types and every candidate are those of this space."""
        if genotype.space != self.name or set(genotype.cell_types) != set(self.cell_types):
            raise GenotypeError(
                f"genotype is of space {genotype.space!r} with cells {', '.join(genotype.cell_types)}; "
                f"expected {self.name!r} with {', '.join(self.cell_types)}"
            )
        known = {(block.cell, candidate) for block in self.blocks for candidate in block.candidates}
        for cell, candidates in genotype.cells:
            for candidate in candidates:
                if (cell, candidate) not in known:
                    nodes = [c.target for _, c in known]
                    primitives = dict.fromkeys(c.primitive for block in self.blocks for c in block.candidates)
                    raise GenotypeError(
                        f"{cell} cell: {candidate} is not in the space (nodes {min(nodes)} to {max(nodes)}, "
                        f"primitives {', '.join(primitives)})"
                    )

    def _neighbours(self, support: Support) -> Iterator[Support]:
        """Iterate over the supports that differ in exactly one candidate."""
        for position, (block, kept) in enumerate(zip(self.blocks, support, strict=True)):
            for rest in combinations(kept, len(kept) - 1):
                taken = {block.candidates[index].edge for index in rest} if self.distinct_edges else set()
                for index, candidate in enumerate(block.candidates):
                    if index not in kept and candidate.edge not in taken:
                        changed = tuple(sorted((*rest, index)))
                        yield (*support[:position], changed, *support[position + 1 :])


class Drawable(Protocol):
    """A space from which genotypes can be drawn."""

    def sample(self, rng: np.random.Generator) -> Genotype:
        """Draw a genotype."""


def draw_distinct(space: Drawable, count: int, rng: np.random.Generator) -> list[Genotype]:
    """Draw genotypes until so many differ; of one generator, more of them begin with fewer.

    Args:
        space: The space.
        count: Number of genotypes.
        rng: Source of the draws.

    Raises:
        ConfigError: If the space hardly has so many.
    """
    found: dict[Genotype, None] = {}
    missed = 0
    while len(found) < count:
        before = len(found)
        found[space.sample(rng)] = None
        missed = 0 if len(found) > before else missed + 1
        if missed == PATIENCE:
            raise ConfigError(
                f"count is {count}, but {PATIENCE} draws after {before} different genotypes gave no new one: the space "
                "has hardly more"
            )
    return list(found)
