"""The searchers, and the parts of which they are made."""

from sparsenas.search.architecture import CompressedArchitecture
from sparsenas.search.base import RecoveryListener, RecoveryReport, SearchModule
from sparsenas.search.recovery import SparseRecovery
from sparsenas.search.sampling import MixtureSampling, RecoveredSampling, Sampling, UniformSampling
from sparsenas.search.signals import FullGradient, Signal, SignalStep, SupportGradient
from sparsenas.search.two_stage import TwoStageSearch

__all__ = [
    "CompressedArchitecture",
    "FullGradient",
    "MixtureSampling",
    "RecoveredSampling",
    "RecoveryListener",
    "RecoveryReport",
    "Sampling",
    "SearchModule",
    "Signal",
    "SignalStep",
    "SparseRecovery",
    "SupportGradient",
    "TwoStageSearch",
    "UniformSampling",
]
