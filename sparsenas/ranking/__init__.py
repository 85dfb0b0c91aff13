"""How good a ranking of architectures is: correlations, tops, stability, intervals, and rankings that cost nothing."""

from sparsenas.ranking.baselines import Choice, largest_within_cap, non_pool_edges, trivial_scores
from sparsenas.ranking.correlation import (
    kendall_tau,
    pearson,
    percentile,
    released_sparse_kendall_tau,
    rounded_kendall_tau,
    sparse_kendall_tau,
    spearman,
)
from sparsenas.ranking.intervals import Interval, bootstrap_interval
from sparsenas.ranking.report import Row, comparison, markdown
from sparsenas.ranking.stability import Spread, Stability, consensus_rank, stability, truth_tau_spread, truth_taus
from sparsenas.ranking.top import ndcg, relevance, surpass_random, top_best, top_mean, top_rank

__all__ = [
    "Choice",
    "Interval",
    "Row",
    "Spread",
    "Stability",
    "bootstrap_interval",
    "comparison",
    "consensus_rank",
    "kendall_tau",
    "largest_within_cap",
    "markdown",
    "ndcg",
    "non_pool_edges",
    "pearson",
    "percentile",
    "released_sparse_kendall_tau",
    "relevance",
    "rounded_kendall_tau",
    "sparse_kendall_tau",
    "spearman",
    "stability",
    "surpass_random",
    "top_best",
    "top_mean",
    "top_rank",
    "trivial_scores",
    "truth_tau_spread",
    "truth_taus",
]
