"""Clocks of what runs on a device."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, TypeVar

import torch

from sparsenas.errors import ConfigError

#: Runs before the clock counts.
WARMUP = 2
Run = Callable[[], object]
Timed = TypeVar("Timed")


def times(runs: Mapping[Timed, Run], rounds: int, device: torch.device) -> dict[Timed, float]:
    """Return the median milliseconds of each run; all take turns in each round."""
    taken: dict[Timed, list[float]] = {kind: [] for kind in runs}
    for number in range(-WARMUP, rounds):
        for kind, run in runs.items():
            start = perf_counter()
            run()
            if device.type != "cpu":
                torch.accelerator.synchronize(device)
            if number >= 0:
                taken[kind].append(1000 * (perf_counter() - start))
    return {kind: median(values) for kind, values in taken.items()}


def milliseconds(value: Any, path: str | Path) -> float:
    """Read milliseconds of a file.

    Raises:
        ConfigError: If they are no number, or below 0.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= sys.float_info.max:
        raise ConfigError(f"{path}: a latency is {value!r}; milliseconds are a number not below 0")
    return float(value)
