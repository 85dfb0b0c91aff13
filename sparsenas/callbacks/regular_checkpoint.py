"""Checkpoints within an epoch, every so many minutes."""

from time import monotonic
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities.exceptions import SIGTERMException

from sparsenas.errors import ConfigError
from sparsenas.trainer import is_within_epoch, within_epoch_checkpoint


class RegularCheckpoint(pl.Callback):
    """Write a checkpoint within an epoch, every so many minutes, from which the run goes on with the next batch.

    It also writes one when the only process of a run is asked to end by SIGTERM. A finished run removes it, if a later
    checkpoint is there. Runs that keep no checkpoints keep none of these.

    It comes after all callbacks that do something at the end of a batch, and before those that write checkpoints.

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
        """Start the clock."""
        self._begin()

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
        if path is None or not trainer.is_global_zero or not path.exists():
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
        path = within_epoch_checkpoint(trainer)
        if path is not None:
            trainer.save_checkpoint(path, weights_only=False)


def _is_between_steps(trainer: pl.Trainer) -> bool:
    """Say if the epoch goes on, and no step is half done: gradients are in no checkpoint."""
    if trainer.should_stop:  # the end of the epoch follows, and a checkpoint with it
        return False
    return is_within_epoch(trainer) and (trainer.fit_loop.batch_idx + 1) % trainer.accumulate_grad_batches == 0


def _validates_next(trainer: pl.Trainer) -> bool:
    """Say if a validation within the epoch follows at once; a run that goes on from here would leave it out."""
    every = trainer.val_check_batch
    return isinstance(every, int) and (trainer.fit_loop.batch_idx + 1) % every == 0
