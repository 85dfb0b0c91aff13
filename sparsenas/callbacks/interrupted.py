"""Runs that end before their planned end: where that was, and work that may not delay it."""

import threading
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Timer
from pytorch_lightning.utilities.exceptions import SIGTERMException

from sparsenas.callbacks.tensorboard import trained_batches
from sparsenas.trainer import callbacks_of, stopped_early

#: Seconds that the end of a run waits for its report, at most: who has pressed Ctrl-C waits, too.
LIMIT = 2.0


def is_interruption(exception: BaseException) -> bool:
    """Say if an exception is Ctrl-C or SIGTERM, and no error."""
    return isinstance(exception, (KeyboardInterrupt, SIGTERMException))


def place_in(trainer: pl.Trainer, epoch: int) -> str:
    """Name a place in a run: an epoch, counted from 1, or the batches of a run without a number of epochs."""
    epochs = trainer.max_epochs or -1
    if epochs > 0:
        return f"at epoch {min(epoch, epochs)} of {epochs}"
    return f"after {trained_batches(trainer):,} training batches"


def stopped_at(trainer: pl.Trainer, model: Any) -> str:
    """Say where ``trainer.max_time`` has ended a fit; empty if it came to its end."""
    left = [timer.time_remaining() for timer in callbacks_of(trainer, Timer)]
    whole = trainer.current_epoch >= (trainer.max_epochs or 0) and getattr(model, "finished", True)
    if whole or stopped_early(trainer) or not any(seconds is not None and seconds <= 0 for seconds in left):
        return ""
    return f"stopped by trainer.max_time {place_in(trainer, trainer.current_epoch)}"


def at_most(seconds: float, action: Callable[[], None]) -> None:
    """Do something that is given up after some seconds.

    Raises:
        Exception: Whatever the action raises until then.
    """
    failed: list[Exception] = []

    def run() -> None:
        try:
            action()
        except Exception as error:  # it is raised below
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)  # the end of the program does not wait for it
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
