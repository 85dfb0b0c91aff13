"""What can be built: genotypes, the graph of a cell, and one file per search space."""

from sparsenas.spaces.base import SearchSpace
from sparsenas.spaces.darts import DARTS_PRIMITIVES, DartsSpace
from sparsenas.spaces.genotype import Genotype
from sparsenas.spaces.published import PUBLISHED, read_genotype
from sparsenas.spaces.topology import Block, Candidate, Support

__all__ = [
    "DARTS_PRIMITIVES",
    "PUBLISHED",
    "Block",
    "Candidate",
    "DartsSpace",
    "Genotype",
    "SearchSpace",
    "Support",
    "read_genotype",
]
