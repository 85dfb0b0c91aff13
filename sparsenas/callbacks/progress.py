"""Progress for people: a bar on a terminal, one line per epoch elsewhere."""

import sys
from math import inf
from time import perf_counter
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Timer, TQDMProgressBar
from tqdm.auto import tqdm

from sparsenas.callbacks.tensorboard import trained_batches
from sparsenas.search import SearchModule
from sparsenas.trainer import callbacks_of
from sparsenas.training import TrainingModule


class SearchProgressBar(TQDMProgressBar):
    """Lightning's progress bar with the time left, validation accuracy, churn and visited architectures.

    Above the bar stays one line for each epoch with a validation. Outside a terminal (a file, a pipe, a cluster's log),
    there is no bar, and one plain line per epoch.

    Args:
        refresh_rate: Batches between updates of the bar; 0 for no output at all.
        leave: Keep each epoch's bar on the screen.
    """

    def __init__(self, refresh_rate: int = 1, leave: bool = False) -> None:
        super().__init__(refresh_rate=refresh_rate, leave=leave)
        self._lines = self._closed = False
        self._begin = self._end = 0.0
        self._batches, self._validated = 0, False
        self._start, self._done = 0.0, 0.0

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
        left = self._left(trainer, pl_module)
        return ({"left": left} if left else {}) | metrics

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prepare the bar of an epoch that began before the run did."""
        super().on_train_start(trainer, pl_module)
        self._start, self._done = perf_counter(), _share(trainer, pl_module)
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
        """Write the epoch's line; on a terminal only those with news of a validation."""
        if trainer.world_size > 1:
            # metrics of an epoch are computed when first asked for, by all processes together, and only one has a bar
            self.get_metrics(trainer, pl_module)
        super().on_train_epoch_end(trainer, pl_module)
        if self._lines or (self.is_enabled and self._validated):
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

    def _left(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> str:
        """Time until the end of the fit at the pace so far; empty if it is unknown."""
        share = _share(trainer, pl_module)
        if not self._done < share < 1.0:
            return ""
        pace = (perf_counter() - self._start) / (share - self._done)
        left: str = tqdm.format_interval(pace * (1.0 - share))
        return left

    def _line(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> str:
        speed = self._batches / max(self._end - self._begin, 1e-9)
        last = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else None
        epoch = f"{trainer.current_epoch + 1:>{len(str(last))}}/{last}" if last else str(trainer.current_epoch + 1)
        parts = [f"epoch {epoch}", f"{speed:.1f} it/s"]
        for name, value in self.get_metrics(trainer, pl_module).items():
            if name == "left":
                parts.append(f"{value} left")
                continue
            if name.startswith("val/") and not self._validated:
                continue  # of an earlier epoch
            if isinstance(value, float):
                parts.append(f"{name} {value:.4f}" if abs(value) < 1000 else f"{name} {value:.3g}")
            else:
                parts.append(f"{name} {value}")
        return "  ".join(parts)


def _share(trainer: pl.Trainer, pl_module: pl.LightningModule) -> float:
    """Share of the fit that is done; 0 if nobody knows."""
    if isinstance(pl_module, TrainingModule) and not pl_module.weight_training.by_epochs:
        return pl_module.progress
    shares, batches = [0.0], (trainer.max_epochs or 0) * trainer.num_training_batches
    if 0 < batches < inf:
        shares.append(trained_batches(trainer) / batches)
    if trainer.max_steps > 0:
        shares.append(trainer.global_step / trainer.max_steps)
    for timer in callbacks_of(trainer, Timer):
        if (remaining := timer.time_remaining()) is not None:
            shares.append(timer.time_elapsed() / max(timer.time_elapsed() + remaining, 1e-9))
    return max(shares)
