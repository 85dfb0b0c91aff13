"""Jobs in processes of their own, several at a time."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock
from typing import Any

from sparsenas.errors import SparseNASError

#: Lines of a log that a message shows.
LAST_LINES = 8


@dataclass(frozen=True)
class Job:
    """Work of one process.

    Attributes:
        name: Name of its log, without the ending.
        title: Text for people.
        arguments: ``python -m`` runs them: a module that calls :func:`serve`, and its arguments.
        message: Plain data which that module reads.
    """

    name: str
    title: str
    arguments: tuple[str, ...]
    message: Mapping[str, Any]


@dataclass(frozen=True)
class Failure:
    """A job that ended without a result.

    Attributes:
        title: Text for people that names the job.
        code: Exit code of its process; below 0 for a signal.
        log: Text that it has written.
        lines: The last lines of that.
    """

    title: str
    code: int
    log: Path
    lines: tuple[str, ...]

    def __str__(self) -> str:
        """Text for people."""
        ended = f"{self.title} ended with code {self.code}"
        return "\n".join([f"{ended}; {self.log} ends with", *(f"  {line}" for line in self.lines)])


class _Workers:
    """Processes that run now."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._live: set[subprocess.Popen[str]] = set()
        self._lock = Lock()
        self._stopped = Event()

    def run(self, job: Job) -> Any:
        """Start a process and wait for it; None if all were stopped."""
        log = self._logs / f"{job.name}.log"
        with log.open("w", encoding="utf-8") as errors:
            with self._lock:
                if self._stopped.is_set():
                    return None
                process = _start(job.arguments, errors.fileno())
                self._live.add(process)
            assert process.stdin is not None
            assert process.stdout is not None
            with suppress(BrokenPipeError):  # its exit code tells
                # stdin stays open: the process ends when this one does, however that ends
                process.stdin.write(json.dumps(job.message) + "\n")
                process.stdin.flush()
            answer = process.stdout.read()
            code = process.wait()
            process.stdout.close()
            with suppress(BrokenPipeError):
                process.stdin.close()
        with self._lock:
            self._live.discard(process)
            if self._stopped.is_set():
                return None
        if code == 0 and answer:
            return json.loads(answer)
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        return Failure(job.title, code, log, tuple(lines[-LAST_LINES:]))

    def stop(self) -> None:
        """Kill what runs; nothing starts any more."""
        with self._lock:
            self._stopped.set()
            for process in self._live:
                process.kill()


def _start(arguments: Sequence[str], log: int) -> subprocess.Popen[str]:
    paths = [path or os.getcwd() for path in sys.path]  # so that classes of the user's own are found there, too
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env=environment,
        encoding="utf-8",
        start_new_session=True,  # Ctrl-C reaches this process only, which then stops the others
    )


def run_jobs(jobs: Sequence[Job], parallel: int, logs: Path) -> Generator[tuple[Job, Any]]:
    """Run jobs, so many at a time, each in a process of one thread; yields them with their answers as they end.

    An answer is what :func:`serve` got, as plain data, or a :class:`Failure`. Whoever stops iterating, by an exception
    or by closing the generator, stops the processes.

    Args:
        jobs: In the order in which they are started.
        parallel: Processes at a time.
        logs: Existing folder for what each of them writes.
    """
    workers = _Workers(logs)
    with ThreadPoolExecutor(max_workers=parallel) as pool:
        futures = {pool.submit(workers.run, job): job for job in jobs}
        try:
            for future in as_completed(futures):
                answer = future.result()
                if answer is not None:
                    yield futures[future], answer
        finally:
            workers.stop()


def serve(run: Callable[[dict[str, Any]], Any]) -> None:
    """Be the process of a job: read its message, write the answer of ``run``; all other output is the log.

    Standard input stays open as long as the process that started this one lives; when it closes, this one ends too.
    """
    import torch

    message = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    answer = sys.stdout
    with redirect_stdout(sys.stderr):
        try:
            result = run(message)
        except SparseNASError as error:
            print(f"sparsenas: error: {error}", file=sys.stderr)
            sys.exit(2)
    print(json.dumps(result, allow_nan=False), file=answer, flush=True)


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)
