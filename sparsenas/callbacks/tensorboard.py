"""Access to TensorBoard, and the x-axis of the callbacks."""

import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger
from torch.utils.tensorboard import SummaryWriter


def tensorboard_loggers(trainer: pl.Trainer) -> list[TensorBoardLogger]:
    """Return the trainer's TensorBoard loggers; none on other ranks than zero or in a ``fast_dev_run``."""
    if not trainer.is_global_zero:
        return []
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def summary_writers(trainer: pl.Trainer) -> list[SummaryWriter]:
    """Return the writers of the trainer's TensorBoard loggers."""
    return [logger.experiment for logger in tensorboard_loggers(trainer)]


def trained_batches(trainer: pl.Trainer) -> int:
    """Return the number of training batches so far, also after a resume.

    The x-axis of all callbacks; ``trainer.global_step`` would count the steps of every optimizer.
    """
    return trainer.fit_loop.epoch_loop.batch_progress.total.ready
