"""The searchers, and the parts of which they are made."""

from sparsenas.search.architecture import CompressedArchitecture
from sparsenas.search.base import RecoveryListener, RecoveryReport, SearchModule
from sparsenas.search.measured import MeasuredSearch
from sparsenas.search.measuring import (
    Decoding,
    LiveCost,
    Measurement,
    Measuring,
    SharedWeights,
    ShortTraining,
    StepTime,
    Untrained,
)
from sparsenas.search.one_stage import OneStageSearch
from sparsenas.search.paired_losses import PairedLosses
from sparsenas.search.paths import FairPaths, PathSampling, UniformPaths, UniquePaths
from sparsenas.search.random_search import RandomSearch
from sparsenas.search.recovery import SparseRecovery
from sparsenas.search.relaxation import EdgeNormalizedRelaxation, GumbelRelaxation, Relaxation, SoftmaxRelaxation
from sparsenas.search.relaxed import RelaxedSearch
from sparsenas.search.rivals import Rivalry, compare_with_trivial
from sparsenas.search.rules import SupportRules
from sparsenas.search.sampling import MixtureSampling, NearbySampling, RecoveredSampling, Sampling, UniformSampling
from sparsenas.search.selection import BestOf, RegularizedEvolution, Selection
from sparsenas.search.settling import AbsoluteChange, SettlingRule, StableSupport
from sparsenas.search.signals import FullGradient, Signal, SignalStep, SupportGradient
from sparsenas.search.single_path import SinglePathSearch
from sparsenas.search.two_stage import TwoStageSearch

__all__ = [
    "AbsoluteChange",
    "BestOf",
    "CompressedArchitecture",
    "Decoding",
    "EdgeNormalizedRelaxation",
    "FairPaths",
    "FullGradient",
    "GumbelRelaxation",
    "LiveCost",
    "MeasuredSearch",
    "Measurement",
    "Measuring",
    "MixtureSampling",
    "NearbySampling",
    "OneStageSearch",
    "PairedLosses",
    "PathSampling",
    "RandomSearch",
    "RecoveredSampling",
    "RecoveryListener",
    "RecoveryReport",
    "RegularizedEvolution",
    "Relaxation",
    "RelaxedSearch",
    "Rivalry",
    "Sampling",
    "SearchModule",
    "Selection",
    "SettlingRule",
    "SharedWeights",
    "ShortTraining",
    "Signal",
    "SignalStep",
    "SinglePathSearch",
    "SoftmaxRelaxation",
    "SparseRecovery",
    "StableSupport",
    "StepTime",
    "SupportGradient",
    "SupportRules",
    "TwoStageSearch",
    "UniformPaths",
    "UniformSampling",
    "UniquePaths",
    "Untrained",
    "compare_with_trivial",
]
