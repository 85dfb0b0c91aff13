"""Processes of this machine."""

import os
import subprocess
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock

from sparsenas.comparison.executors.base import Ended, Executor, log_of
from sparsenas.comparison.executors.process import finish_process, own_paths, own_variables, start_process
from sparsenas.comparison.jobs import Job


@dataclass(frozen=True)
class LocalExecutor(Executor):
    """Runs jobs on this machine, one per core unless told otherwise.

    Args:
        retries: See :class:`Executor`.
    """

    def at_a_time(self, jobs: int | None) -> int:
        """See :meth:`Executor.at_a_time`."""
        return jobs or os.cpu_count() or 1

    @contextmanager
    def _workers(self, logs: Path) -> Generator["_LocalWorkers"]:
        workers = _LocalWorkers(logs)
        try:
            yield workers
        finally:
            workers.stop()


class _LocalWorkers:
    """Threads, each of which waits for one process."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._pool = ThreadPoolExecutor(max_workers=10_000)  # a thread for each job that was started
        self._waiting: dict[Future[Ended], Job] = {}
        self._live: set[subprocess.Popen[str]] = set()
        self._lock, self._stopped = Lock(), Event()

    def start(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._waiting[self._pool.submit(self._run, job)] = job

    def wait(self) -> list[tuple[Job, Ended]]:
        ended, _ = wait(self._waiting, return_when=FIRST_COMPLETED)
        return [(self._waiting.pop(future), future.result()) for future in ended]

    def stop(self) -> None:
        """Kill what runs; nothing starts any more."""
        with self._lock:
            self._stopped.set()
            for process in self._live:
                process.kill()
        self._pool.shutdown()

    def _run(self, job: Job) -> Ended:
        with log_of(job, self._logs).open("a", encoding="utf-8") as log:
            with self._lock:
                if self._stopped.is_set():
                    return Ended(None)
                process = start_process(job.arguments, own_paths(), own_variables(), os.getcwd(), log.fileno())
                self._live.add(process)
            code, answer = finish_process(process, job.text)
        with self._lock:
            self._live.discard(process)
        return Ended(code, answer)
