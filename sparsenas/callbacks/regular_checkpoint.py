"""Checkpoints within an epoch, every so many minutes."""

from pathlib import Path
from time import monotonic
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import GradientAccumulationScheduler, ModelCheckpoint, StochasticWeightAveraging
from pytorch_lightning.utilities.exceptions import SIGTERMException

from sparsenas.errors import ConfigError
from sparsenas.trainer import (
    WITHIN_EPOCH,
    WithinEpoch,
    callbacks_of,
    is_dry_run,
    is_within_epoch,
    within_epoch_checkpoint,
)


class RegularCheckpoint(WithinEpoch):
    """Write a checkpoint within an epoch, every so many minutes, from which the run goes on with the next batch.

    It also writes one when the only process of a run is asked to end by SIGTERM. A finished run removes it, if a later
    checkpoint is there. Runs that keep no checkpoints keep none of these.

    It is the last of all callbacks: what others do at the end of a batch is done. A run goes on with the same batches
    only; one that changes them goes on from the end of an epoch.

    Args:
        minutes: Minutes between two; 0 for none.

    Raises:
        ConfigError: If the minutes are below 0, or no number.
    """

    def __init__(self, minutes: float = 10.0) -> None:
        if not minutes >= 0:
            raise ConfigError(f"save_every_minutes is {minutes}; use a positive number, or 0 for no checkpoint")
        super().__init__()
        self.minutes = minutes
        self._last, self._batches, self._wait = 0.0, 0, 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock, and check that an epoch which has begun goes on with the same batches.

        Raises:
            ConfigError: If its number of batches is another one.
        """
        self._begin()
        self.written = _resumed_here(trainer)
        if trainer.fit_loop.restarted_mid_epoch:
            planned = getattr(pl_module, "resumed_batches", None)
            if planned not in (None, trainer.num_training_batches):
                raise ConfigError(
                    f"the checkpoint was written within an epoch of {planned} batches, but this run has "
                    f"{trainer.num_training_batches}: leave trainer.limit_train_batches as it was, or go on from the "
                    "end of an epoch"
                )
            for scheduler in callbacks_of(trainer, GradientAccumulationScheduler):
                scheduler.on_train_epoch_start(trainer)  # it hears of no start of this epoch
        if self.minutes and (reason := _why_never(trainer)):
            pl_module.print(f"save_every_minutes: no checkpoint is written within epochs, as {reason}")
            self.minutes = 0.0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write the checkpoint if it is time, unless one follows anyway."""
        if self.minutes and self._is_time(trainer) and _is_between_steps(trainer) and not _validates_next(trainer):
            self._save(trainer)
            self._begin()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Write the checkpoint after SIGTERM, which ends a run between two batches.

        Of several processes one may hear it a batch later than another, and they would wait for each other for ever.
        """
        alone = self.minutes and trainer.world_size == 1
        if isinstance(exception, SIGTERMException) and alone and _is_between_steps(trainer):
            self._save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remove the checkpoint if there is a later one."""
        path = within_epoch_checkpoint(trainer)
        if path is None or not trainer.is_global_zero:
            return
        if any(other.stat().st_mtime_ns > path.stat().st_mtime_ns for other in path.parent.glob("*.ckpt")):
            trainer.strategy.remove_checkpoint(path)

    def _is_time(self, trainer: pl.Trainer) -> bool:
        """Read the clock; of several processes the first one does, and says after how many batches it will again."""
        self._batches += 1
        passed, wanted = monotonic() - self._last, 60 * self.minutes
        if trainer.world_size == 1:
            return passed >= wanted
        if self._batches < self._wait:
            return False
        # half of the batches that fit into what is left, so that the processes wait for each other only seldom
        speed = self._batches / max(passed, 1e-9)
        ahead = 1 + int(speed * max(wanted - passed, 0.0) / 2)
        due, ahead = trainer.strategy.broadcast((passed >= wanted, ahead))
        self._wait = self._batches + ahead
        return bool(due)

    def _begin(self) -> None:
        self._last, self._batches, self._wait = monotonic(), 0, 0

    def _save(self, trainer: pl.Trainer) -> None:
        folders = [callback.dirpath for callback in callbacks_of(trainer, ModelCheckpoint) if callback.dirpath]
        if folders and not is_dry_run(trainer):
            self.written = Path(folders[0]) / WITHIN_EPOCH
            trainer.save_checkpoint(self.written, weights_only=False)  # with optimizers and loops, to go on from


def _resumed_here(trainer: pl.Trainer) -> Path | None:
    """Return the checkpoint within an epoch that a run goes on from in its own folder, to be removed as any other."""
    path = Path(trainer.ckpt_path or "")
    folders = [callback.dirpath for callback in callbacks_of(trainer, ModelCheckpoint) if callback.dirpath]
    here = path.is_file() and bool(folders) and path.absolute().parent == Path(folders[0]).absolute()
    return path if here and path.name == WITHIN_EPOCH else None


def _is_between_steps(trainer: pl.Trainer) -> bool:
    """Say if the epoch goes on, and no step is half done: gradients are in no checkpoint."""
    if trainer.should_stop or 0 <= trainer.max_steps <= trainer.global_step:
        return False  # the end of the epoch follows, and a checkpoint with it
    return is_within_epoch(trainer) and (trainer.fit_loop.batch_idx + 1) % trainer.accumulate_grad_batches == 0


def _validates_next(trainer: pl.Trainer) -> bool:
    """Say if a validation within the epoch follows at once; a run that goes on from here would leave it out."""
    every = trainer.val_check_batch
    return isinstance(every, int) and (trainer.fit_loop.batch_idx + 1) % every == 0


def _why_never(trainer: pl.Trainer) -> str:
    """Say why no run could go on from within an epoch; empty if it can."""
    if callbacks_of(trainer, StochasticWeightAveraging):
        return "StochasticWeightAveraging begins its average with an epoch, and keeps it in no checkpoint"
    every = trainer.val_check_batch
    if isinstance(every, int) and trainer.accumulate_grad_batches % every == 0 and every < trainer.num_training_batches:
        return "a validation follows every step"
    return ""
