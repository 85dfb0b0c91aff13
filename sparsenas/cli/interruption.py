"""A run stopped by a signal: what is left, and how to go on."""

from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.utilities.exceptions import SIGTERMException

from sparsenas.cli.outcome import checkpoints, measuring_again, resumption
from sparsenas.cli.signals import Terminated


class Interruption(pl.Callback):
    """Remembers how to go on with a run that was stopped by Ctrl-C or SIGTERM.

    Attributes:
        code: Exit code, 128 + the signal's number; None if the run was not stopped.
        advice: Path of the last checkpoint, and the command that goes on from it, in the first process.
    """

    def __init__(self) -> None:
        self.code: int | None = None
        self.advice = ""

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Take a note, for the first process to print; Lightning then shuts the run down."""
        if isinstance(exception, (SIGTERMException, Terminated)):
            self.code = 143
        elif isinstance(exception, KeyboardInterrupt):
            self.code = 130
        self.advice = how_to_go_on(trainer) if trainer.is_global_zero else ""


def how_to_go_on(trainer: pl.Trainer) -> str:
    """Text that names the last checkpoint of an unfinished run and the command that goes on from it."""
    if trainer.state.fn != "fit":
        return "sparsenas: interrupted"
    last = next(reversed(checkpoints(trainer)), trainer.ckpt_path)
    if last is None and (again := measuring_again(trainer)) is not None:
        return f"sparsenas: interrupted while measuring; what was measured is kept\ngo on with: {again}"
    if last is None:
        return "sparsenas: interrupted; no checkpoint had been written yet (one is written at the end of every epoch)"
    return f"sparsenas: interrupted; the last checkpoint is {last}\ngo on with: {resumption(trainer, Path(last))}"
