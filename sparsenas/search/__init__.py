"""The searchers, and the parts of which they are made."""

from sparsenas.search.architecture import CompressedArchitecture
from sparsenas.search.base import RecoveryListener, RecoveryReport, SearchModule
from sparsenas.search.one_stage import OneStageSearch
from sparsenas.search.recovery import SparseRecovery
from sparsenas.search.sampling import MixtureSampling, NearbySampling, RecoveredSampling, Sampling, UniformSampling
from sparsenas.search.settling import AbsoluteChange, SettlingRule, StableSupport
from sparsenas.search.signals import FullGradient, Signal, SignalStep, SupportGradient
from sparsenas.search.two_stage import TwoStageSearch

__all__ = [
    "AbsoluteChange",
    "CompressedArchitecture",
    "FullGradient",
    "MixtureSampling",
    "NearbySampling",
    "OneStageSearch",
    "RecoveredSampling",
    "RecoveryListener",
    "RecoveryReport",
    "Sampling",
    "SearchModule",
    "SettlingRule",
    "Signal",
    "SignalStep",
    "SparseRecovery",
    "StableSupport",
    "SupportGradient",
    "TwoStageSearch",
    "UniformSampling",
]
