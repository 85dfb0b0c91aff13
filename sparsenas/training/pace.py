"""Progress of a training whose length is in steps or seconds."""

from collections.abc import Callable
from time import perf_counter, process_time
from typing import Any, NamedTuple

import torch
from pytorch_lightning.utilities import CombinedLoader

from sparsenas.training.weights import Clock, WeightTraining


class Work(NamedTuple):
    """Training that is done: its steps, and its seconds."""

    steps: float = 0.0
    seconds: float = 0.0


class Pace:
    """Share of a training that is done.

    Args:
        training: Options that give the length.
        device: Device of the training; it decides which seconds count.
        workers: Number of other processes that read images, whose seconds of the processor nobody would count.

        before: Work done before this run, which it goes on with.
    """

    def __init__(self, training: WeightTraining, device: torch.device, workers: int = 0, before: Work = Work()) -> None:
        self._training = training
        self._clock = clock_for(device, workers, training.clock)
        self._start = self._clock()
        self.before = before

    @property
    def seconds(self) -> float:
        """Seconds so far, those before this run included."""
        return self.before.seconds + self._clock() - self._start

    def progress(self, steps: int) -> float:
        """Share of the length after so many steps of this run, see :func:`share_of`."""
        return share_of(self._training, Work(self.before.steps + steps, self.seconds))


def share_of(training: WeightTraining, work: Work) -> float:
    """Return the share of a training that some work is, at most 1; of a training by epochs, 0."""
    if training.steps is not None:
        return min(work.steps / training.steps, 1.0)
    if training.seconds is not None:
        return min(work.seconds / training.seconds, 1.0)
    return 0.0


def clock_for(device: torch.device, workers: int = 0, clock: Clock = "auto") -> Callable[[], float]:
    """Return the clock of a training: of the processor where one thread of a CPU does all, else that on the wall."""
    of_processor = clock == "auto" and device.type == "cpu" and torch.get_num_threads() == 1 and not workers
    return process_time if of_processor else perf_counter


def continued(done: float, left: float, work: Work, steps: bool) -> tuple[Work, float]:
    """Compute work and length such that a share is done now, and all of it when what is left is over.

    The learning rate then goes on where it was, and comes to its end with the run.

    Args:
        done: Share that is done, below 1.
        left: Steps or seconds that are left.
        work: Work that is done, in truth.
        steps: Count steps; seconds otherwise.
    """
    length = left / (1 - done)
    if steps:  # of which there is a whole number, and none too many
        length = float(max(round(length), 1))
        return Work(length - left, work.seconds), length
    return Work(work.steps, done * length), length


def count_workers(loaders: Any) -> int:
    """Count the processes that read training images."""
    streams = loaders.flattened if isinstance(loaders, CombinedLoader) else [loaders]
    return sum(getattr(stream, "num_workers", 0) for stream in streams)
