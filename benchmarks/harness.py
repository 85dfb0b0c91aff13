"""What the benchmarks share: options, interleaved timing, peak memory, goals, tables and JSON.

All rows of a benchmark run in turn, again and again, in one process, so that whatever else the machine does hits all of
them alike; quoted are medians with quartiles, and ratios of medians.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler would report its own start and stop

import torch
from threadpoolctl import threadpool_limits
from torch.profiler import ProfilerActivity, profile

from sparsenas.api.terminal import calm_terminal
from sparsenas.errors import ConfigError, SparseNASError
from sparsenas.files import write_atomically

#: Seconds (or bytes) of every row in every round.
Samples = dict[str, list[float]]


class MissingError(ConfigError):
    """A device, library or data set that is not there."""


class Goal(NamedTuple):
    """What a figure should be.

    Attributes:
        limit: The bound.
        at_least: Whether it is a lower one.
    """

    limit: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        """Whether a value is within the bound."""
        return value >= self.limit if self.at_least else value <= self.limit


#: Seconds that a measurement lasts at least.
SHORTEST = 0.01

#: Goals of the figures, for two CPU cores; all but those that end in ``_ms`` are ratios.
GOALS = {
    "two_stage_over_limit": Goal(1.10),
    "one_stage_over_training_step": Goal(1.08),
    "full_gradient_over_limit": Goal(1.35),
    "memory_over_discrete": Goal(1.05),
    "candidates_56_over_7": Goal(1.05),
    "candidates_56_over_7_memory": Goal(1.15),
    "recovery_ms": Goal(0.3),
    "recovery_over_lars": Goal(1 / 50),
    "lightning_over_bare": Goal(1.05),
    "pipeline_over_step": Goal(0.10),
    "augment_over_plain_step_16px": Goal(0.02),
    "augment_over_plain_step_32px": Goal(0.02),
    "darts_over_ours": Goal(15, at_least=True),
    "stage_over_sequential": Goal(1.03),
    "stage_search_over_training_step": Goal(1.08),
    "stage_fill_ms": Goal(1.0),
    "stage_recovery_ms": Goal(50.0),
}


class Report:
    """Collects what a benchmark measured, and prints it.

    Args:
        options: Parsed options of :func:`parser`.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.ratios: dict[str, float] = {}
        self.rows: dict[str, dict[str, float]] = {}
        self.missing: list[str] = []
        self._options = options

    def seconds(self, title: str, samples: Mapping[str, Sequence[float]]) -> dict[str, float]:
        """Print medians and quartiles of a group of rows, and return the medians."""
        print(f"\n{title}")
        for name, values in samples.items():
            low, median, high = statistics.quantiles(values, n=4)
            print(
                f"  {name:34}{1e3 * median:10.2f} ms   quartiles {1e3 * low:.2f} to {1e3 * high:.2f}, n = {len(values)}"
            )
            self.rows[f"{title}: {name}"] = {"median": median, "low": low, "high": high, "n": len(values)}
        return {name: statistics.median(values) for name, values in samples.items()}

    def leave_out(self, what: str, error: MissingError) -> None:
        """Name a row that cannot be measured here.

        Raises:
            MissingError: Without ``--skip-missing``.
        """
        if not self._options.skip_missing:
            raise error
        self.missing.append(what)
        print(f"left out: {what}: {error}")

    def finish(self) -> None:
        """Print the ratios beside their goals, and write the JSON file."""
        print()
        for name, value in self.ratios.items():
            goal = GOALS.get(name)
            wanted = ""
            if goal is not None:
                bound = f"at {'least' if goal.at_least else 'most'} {goal.limit:g}"
                wanted = f"goal: {bound:16}{'met' if goal.met(value) else 'MISSED'}"
            print(f"{name:36}{value:9.4f}   {wanted}".rstrip())
        if self._options.json:
            result: dict[str, Any] = {"ratios": self.ratios, "seconds": self.rows, "left_out": self.missing}
            result["machine"] = machine(self._options)
            write_atomically(self._options.json, json.dumps(result, indent=1).encode())


def machine(options: argparse.Namespace) -> dict[str, Any]:
    """What the figures depend on beside the code."""
    return {
        "device": options.device,
        "threads": options.threads,
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "options": {name: str(value) for name, value in vars(options).items()},
    }


def parser(description: str, repeats: int) -> argparse.ArgumentParser:
    """Options that all benchmarks have."""
    made = argparse.ArgumentParser(description=description.splitlines()[0])
    made.add_argument("--repeats", type=int, default=repeats, help="rounds that count")
    made.add_argument("--threads", type=int, default=1, help="CPU threads")
    made.add_argument("--device", default="cpu", help="cpu or cuda")
    made.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file, and nothing else")
    made.add_argument("--skip-missing", action="store_true", help="leave out what is not there, and name it")
    return made


def run(name: str, options: argparse.Namespace, body: Callable[[Report], None]) -> int:
    """Measure and report; a user's mistake is one line and exit code 2."""
    try:
        if options.repeats < 2 or options.threads < 1:
            raise ConfigError(
                f"--repeats is {options.repeats}, --threads {options.threads}; at least 2 and 1 are needed"
            )
        check_device(options.device)
        torch.set_num_threads(options.threads)
        report = Report(options)
        with calm_terminal(), threadpool_limits(options.threads):
            body(report)
        report.finish()
    except SparseNASError as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return 2
    return 0


def check_device(device: str) -> None:
    """Raise unless the device is there."""
    known = {"cpu"} | ({"cuda"} if torch.cuda.is_available() else set())
    if device not in known:
        raise MissingError(f"--device {device} is not there; this machine has {', '.join(sorted(known))}")


def now(device: str) -> float:
    """Seconds on a clock, after all work on the device is done."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def interleaved(rows: Mapping[str, Callable[[], object]], repeats: int, device: str = "cpu") -> Samples:
    """Seconds of one call of every row in every round, after a round to warm up.

    Short bodies are called several times in a row, as a clock and cold caches would count for more than they do.
    """
    seconds: Samples = {name: [] for name in rows}
    calls: dict[str, int] = {}
    for turn in range(repeats + 1):
        for name, body in rows.items():
            body()
            start = now(device)
            for _ in range(calls.get(name, 1)):
                body()
            spent = now(device) - start
            if turn:
                seconds[name].append(spent / calls[name])
            else:
                calls[name] = max(1, int(SHORTEST / spent))
    return seconds


def peak_bytes(body: Callable[[], object], device: str) -> int:
    """Most memory that was held at once during ``body``, beyond what was held before."""
    if device == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        body()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        body()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        recorded.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    changes = [(event["ts"], event["args"]["Bytes"]) for event in events if event.get("name") == "[memory]"]
    held = peak = 0
    for _, change in sorted(changes, key=lambda pair: pair[0]):
        held += change
        peak = max(peak, held)
    return peak
