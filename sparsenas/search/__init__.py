"""The searchers, and the parts of which they are made."""

import sys

from sparsenas import SearchRoom
from sparsenas.search.base import (
    SearchModule,
)
from sparsenas.search.baselines import (
    EdgeNormalizedRelaxation,
    FairPaths,
    Finals,
    GumbelRelaxation,
    Iterations,
    NaoSearch,
    NoveltyPaths,
    PathDraws,
    PathSampling,
    PoolPaths,
    RandomSearch,
    Relaxation,
    RelaxedSearch,
    SinglePathSearch,
    SizeProportionalPaths,
    SoftmaxRelaxation,
    UniformPaths,
    UniquePaths,
)
from sparsenas.search.budget import (
    Budget,
)
from sparsenas.search.genetic import Genetic
from sparsenas.search.ista_nas import (
    AbsoluteChange,
    CompressedArchitecture,
    Exploration,
    FullGradient,
    MixtureSampling,
    NearbySampling,
    OneStageSearch,
    PairedLosses,
    Phases,
    RecoveredSampling,
    Sampling,
    SettlingRule,
    Signal,
    SignalStep,
    SparseRecovery,
    StableSupport,
    SupportGradient,
    TwoStageSearch,
    UniformSampling,
)
from sparsenas.search.measured import (
    Governor,
    Tournament,
    TournamentResult,
    TournamentSearch,
)
from sparsenas.search.objectives import Objectives, Resource
from sparsenas.search.optimizers import (
    ArchitectureTraining,
)
from sparsenas.search.searcher import (
    RecoveryListener,
    RecoveryReport,
    Searcher,
    SearchResult,
)
from sparsenas.search.selection import (
    BestOf,
    RegularizedEvolution,
    Selection,
)
from sparsenas.search.shared_accuracy import SharedAccuracy
from sparsenas.search.shared_result import (
    SharedResult,
    compare_with_baselines,
)

__all__ = [
    "AbsoluteChange",
    "ArchitectureTraining",
    "BestOf",
    "Budget",
    "CompressedArchitecture",
    "EdgeNormalizedRelaxation",
    "Exploration",
    "FairPaths",
    "Finals",
    "FullGradient",
    "Genetic",
    "Governor",
    "GumbelRelaxation",
    "Iterations",
    "MixtureSampling",
    "NaoSearch",
    "NearbySampling",
    "NoveltyPaths",
    "Objectives",
    "OneStageSearch",
    "PairedLosses",
    "PathDraws",
    "PathSampling",
    "Phases",
    "PoolPaths",
    "RandomSearch",
    "RecoveredSampling",
    "RecoveryListener",
    "RecoveryReport",
    "RegularizedEvolution",
    "Relaxation",
    "RelaxedSearch",
    "Resource",
    "Sampling",
    "SearchModule",
    "SearchResult",
    "Searcher",
    "Selection",
    "SettlingRule",
    "SharedAccuracy",
    "SharedResult",
    "Signal",
    "SignalStep",
    "SinglePathSearch",
    "SizeProportionalPaths",
    "SoftmaxRelaxation",
    "SparseRecovery",
    "StableSupport",
    "SupportGradient",
    "Tournament",
    "TournamentResult",
    "TournamentSearch",
    "TwoStageSearch",
    "UniformPaths",
    "UniformSampling",
    "UniquePaths",
    "compare_with_baselines",
]

# `sparsenas.search(...)` is the front door for Python, and this room has the same name: the module can be called
sys.modules[__name__].__class__ = SearchRoom
