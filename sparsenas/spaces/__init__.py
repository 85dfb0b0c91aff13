"""Search spaces: genotypes, the graph of a cell, and one file per space."""

from sparsenas.spaces.base import SearchSpace, draw_distinct
from sparsenas.spaces.darts import DARTS_PRIMITIVES, DartsSpace
from sparsenas.spaces.decisions import DecisionSequence
from sparsenas.spaces.encodings import CellEncoding, Encoding, Graph, NasBench101Encoding, encoding_of
from sparsenas.spaces.genotype import Genotype
from sparsenas.spaces.nasbench101 import NASBENCH101_PRIMITIVES, NasBench101Space
from sparsenas.spaces.nasbench201 import NASBENCH201_PRIMITIVES, NasBench201Space
from sparsenas.spaces.nasbench_macro import NASBENCH_MACRO_PRIMITIVES, NasBenchMacroSpace
from sparsenas.spaces.proxyless import PROXYLESS_NETWORKS, PROXYLESS_PRIMITIVES, ProxylessSpace
from sparsenas.spaces.published import PUBLISHED, parse_genotype, read_genotype
from sparsenas.spaces.references import REFERENCES, Reference
from sparsenas.spaces.stage import LAYER_TYPES, StageSpace
from sparsenas.spaces.topology import NONE, Block, Candidate, Support
from sparsenas.spaces.weight_sharing64 import WEIGHT_SHARING64_PRIMITIVES, WeightSharing64Space

__all__ = [
    "DARTS_PRIMITIVES",
    "LAYER_TYPES",
    "NASBENCH101_PRIMITIVES",
    "NASBENCH201_PRIMITIVES",
    "NASBENCH_MACRO_PRIMITIVES",
    "NONE",
    "PROXYLESS_NETWORKS",
    "PROXYLESS_PRIMITIVES",
    "PUBLISHED",
    "REFERENCES",
    "WEIGHT_SHARING64_PRIMITIVES",
    "Block",
    "Candidate",
    "CellEncoding",
    "DartsSpace",
    "DecisionSequence",
    "Encoding",
    "Genotype",
    "Graph",
    "NasBench101Encoding",
    "NasBench101Space",
    "NasBench201Space",
    "NasBenchMacroSpace",
    "ProxylessSpace",
    "Reference",
    "SearchSpace",
    "StageSpace",
    "Support",
    "WeightSharing64Space",
    "draw_distinct",
    "encoding_of",
    "parse_genotype",
    "read_genotype",
]
