"""Progress for people: a bar on a terminal, one line per epoch elsewhere."""

import sys
from time import perf_counter
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import TQDMProgressBar
from tqdm.auto import tqdm

from sparsenas.search import SearchModule


class SearchProgressBar(TQDMProgressBar):
    """Lightning's progress bar with validation accuracy, churn and visited architectures.

    Outside a terminal (a file, a pipe, a cluster's log), it writes one plain line per epoch instead.

    Args:
        refresh_rate: Batches between updates of the bar; 0 for no output at all.
        leave: Keep each epoch's bar on the screen.
    """

    def __init__(self, refresh_rate: int = 1, leave: bool = False) -> None:
        super().__init__(refresh_rate=refresh_rate, leave=leave)
        self._lines = self._closed = False
        self._begin = self._end = 0.0
        self._batches, self._validated = 0, False

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check where the output goes."""
        super().setup(trainer, pl_module, stage)
        self._lines, self._closed = self.is_enabled and not sys.stdout.isatty(), False
        if self._lines:
            self.disable()

    def get_metrics(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Return the metrics logged for the bar and those of the last recovery."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)  # known from the folder
        if isinstance(pl_module, SearchModule):
            metrics |= pl_module.progress()
        return metrics

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prepare the bar of an epoch that began before the run did."""
        super().on_train_start(trainer, pl_module)
        if trainer.fit_loop.restarted_mid_epoch:
            self.on_train_epoch_start(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        """Start the clock."""
        super().on_train_epoch_start(trainer, *args)
        self._begin, self._batches, self._validated = perf_counter(), 0, False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take note that figures of the validation are new."""
        super().on_validation_end(trainer, pl_module)
        self._validated = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Read the clock: validation at the end of the epoch does not count."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        self._end, self._batches = perf_counter(), self._batches + 1

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the epoch's line outside a terminal."""
        if trainer.world_size > 1:
            # metrics of an epoch are computed when first asked for, by all processes together, and only one has a bar
            self.get_metrics(trainer, pl_module)
        super().on_train_epoch_end(trainer, pl_module)
        if self._lines:
            self.print(self._line(trainer, pl_module))

    def on_train_end(self, *args: Any) -> None:
        """Close the bar."""
        super().on_train_end(*args)
        self._closed = self.is_enabled

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Write a line without disturbing the bar, also before there is one and after it is closed."""
        text = kwargs.get("sep", " ").join(map(str, args))
        if self._lines or self._closed:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()  # so that a log file can be followed
        elif self._train_progress_bar is None and self._val_progress_bar is None:
            tqdm.write(text)  # Lightning would drop it: a search may have a bar of its own
        else:
            super().print(*args, **kwargs)

    def _line(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> str:
        speed = self._batches / max(self._end - self._begin, 1e-9)
        last = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else None
        epoch = f"{trainer.current_epoch + 1:>{len(str(last))}}/{last}" if last else str(trainer.current_epoch + 1)
        parts = [f"epoch {epoch}", f"{speed:.1f} it/s"]
        for name, value in self.get_metrics(trainer, pl_module).items():
            if name.startswith("val/") and not self._validated:
                continue  # of an earlier epoch
            if isinstance(value, float):
                parts.append(f"{name} {value:.4f}" if abs(value) < 1000 else f"{name} {value:.3g}")
            else:
                parts.append(f"{name} {value}")
        return "  ".join(parts)
