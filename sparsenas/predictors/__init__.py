"""Performance predictors: scores and accuracies of networks before, or early in, their training."""

from sparsenas.predictors.base import Info, Predictor
from sparsenas.predictors.curve_file import CurveRecord, append_curve, read_curves
from sparsenas.predictors.curves import EarlyStopAccuracy, EarlyStopLoss, SumOfLosses
from sparsenas.predictors.guided import (
    GuidedStrategy,
    RandomStrategy,
    RegularizedEvolution,
    SearchStrategy,
    guided_search,
)
from sparsenas.predictors.regression import CurveRegression
from sparsenas.predictors.stopping import Decision, Replay, StoppingRule, replay
from sparsenas.predictors.suite import SUITE, Entry, make_predictor
from sparsenas.predictors.vectors import VectorRegression, random_forest

__all__ = [
    "SUITE",
    "CurveRecord",
    "CurveRegression",
    "Decision",
    "EarlyStopAccuracy",
    "EarlyStopLoss",
    "Entry",
    "GuidedStrategy",
    "Info",
    "Predictor",
    "RandomStrategy",
    "RegularizedEvolution",
    "Replay",
    "SearchStrategy",
    "StoppingRule",
    "SumOfLosses",
    "VectorRegression",
    "append_curve",
    "guided_search",
    "make_predictor",
    "random_forest",
    "read_curves",
    "replay",
]
