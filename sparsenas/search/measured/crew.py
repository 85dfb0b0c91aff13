"""A crew: processes that train entrants at the same time, one each."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

import torch

from sparsenas.errors import SparseNASError
from sparsenas.search.measured.history import Measurement
from sparsenas.search.measured.plan import Task
from sparsenas.search.measured.trainings import Trainings


@dataclass
class Crew:
    """Processes of one machine that read and write one folder; the first one says what to measure.

    As a context of the first process it sends the others away at its end, with the error that ended it, if any: they
    would wait for ever.

    Attributes:
        trainings: Makes the trainings of this process.
        rungs: Share of the length at which each rung ends.
        rank: Number of this process.
        size: Number of processes.
    """

    trainings: Trainings
    rungs: Sequence[float]
    rank: int = 0
    size: int = 1
    _over: bool = field(default=False, init=False, repr=False)

    @property
    def by_steps(self) -> bool:
        """True if lengths are in steps."""
        return self.trainings.training.steps is not None

    def __enter__(self) -> "Crew":
        """Begin to say what to measure."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Send the others away; an interruption from outside they hear themselves."""
        if self.size > 1 and not self._over and (error is None or isinstance(error, Exception)):
            self._agree(None if error is None else _sendable(error))

    def measure(self, tasks: Sequence[Task]) -> list[Measurement]:
        """Make trainings at the same time, on the first process; the others :meth:`help`.

        Seconds pass for all at once; each is charged an equal part.

        Args:
            tasks: Between one and as many as there are processes.

        Raises:
            Exception: What went wrong in a training on any process.
        """
        self._over = True  # should this fail, all know or are gone
        found = self._together(self._agree(tuple(tasks)) if self.size > 1 else tasks)
        self._over = False
        return found

    def help(self) -> None:
        """Train what the first process asks for, until it asks for nothing more.

        Raises:
            Exception: What went wrong on any process.
        """
        while (tasks := self._agree(None)) is not None:
            if isinstance(tasks, Exception):
                raise tasks
            self._together(tasks)

    def _agree(self, said: Any) -> Any:
        """Tell all processes what the first one says; gives it."""
        box = [said]
        torch.distributed.broadcast_object_list(box, src=0)
        return box[0]

    def _together(self, tasks: Sequence[Task]) -> list[Measurement]:
        """Make the training of this process; gives what all measured."""
        try:
            outcome: Any = None if self.rank >= len(tasks) else self._train(tasks[self.rank])
        except Exception as error:  # of any kind: a process that ends without a word lets the others wait for ever
            if self.size == 1:
                raise
            outcome = _sendable(error)  # the others wait for an outcome
        outcomes = [outcome] * self.size
        if self.size > 1:
            torch.distributed.all_gather_object(outcomes, outcome)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        found: list[Measurement] = outcomes[: len(tasks)]
        if self.by_steps:
            return found
        passed = max(measurement.spent for measurement in found)
        return [replace(measurement, spent=passed / len(found)) for measurement in found]

    def _train(self, task: Task) -> Measurement:
        return self.trainings.train(task.entrant, task.rung, self.rungs[task.rung], task.repeat)


def _sendable(error: BaseException) -> Exception:
    """An error that another process can read; without its traceback, which would keep the network in memory."""
    if isinstance(error, SparseNASError):
        return error.with_traceback(None)
    return RuntimeError(f"{type(error).__name__}: {error}")
