"""Progress of a training whose length is in steps or seconds."""

from collections.abc import Callable
from time import perf_counter, process_time

import torch

from sparsenas.training.weights import WeightTraining


class Pace:
    """Share of a training that is done.

    Args:
        training: Options that give the length.
        device: Device of the training; it decides which seconds count.
        workers: Number of other processes that read images, whose seconds of the processor nobody would count.

    Attributes:
        before: Seconds of earlier runs, before a resume.
    """

    def __init__(self, training: WeightTraining, device: torch.device, workers: int = 0) -> None:
        self._training = training
        self.of_processor = device.type == "cpu" and torch.get_num_threads() == 1 and not workers
        self._clock: Callable[[], float] = process_time if self.of_processor else perf_counter
        self._start = self._clock()
        self.before = 0.0

    @property
    def seconds(self) -> float:
        """Seconds so far, those of earlier runs included."""
        return self.before + self._clock() - self._start

    def progress(self, steps: int) -> float:
        """Share of the length after so many steps, at most 1; of a training by epochs, 0."""
        if self._training.steps is not None:
            return min(steps / self._training.steps, 1.0)
        if self._training.seconds is not None:
            return min(self.seconds / self._training.seconds, 1.0)
        return 0.0
