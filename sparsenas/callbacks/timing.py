"""Seconds per training step."""

from itertools import pairwise
from statistics import median
from time import perf_counter

import pytorch_lightning as pl

from sparsenas.callbacks.tensorboard import trained_batches


class StepTimer(pl.Callback):
    """Log ``speed/seconds_per_step`` and ``speed/steps_per_second`` at the end of each epoch.

    The time from the beginning of a training batch to that of the next, with data loading and callbacks. The median of
    the epoch leaves out first batches and pauses for validation. The timer does not wait for the device: the queue of a
    GPU is short, so over an epoch both run equally fast. Epochs of one batch log nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self._starts: list[float] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget the last epoch."""
        self._starts = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Read the clock."""
        self._starts.append(perf_counter())

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the median."""
        if len(self._starts) < 2:
            return
        seconds = median(after - before for before, after in pairwise(self._starts))
        scalars = {"speed/seconds_per_step": seconds, "speed/steps_per_second": 1 / max(seconds, 1e-9)}
        for logger in trainer.loggers:
            logger.log_metrics(scalars, step=trained_batches(trainer))
