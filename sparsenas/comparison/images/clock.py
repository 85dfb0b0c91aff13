"""The seconds of a run, and callbacks that keep them."""

from collections.abc import Callable, Sequence
from time import process_time
from typing import Any

import pytorch_lightning as pl
import torch

from sparsenas.classification import right
from sparsenas.errors import BudgetError
from sparsenas.search.searcher import ImageBatch
from sparsenas.training import NetworkTraining


class Clock:
    """Processor seconds of this process since the clock was made; other programs do not count.

    Args:
        total: Seconds of the whole run.
    """

    def __init__(self, total: float) -> None:
        self.total = total
        self._start = process_time()

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return process_time() - self._start

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.total - self.seconds


class StopAt(pl.Callback):
    """Ends a search at a second of the clock.

    Args:
        clock: The clock of the run.
        second: The second.
    """

    def __init__(self, clock: Clock, second: float) -> None:
        self._clock, self._second = clock, second

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Stop if it is time."""
        if self._clock.seconds >= self._second:
            trainer.should_stop = True


class TrainFor(pl.Callback):
    """Sets the seconds of a training when it starts, so that what came before, its own preparation included, counts.

    Args:
        seconds: Gives the seconds.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the seconds.

        Raises:
            BudgetError: If there are none.
        """
        assert isinstance(pl_module, NetworkTraining)
        seconds = self._seconds()
        if seconds <= 0:
            raise BudgetError("no second is left for the training; raise seconds, or lower the share of the search")
        pl_module.train_for(seconds)


class Validation(pl.Callback):
    """Validates at equal shares of a training, whatever an epoch takes.

    Args:
        batches: Images as in evaluation.
        points: Number of shares; the end is not validated here.
        hear: Hears the number of the share and the accuracy, in [0, 1]; the training ends if it returns True.
        most: Share of the time that validations may take; further ones are left out. ``None`` for any.
    """

    def __init__(
        self,
        batches: Sequence[ImageBatch],
        points: int,
        hear: Callable[[int, float], bool],
        most: float | None = None,
    ) -> None:
        self._batches, self._points, self._hear, self._most = batches, points, hear, most
        self._done, self._taken, self._begin = 0, 0.0, process_time()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._begin = process_time()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Validate if another share is done."""
        assert isinstance(pl_module, NetworkTraining)
        done = int(pl_module.progress * self._points)
        if self._done < done < self._points:
            start = process_time()
            if self._most is not None and self._taken > self._most * (start - self._begin):
                return
            self._done = done
            pl_module.recalibrate()
            accuracy = accuracy_on(pl_module, self._batches)
            self._taken += process_time() - start
            if self._hear(done, accuracy):
                trainer.should_stop = True


@torch.no_grad()
def accuracy_on(module: torch.nn.Module, batches: Sequence[ImageBatch]) -> float:
    """Compute the share of images that are right, in evaluation mode; the mode is as before afterwards."""
    training = module.training
    module.eval()
    correct = sum(int(right(module(images), labels).sum()) for images, labels in batches)
    module.train(training)
    return correct / sum(len(labels) for _, labels in batches)
