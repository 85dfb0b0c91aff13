"""Functions behind both front doors, that of Python and that of the shell."""

from sparsenas.api.checkpoint import load_checkpoint
from sparsenas.api.front import search, train
from sparsenas.api.pictures import Prediction, Predictions, predict
from sparsenas.api.trained import TrainedNetwork

__all__ = ["Prediction", "Predictions", "TrainedNetwork", "load_checkpoint", "predict", "search", "train"]
