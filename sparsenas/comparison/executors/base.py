"""Executor: who runs jobs, and where."""

import json
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from sparsenas.comparison.checks import check_number, check_whole
from sparsenas.comparison.jobs import LAST_LINES, Failure, Job
from sparsenas.errors import ConfigError


@dataclass(frozen=True)
class Ended:
    """End of an attempt at a job.

    Attributes:
        code: Exit code of its process; ``None`` if nobody knows.
        answer: What it has answered; empty if nothing.
        reason: Why nobody knows the code.
        lost: True if its machine, or what watched it there, has died.
    """

    code: int | None
    answer: str = ""
    reason: str = ""
    lost: bool = False

    @property
    def died(self) -> bool:
        """True if another attempt may succeed: nothing was wrong with the job itself.

        Below 0 is a signal. Lightning ends a training after SIGTERM with code 0, but without an answer.
        """
        return self.lost or (self.code is not None and (self.code < 0 or (self.code == 0 and not self.answer)))


class Workers(Protocol):
    """Processes of an executor while it runs jobs."""

    def start(self, jobs: Sequence[Job]) -> None:
        """Start jobs. What they write is added to ``NAME.log``."""

    def wait(self) -> Sequence[tuple[Job, Ended]]:
        """Wait until at least one of those that run has ended; gives all that have."""


@dataclass(frozen=True)
class Executor(ABC):
    """Runs jobs, each in a process of one thread.

    Args:
        retries: Further attempts at a job whose process or machine died: by a signal, without memory, or preempted. An
            error of the user, or of the program, is never tried again.
    """

    retries: int = 0

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ConfigError: If one is out of range.
        """
        check_whole(self.retries, "executor: retries", least=0)

    def check(self) -> None:  # noqa: B027 - most things work everywhere
        """Find out now what cannot work here.

        Raises:
            ConfigError: If a library is missing.
        """

    def at_a_time(self, jobs: int | None) -> int | None:
        """Return the number of processes at a time; ``None`` for as many as there is room for."""
        return jobs

    @abstractmethod
    def _workers(self, logs: Path) -> AbstractContextManager[Workers]:
        """Make workers, which add to the logs in a folder; all of them end with the context."""

    def run_jobs(self, jobs: Sequence[Job], parallel: int | None, logs: Path) -> Generator[tuple[Job, Any]]:
        """Run jobs, so many at a time; yields them with their answers as they end.

        An answer is what :func:`serve` got, as plain data, or a :class:`Failure`. Whoever stops iterating, by an
        exception or by closing the generator, stops the processes.

        Args:
            jobs: In the order in which they are started.
            parallel: Processes at a time; see :meth:`at_a_time`.
            logs: Existing folder for what each of them writes.

        Raises:
            ConfigError: If they cannot be run, by this executor or with these resources.
        """
        parallel = self.at_a_time(parallel) or len(jobs)
        waiting, running, attempts = deque(jobs), 0, Counter[str]()
        with self._workers(logs) as workers:
            while waiting or running:
                new = [waiting.popleft() for _ in range(min(len(waiting), parallel - running))]
                running += len(new)
                for job in new:
                    attempts[job.name] += 1
                    if attempts[job.name] == 1:
                        log_of(job, logs).write_bytes(b"")
                if new:
                    workers.start(new)
                for job, ended in workers.wait():
                    running -= 1
                    if ended.died and attempts[job.name] <= self.retries:
                        add_to_log(job, logs, f"sparsenas: {_how(ended)}; trying again\n")
                        waiting.append(job)
                    else:
                        yield job, _answer(job, ended, attempts[job.name], log_of(job, logs))


@dataclass(frozen=True)
class ClusterExecutor(Executor):
    """Runs jobs on other machines.

    Args:
        retries: See :class:`Executor`.
        cpus: Cores that are kept free for a run; it has one thread all the same.
        gpus: GPUs for a run.
        memory: GB that are kept free for a run; ``None`` for what the cluster does without being asked.
    """

    retries: int = 1
    cpus: int = 1
    gpus: int = 0
    memory: float | None = None

    def __post_init__(self) -> None:
        """See :meth:`Executor.__post_init__`."""
        super().__post_init__()
        check_whole(self.cpus, "executor: cpus")
        check_whole(self.gpus, "executor: gpus", least=0)
        if self.memory is not None:
            object.__setattr__(self, "memory", check_number(self.memory, "executor: memory"))  # also of a text


def option_names(executor: type[Executor]) -> tuple[str, ...]:
    """Return the names of the options of an executor."""
    return tuple(field.name for field in fields(executor))


def load(library: str, why: str) -> Any:
    """Import a library that not everybody has.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        return import_module(library)
    except ImportError as error:
        raise ConfigError(
            f"executor {library}: {why}, which cannot be imported ({error}): pip install 'sparsenas[{library}]', or "
            "use --executor local"
        ) from error


def log_of(job: Job, logs: Path) -> Path:
    """Return the path of the log of a job."""
    return logs / f"{job.name}.log"


def add_to_log(job: Job, logs: Path, text: str) -> None:
    """Add text to the log of a job."""
    with log_of(job, logs).open("a", encoding="utf-8") as log:
        log.write(text)


def _how(ended: Ended) -> str:
    return f"ended with code {ended.code}" if ended.code is not None else ended.reason


def _answer(job: Job, ended: Ended, attempts: int, log: Path) -> Any:
    if ended.code == 0 and ended.answer:
        return json.loads(ended.answer)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return Failure(job.title, ended.code, log, tuple(lines[-LAST_LINES:]), ended.reason, attempts)
