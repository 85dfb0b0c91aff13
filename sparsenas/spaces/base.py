"""What every search space offers."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np

from sparsenas.spaces.genotype import Genotype
from sparsenas.spaces.topology import Block, Support


class SearchSpace(ABC):
    """The set of genotypes a searcher may find.

    Attributes:
        name: Name written into every genotype.
        cell_types: Cell types, in order.
        num_inputs: Input nodes of a cell; they are numbered first.
        inputs_per_node: Support size ``s`` of every block.
        distinct_edges: Whether a node's kept candidates must lie on different edges.
    """

    name: str
    cell_types: tuple[str, ...]
    num_inputs: int
    inputs_per_node: int
    distinct_edges: bool

    @property
    @abstractmethod
    def blocks(self) -> tuple[Block, ...]:
        """One block per (cell type, node), cell types outermost."""

    @abstractmethod
    def validate(self, genotype: Genotype) -> None:
        """Check membership.

        Raises:
            GenotypeError: Saying which candidate, node or cell is not of this space.
        """

    @abstractmethod
    def genotype(self, support: Support) -> Genotype:
        """Genotype of a support."""

    @abstractmethod
    def support(self, genotype: Genotype) -> Support:
        """Support of a genotype, the inverse of :meth:`genotype`."""

    @abstractmethod
    def sample_support(self, rng: np.random.Generator) -> Support:
        """A support drawn uniformly from the space."""

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> Genotype:
        """A genotype drawn uniformly from the space."""

    @abstractmethod
    def neighbours(self, genotype: Genotype) -> Iterator[Genotype]:
        """All genotypes that differ in exactly one kept candidate, each once."""

    @abstractmethod
    def mutate(self, genotype: Genotype, rng: np.random.Generator) -> Genotype:
        """A neighbour drawn uniformly."""
