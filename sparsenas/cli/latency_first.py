"""Before a run with a budget of milliseconds but no table: times of layers on this machine."""

import os
from pathlib import Path
from time import perf_counter

import torch

from sparsenas.errors import ConfigError
from sparsenas.latency import measure_layers, where
from sparsenas.latency.timing import WARMUP

#: File in the folder of the run.
NAME = "latency.json"
#: Repetitions, and most seconds that they may take.
ROUNDS, MOST = 5, 60.0
#: Where the first process leaves the file for those that it starts.
_FILE = "SPARSENAS_LATENCY"


def measure_before_run(image_shape: tuple[int, int, int], folder: Path) -> tuple[str, str]:
    """Time layers for images on the CPU, one image at a time, in as many threads as PyTorch has.

    Args:
        image_shape: ``(C, H, W)`` of the images.
        folder: Folder of the run; it is made.

    Returns:
        The file, and a line that says what was measured.

    Raises:
        ConfigError: If it would take long, the folder cannot be written, or another program has started processes.
    """
    if int(os.environ.get("LOCAL_RANK", 0)) > 0 and _FILE in os.environ:
        return os.environ[_FILE], ""  # only the first process prints
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise ConfigError(
            "max_latency_ms: processes that were started together would each measure other times: measure before, by "
            "python -m sparsenas latency, and set model.budget.latency_table"
        )
    file, device, begin = folder / NAME, torch.device("cpu"), perf_counter()
    measure_layers(image_shape, device, rounds=1)
    if (expected := (perf_counter() - begin) * (WARMUP + ROUNDS) / (WARMUP + 1)) > MOST:
        raise ConfigError(
            f"max_latency_ms: measuring layers for images of {image_shape[1]}x{image_shape[2]} would take "
            f"{expected:.0f} s here: use smaller images (data.size), or measure once for all runs, by python -m "
            "sparsenas latency, and set model.budget.latency_table"
        )
    times = measure_layers(image_shape, device, rounds=ROUNDS)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made ({error.strerror}); name another folder by --name") from error
    times.write(file)
    os.environ[_FILE] = str(file)
    return str(file), (
        f"times of layers by {perf_counter() - begin:.0f} s of measuring on {where(times.about)}, one image at a time, "
        f"within {times.error:.0%} in the median; kept in {file}"
    )
