"""A run stopped by a signal: what is left, and how to go on."""

from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.utilities.exceptions import SIGTERMException

from sparsenas.cli.outcome import measuring_again, resumption
from sparsenas.cli.signals import Terminated
from sparsenas.trainer import checkpoints


class Interruption(pl.Callback):
    """Remembers how to go on with a run that was stopped by Ctrl-C or SIGTERM.

    Attributes:
        code: Exit code, 128 + the signal's number; None if the run was not stopped.
    """

    def __init__(self) -> None:
        self.code: int | None = None
        self._trainer: pl.Trainer | None = None

    @property
    def advice(self) -> str:
        """Path of the last checkpoint, which another callback may just have written, and how to go on from it.

        Only the first process says so.
        """
        return how_to_go_on(self._trainer) if self._trainer is not None and self._trainer.is_global_zero else ""

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Take a note; Lightning then shuts the run down."""
        if isinstance(exception, (SIGTERMException, Terminated)):
            self.code = 143
        elif isinstance(exception, KeyboardInterrupt):
            self.code = 130
        self._trainer = trainer


def how_to_go_on(trainer: pl.Trainer) -> str:
    """Text that names the last checkpoint of an unfinished run and the command that goes on from it."""
    if trainer.state.fn != "fit":
        return "sparsenas: interrupted"
    known = [*checkpoints(trainer), *(Path(path) for path in [trainer.ckpt_path] if path)]
    # what this run goes on from may be newer than the copies of earlier checkpoints in its folder
    last = max((path for path in known if path.is_file()), key=lambda path: path.stat().st_mtime_ns, default=None)
    if last is None and (again := measuring_again(trainer)) is not None:
        return f"sparsenas: interrupted while measuring; what was measured is kept\ngo on with: {again}"
    if last is None:
        return "sparsenas: interrupted; no checkpoint had been written yet (one is written at the end of every epoch)"
    return f"sparsenas: interrupted; the last checkpoint is {last}\ngo on with: {resumption(trainer, last)}"
