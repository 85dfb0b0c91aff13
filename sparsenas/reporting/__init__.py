"""What a run found, as tables, pictures and one page that a person reads."""

from sparsenas.reporting.evaluation import Evaluation
from sparsenas.reporting.predictions import class_rows, csv_bytes, prediction_rows

__all__ = ["Evaluation", "class_rows", "csv_bytes", "prediction_rows"]
