"""Measures of a ranking of architectures: correlations, tops, stability, intervals, and baselines without training."""

from sparsenas.ranking.baselines import non_pool_edges, trivial_scores
from sparsenas.ranking.correlation import kendall_tau, percentile, sparse_kendall_tau, spearman
from sparsenas.ranking.intervals import Interval, bootstrap_interval
from sparsenas.ranking.pareto import non_dominated
from sparsenas.ranking.report import Row, comparison, markdown
from sparsenas.ranking.stability import Spread, Stability, consensus_rank, stability, truth_tau_spread, truth_taus
from sparsenas.ranking.top import ndcg, relevance, surpass_random, top_mean, top_rank

__all__ = [
    "Interval",
    "Row",
    "Spread",
    "Stability",
    "bootstrap_interval",
    "comparison",
    "consensus_rank",
    "kendall_tau",
    "markdown",
    "ndcg",
    "non_dominated",
    "non_pool_edges",
    "percentile",
    "relevance",
    "sparse_kendall_tau",
    "spearman",
    "stability",
    "surpass_random",
    "top_mean",
    "top_rank",
    "trivial_scores",
    "truth_tau_spread",
    "truth_taus",
]
