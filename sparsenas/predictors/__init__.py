"""Performance predictors: scores and accuracies of networks before, or early in, their training."""

from sparsenas.predictors.base import Info, InfoName, Predictor
from sparsenas.predictors.curve_file import CurveRecord, append_curve, read_curves
from sparsenas.predictors.curves import EarlyStopAccuracy, EarlyStopLoss, SumOfLosses
from sparsenas.predictors.regression import CurveRegression
from sparsenas.predictors.stopping import Decision, Replay, StoppingRule, replay

__all__ = [
    "CurveRecord",
    "CurveRegression",
    "Decision",
    "EarlyStopAccuracy",
    "EarlyStopLoss",
    "Info",
    "InfoName",
    "Predictor",
    "Replay",
    "StoppingRule",
    "SumOfLosses",
    "append_curve",
    "read_curves",
    "replay",
]
