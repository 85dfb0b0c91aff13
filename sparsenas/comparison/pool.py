"""Runs in processes of their own, several at a time."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock

from sparsenas.comparison.plan import PlannedRun
from sparsenas.comparison.records import Record, from_json

#: Lines of a log that a message shows.
LAST_LINES = 8


@dataclass(frozen=True)
class Failure:
    """A run that ended without a result.

    Attributes:
        run: Which.
        code: Exit code of its process; below 0 for a signal.
        log: What it has written.
        lines: The last lines of that.
    """

    run: PlannedRun
    code: int
    log: Path
    lines: tuple[str, ...]

    def __str__(self) -> str:
        """Text for people."""
        ended = f"{self.run.searcher} with seed {self.run.seed} ended with code {self.code}"
        return "\n".join([f"{ended}; {self.log} ends with", *(f"  {line}" for line in self.lines)])


class _Workers:
    """Processes that run now."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._live: set[subprocess.Popen[str]] = set()
        self._lock = Lock()
        self._stopped = Event()

    def run(self, run: PlannedRun) -> Record | Failure | None:
        """Start a process and wait for it; None if all were stopped."""
        log = self._logs / f"{run}.log"
        job = {"searcher": run.searcher, "seed": run.seed, "digest": run.digest, "settings": run.settings}
        with log.open("w", encoding="utf-8") as errors:
            with self._lock:
                if self._stopped.is_set():
                    return None
                process = _start(errors.fileno())
                self._live.add(process)
            assert process.stdin is not None
            assert process.stdout is not None
            with suppress(BrokenPipeError):  # its exit code tells
                # stdin stays open: the process ends when this one does, however that ends
                process.stdin.write(json.dumps(job) + "\n")
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
            return from_json(json.loads(answer))
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        return Failure(run, code, log, tuple(lines[-LAST_LINES:]))

    def stop(self) -> None:
        """Kill what runs; nothing starts any more."""
        with self._lock:
            self._stopped.set()
            for process in self._live:
                process.kill()


def _start(log: int) -> subprocess.Popen[str]:
    paths = [path or os.getcwd() for path in sys.path]  # so that classes of the user's own are found there, too
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "sparsenas.comparison"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env=environment,
        encoding="utf-8",
        start_new_session=True,  # Ctrl-C reaches this process only, which then stops the others
    )


def run_all(runs: Sequence[PlannedRun], jobs: int, logs: Path) -> Iterator[Record | Failure]:
    """Make runs, so many at a time, each in a process of one thread; yields them as they end.

    Whoever stops iterating, by an exception or by closing the generator, stops the processes.

    Args:
        runs: In the order in which they are started.
        jobs: Processes at a time.
        logs: Existing folder for what each of them writes.
    """
    workers = _Workers(logs)
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        futures = [pool.submit(workers.run, run) for run in runs]
        try:
            for future in as_completed(futures):
                outcome = future.result()
                if outcome is not None:
                    yield outcome
        finally:
            workers.stop()
