"""Findings of a run, as tables, pictures and one page that a person reads."""

from sparsenas.reporting.evaluation import Evaluation
from sparsenas.reporting.facts import Mistake, NetworkRow, RunFacts, network_rows
from sparsenas.reporting.page import page
from sparsenas.reporting.predictions import class_rows, csv_bytes, decisions, label_names, prediction_rows

__all__ = [
    "Evaluation",
    "Mistake",
    "NetworkRow",
    "RunFacts",
    "class_rows",
    "csv_bytes",
    "decisions",
    "label_names",
    "network_rows",
    "page",
    "prediction_rows",
]
