"""Facts about a trainer that several rooms need."""

from pathlib import Path
from typing import TypeVar

from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.callbacks.early_stopping import EarlyStoppingReason
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

Kind = TypeVar("Kind")
#: Name of a checkpoint that was written within an epoch, beside those of the ends of epochs.
WITHIN_EPOCH = "within_epoch.ckpt"


def callbacks_of(trainer: Trainer, kind: type[Kind]) -> list[Kind]:
    """Return the callbacks of a trainer that are of a kind."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set there, not declared
    return [callback for callback in callbacks if isinstance(callback, kind)]


class WithinEpoch(Callback):
    """Base of the callback that writes checkpoints within epochs.

    Attributes:
        written: The checkpoint, once it was written.
    """

    written: Path | None = None


def within_epoch_checkpoint(trainer: Trainer) -> Path | None:
    """Return the checkpoint that this run has written within an epoch, and not removed."""
    paths = [callback.written for callback in callbacks_of(trainer, WithinEpoch) if callback.written is not None]
    return next((path for path in paths if path.is_file()), None)


def is_within_epoch(trainer: Trainer) -> bool:
    """Return True between the first and the last training batch of an epoch."""
    progress = trainer.fit_loop.epoch_loop.batch_progress
    ready = progress.current.ready
    return trainer.state.fn == "fit" and 0 < ready < trainer.num_training_batches and not progress.is_last_batch


def stopped_early(trainer: Trainer) -> bool:
    """Return True if early stopping has ended the run."""
    reasons = (callback.stopping_reason for callback in callbacks_of(trainer, EarlyStopping))
    return any(reason != EarlyStoppingReason.NOT_STOPPED for reason in reasons)


def is_dry_run(trainer: Trainer) -> bool:
    """Return True in a ``fast_dev_run``, which leaves no files."""
    return bool(getattr(trainer, "fast_dev_run", False))  # set on the trainer, but not declared there


def run_folder(trainer: Trainer) -> Path:
    """Return the folder of a run; call it on every rank, because Lightning broadcasts the logger's folder."""
    return Path(trainer.log_dir or trainer.default_root_dir)


def first_folder(trainer: Trainer) -> Path:
    """Return the folder of a run without asking other processes; right in the first one only."""
    if not trainer.loggers:
        return Path(trainer.default_root_dir)
    logger = trainer.loggers[0]  # as Trainer.log_dir has it
    folder = logger.log_dir if isinstance(logger, (TensorBoardLogger, CSVLogger)) else logger.save_dir
    return Path(folder or trainer.default_root_dir)
