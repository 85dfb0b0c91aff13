"""Searchers with which ours are compared: DARTS, PC-DARTS, GDAS, single-path one-shot, random search."""

from sparsenas.search.baselines.darts import RelaxedSearch
from sparsenas.search.baselines.nao import NaoSearch
from sparsenas.search.baselines.nao_options import Finals, Iterations
from sparsenas.search.baselines.novelty_paths import NoveltyPaths
from sparsenas.search.baselines.paths import FairPaths, PathDraws, PathSampling, UniformPaths, UniquePaths
from sparsenas.search.baselines.pool_paths import PoolPaths, SizeProportionalPaths
from sparsenas.search.baselines.random_search import RandomSearch
from sparsenas.search.baselines.relaxation import (
    EdgeNormalizedRelaxation,
    GumbelRelaxation,
    Relaxation,
    SoftmaxRelaxation,
)
from sparsenas.search.baselines.single_path import SinglePathSearch

__all__ = [
    "EdgeNormalizedRelaxation",
    "FairPaths",
    "Finals",
    "GumbelRelaxation",
    "Iterations",
    "NaoSearch",
    "NoveltyPaths",
    "PathDraws",
    "PathSampling",
    "PoolPaths",
    "RandomSearch",
    "Relaxation",
    "RelaxedSearch",
    "SinglePathSearch",
    "SizeProportionalPaths",
    "SoftmaxRelaxation",
    "UniformPaths",
    "UniquePaths",
]
