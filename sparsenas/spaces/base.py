"""What every search space offers."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from sparsenas.spaces.genotype import Genotype
from sparsenas.spaces.topology import Block, Support


class SearchSpace(Protocol):
    """The set of genotypes a searcher may find."""

    @property
    def name(self) -> str:
        """Name written into every genotype."""
        ...

    @property
    def cell_types(self) -> tuple[str, ...]:
        """Cell types, in order."""
        ...

    @property
    def num_inputs(self) -> int:
        """Number of input nodes of a cell; they are numbered first."""
        ...

    @property
    def blocks(self) -> tuple[Block, ...]:
        """One block per (cell type, node), cell types outermost."""
        ...

    @property
    def inputs_per_node(self) -> int:
        """Support size ``s`` of every block."""
        ...

    @property
    def distinct_edges(self) -> bool:
        """Whether a node's kept candidates must lie on different edges."""
        ...

    def validate(self, genotype: Genotype) -> None:
        """Check membership.

        Raises:
            GenotypeError: Saying which candidate, node or cell is not of this space.
        """
        ...

    def genotype(self, support: Support) -> Genotype:
        """Genotype of a support."""
        ...

    def support(self, genotype: Genotype) -> Support:
        """Support of a genotype, the inverse of :meth:`genotype`."""
        ...

    def sample_support(self, rng: np.random.Generator) -> Support:
        """A support drawn uniformly from the space."""
        ...

    def sample(self, rng: np.random.Generator) -> Genotype:
        """A genotype drawn uniformly from the space."""
        ...

    def neighbours(self, genotype: Genotype) -> Iterator[Genotype]:
        """All genotypes that differ in exactly one kept candidate, each once."""
        ...

    def mutate(self, genotype: Genotype, rng: np.random.Generator) -> Genotype:
        """A neighbour drawn uniformly."""
        ...
