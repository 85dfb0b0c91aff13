"""ISTA-NAS: steps on ``b = A z``, sparse recovery of ``z``, and the network that ``z`` names."""

from sparsenas.search.ista_nas.architecture import CompressedArchitecture
from sparsenas.search.ista_nas.exploration import Exploration
from sparsenas.search.ista_nas.one_stage import OneStageSearch
from sparsenas.search.ista_nas.paired_losses import PairedLosses
from sparsenas.search.ista_nas.phases import Phases
from sparsenas.search.ista_nas.recovery import SparseRecovery
from sparsenas.search.ista_nas.sampling import (
    MixtureSampling,
    NearbySampling,
    RecoveredSampling,
    Sampling,
    UniformSampling,
)
from sparsenas.search.ista_nas.settling import AbsoluteChange, SettlingRule, StableSupport
from sparsenas.search.ista_nas.signals import FullGradient, Signal, SignalStep, SupportGradient
from sparsenas.search.ista_nas.two_stage import TwoStageSearch

__all__ = [
    "AbsoluteChange",
    "CompressedArchitecture",
    "Exploration",
    "FullGradient",
    "MixtureSampling",
    "NearbySampling",
    "OneStageSearch",
    "PairedLosses",
    "Phases",
    "RecoveredSampling",
    "Sampling",
    "SettlingRule",
    "Signal",
    "SignalStep",
    "SparseRecovery",
    "StableSupport",
    "SupportGradient",
    "TwoStageSearch",
    "UniformSampling",
]
