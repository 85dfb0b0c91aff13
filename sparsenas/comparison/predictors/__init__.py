"""Predictors of accuracy, judged by networks whose accuracies are known."""

from sparsenas.comparison.predictors.judging import Point, figures_of, judge
from sparsenas.comparison.predictors.known_networks import KnownNetworks, networks_of_table
from sparsenas.comparison.predictors.network_file import networks_of_file
from sparsenas.comparison.predictors.predictor_figure import draw_predictors
from sparsenas.comparison.predictors.predictor_plan import PredictorPlan, read_predictor_plan
from sparsenas.comparison.predictors.predictor_record import PredictorRecord, rank_once
from sparsenas.comparison.predictors.predictor_report import (
    PredictorRow,
    best_by_regime,
    pareto_front,
    summarize_predictors,
)
from sparsenas.comparison.predictors.predictor_session import PredictorSession

__all__ = [
    "KnownNetworks",
    "Point",
    "PredictorPlan",
    "PredictorRecord",
    "PredictorRow",
    "PredictorSession",
    "best_by_regime",
    "draw_predictors",
    "figures_of",
    "judge",
    "networks_of_file",
    "networks_of_table",
    "pareto_front",
    "rank_once",
    "read_predictor_plan",
    "summarize_predictors",
]
