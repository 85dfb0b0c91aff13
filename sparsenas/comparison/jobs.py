"""Jobs: what a process of its own is asked, what it answers, and how it can fail."""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsenas import __version__
from sparsenas.errors import ConfigError, SparseNASError

#: Lines of a log that a message shows.
LAST_LINES = 8


@dataclass(frozen=True)
class Job:
    """Work of one process.

    Attributes:
        name: Name of its log, without the ending; no two jobs have the same.
        title: Text for people.
        arguments: ``python -m`` runs them: a module that calls :func:`serve`, and its arguments.
        message: Plain data which that module reads.
    """

    name: str
    title: str
    arguments: tuple[str, ...]
    message: Mapping[str, Any]

    @property
    def text(self) -> str:
        """The line that its process reads; the process may be on a machine with another version."""
        return json.dumps({"version": __version__, "message": self.message})


@dataclass(frozen=True)
class Failure:
    """A job that ended without a result.

    Attributes:
        title: Text for people that names the job.
        code: Exit code of its process; below 0 for a signal; ``None`` if nobody knows.
        log: Text that it has written.
        lines: The last lines of that.
        reason: Why nobody knows the code; may be empty otherwise.
        attempts: Number of attempts.
    """

    title: str
    code: int | None
    log: Path
    lines: tuple[str, ...]
    reason: str = ""
    attempts: int = 1

    def __str__(self) -> str:
        """Text for people."""
        how = f"ended with code {self.code}" if self.code is not None else f"has no result: {self.reason}"
        tries = f" in attempt {self.attempts} of {self.attempts}" if self.attempts > 1 else ""
        if not self.lines:
            return f"{self.title} {how}{tries}; {self.log} is empty"
        return "\n".join([f"{self.title} {how}{tries}; {self.log} ends with", *(f"  {line}" for line in self.lines)])


def serve(run: Callable[[dict[str, Any]], Any]) -> None:
    """Be the process of a job: read its message, write the answer of ``run``; all other output is the log.

    Standard input stays open as long as the process that started this one lives; when it closes, this one ends too.
    """
    import torch

    told = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if hasattr(signal, "SIGUSR2"):  # by which SLURM warns that time runs out; who started this process hears it
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    torch.set_num_threads(1)
    answer = sys.stdout
    with redirect_stdout(sys.stderr):
        try:
            if told["version"] != __version__:
                raise ConfigError(
                    f"sparsenas {__version__} is installed here, but {told['version']} where the comparison is; "
                    "install the same version on all machines"
                )
            result = run(told["message"])
        except SparseNASError as error:
            print(f"sparsenas: error: {error}", file=sys.stderr)
            sys.exit(2)
    print(json.dumps(result, allow_nan=False), file=answer, flush=True)


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)
