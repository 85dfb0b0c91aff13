"""Predictors that read a learning curve as it is, and learn nothing."""

from collections.abc import Sequence

from sparsenas.errors import PredictorError
from sparsenas.predictors.base import Floats, Info, Predictor
from sparsenas.spaces import Genotype


class SumOfLosses(Predictor):
    """Minus the sum of the training losses of the last epochs (SoTL): who trains fast ends well.

    Args:
        window: Number of epochs; ``None`` for all. With 1 it is the "SoTL-E" of the study below.

    Raises:
        PredictorError: If the window is empty.

    Source: Ru et al., Speedy Performance Estimation for Neural Architecture Search (NeurIPS 2021); White et al., How
        Powerful are Performance Predictors (NeurIPS 2021).
    """

    requires = frozenset({"train_loss"})

    def __init__(self, window: int | None = None) -> None:
        super().__init__()
        if window is not None and window < 1:
            raise PredictorError(f"window is {window}; use at least 1, or None for all epochs")
        self.window = window

    def _query(self, genotypes: Sequence[Genotype], info: Info) -> Floats:
        losses = info["train_loss"]
        sums: Floats = losses[:, -(self.window or losses.shape[1]) :].sum(1)
        return -sums


class EarlyStopAccuracy(Predictor):
    """Validation accuracy after the last known epoch."""

    requires = frozenset({"val_accuracy"})

    def _query(self, genotypes: Sequence[Genotype], info: Info) -> Floats:
        return info["val_accuracy"][:, -1]


class EarlyStopLoss(Predictor):
    """Minus the validation loss after the last known epoch."""

    requires = frozenset({"val_loss"})

    def _query(self, genotypes: Sequence[Genotype], info: Info) -> Floats:
        return -info["val_loss"][:, -1]
