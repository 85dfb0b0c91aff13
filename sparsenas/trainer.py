"""Facts about a trainer that several rooms need."""

from pathlib import Path
from typing import TypeVar

from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.callbacks.early_stopping import EarlyStoppingReason
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

Kind = TypeVar("Kind")
#: Name of a checkpoint that was written within an epoch, beside those of the ends of epochs.
WITHIN_EPOCH = "within_epoch.ckpt"
#: Name of the report in the folder of a run.
REPORT = "report.html"


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


def checkpoints(trainer: Trainer) -> list[Path]:
    """Checkpoints in the folders of this run, the newest last; a resumed run may know others of the run before."""
    files = set()
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.dirpath is not None:
            paths = [Path(name) for name in (callback.best_model_path, callback.last_model_path) if name]
            files |= {path for path in paths if path.is_file() and path.is_relative_to(callback.dirpath)}
    within = within_epoch_checkpoint(trainer)
    if within is not None:
        files.add(within)
    return sorted(files, key=lambda path: path.stat().st_mtime_ns)


def best_checkpoint(trainer: Trainer, newest: bool = False) -> Path | None:
    """Return the checkpoint with the best score, or the newest one where none has a score; ``None`` without any.

    Args:
        trainer: The trainer.
        newest: Leave scores out.
    """
    for callback in () if newest else reversed(trainer.checkpoint_callbacks):
        if isinstance(callback, ModelCheckpoint) and callback.best_model_score is not None:
            return Path(callback.best_model_path)
    return next(reversed(checkpoints(trainer)), None)


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
    """Return the folder of a run; call it on every rank, because the first one says where it is."""
    folder: Path = trainer.strategy.broadcast(first_folder(trainer))
    return folder


def first_folder(trainer: Trainer) -> Path:
    """Return the folder of a run without asking other processes; right in the first one only.

    It is that of the first logger which has one for each run, or else ``default_root_dir``. ``Trainer.log_dir`` asks
    the first logger, whatever it is, and other kinds have one folder for all runs.
    """
    return Path(next((logger.log_dir for logger in folder_loggers(trainer)), trainer.default_root_dir))


def folder_loggers(trainer: Trainer) -> list[TensorBoardLogger | CSVLogger]:
    """Return the loggers that have a folder for each run."""
    return [logger for logger in trainer.loggers if isinstance(logger, (TensorBoardLogger, CSVLogger))]


def place_checkpoints(trainer: Trainer) -> None:
    """Have checkpoints without a folder written into that of the run; Lightning asks the first logger for one."""
    if not trainer.loggers or trainer.loggers[:1] == folder_loggers(trainer)[:1]:
        return  # Lightning has it so
    for callback in callbacks_of(trainer, ModelCheckpoint):
        if callback.dirpath is None:
            callback.dirpath = str(first_folder(trainer) / "checkpoints")
