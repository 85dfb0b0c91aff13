"""Published benchmark tables behind one protocol: accuracy, cost and latency of a genotype."""

from sparsenas.tables.base import BenchmarkTable, Best, Cost, Training, WrittenSpace
from sparsenas.tables.nasbench101 import NasBench101Table
from sparsenas.tables.nasbench201 import NasBench201Table
from sparsenas.tables.nasbench_macro import NasBenchMacroTable
from sparsenas.tables.nats_bench import NatsBenchTable
from sparsenas.tables.weight_sharing64 import WeightSharing64Table
from sparsenas.tables.zero_cost import PublishedScores, read_published_scores

__all__ = [
    "BenchmarkTable",
    "Best",
    "Cost",
    "NasBench101Table",
    "NasBench201Table",
    "NasBenchMacroTable",
    "NatsBenchTable",
    "PublishedScores",
    "Training",
    "WeightSharing64Table",
    "WrittenSpace",
    "read_published_scores",
]
