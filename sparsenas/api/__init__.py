"""Functions behind both front doors, that of Python and that of the shell."""

from sparsenas.api.checkpoint import load_checkpoint
from sparsenas.api.front import search, train
from sparsenas.api.trained import Prediction, TrainedNetwork

__all__ = ["Prediction", "TrainedNetwork", "load_checkpoint", "search", "train"]
