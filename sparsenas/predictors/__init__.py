"""Performance predictors: scores and accuracies of networks before, or early in, their training."""

from sparsenas.predictors.acenas import AceNasRanker
from sparsenas.predictors.base import Info, Predictor
from sparsenas.predictors.curve_file import CurveRecord, append_curve, read_curves
from sparsenas.predictors.curves import EarlyStopAccuracy, EarlyStopLoss, SumOfLosses
from sparsenas.predictors.extrapolation import CurveExtrapolation
from sparsenas.predictors.fine_tuning import FineTuned, iterate
from sparsenas.predictors.gaussian import GaussianProcess
from sparsenas.predictors.guided import (
    Feasible,
    GuidedStrategy,
    RandomStrategy,
    RegularizedEvolution,
    SearchStrategy,
    guided_search,
)
from sparsenas.predictors.known import KnownScore, MeasuredScore
from sparsenas.predictors.lambda_rank import lambda_gradients
from sparsenas.predictors.nao import NeuralArchitectureOptimizer, Proposals
from sparsenas.predictors.nao_strategy import NaoStrategy
from sparsenas.predictors.omni import Omni
from sparsenas.predictors.omni_sequences import OmniSequenceRegression
from sparsenas.predictors.regression import CurveRegression
from sparsenas.predictors.sparse import SparseRegression
from sparsenas.predictors.stopping import Decision, Replay, StoppingRule, replay
from sparsenas.predictors.suite import SCORES, SUITE, Entry, make_predictor
from sparsenas.predictors.vectors import VectorRegression, random_forest
from sparsenas.predictors.weisfeiler_lehman import WeisfeilerLehman

__all__ = [
    "SCORES",
    "SUITE",
    "AceNasRanker",
    "CurveExtrapolation",
    "CurveRecord",
    "CurveRegression",
    "Decision",
    "EarlyStopAccuracy",
    "EarlyStopLoss",
    "Entry",
    "Feasible",
    "FineTuned",
    "GaussianProcess",
    "GuidedStrategy",
    "Info",
    "KnownScore",
    "MeasuredScore",
    "NaoStrategy",
    "NeuralArchitectureOptimizer",
    "Omni",
    "OmniSequenceRegression",
    "Predictor",
    "Proposals",
    "RandomStrategy",
    "RegularizedEvolution",
    "Replay",
    "SearchStrategy",
    "SparseRegression",
    "StoppingRule",
    "SumOfLosses",
    "VectorRegression",
    "WeisfeilerLehman",
    "append_curve",
    "guided_search",
    "iterate",
    "lambda_gradients",
    "make_predictor",
    "random_forest",
    "read_curves",
    "replay",
]
