"""Runtimes in which networks and their parts are timed, and words for what was measured on."""

import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import torch
from torch import Tensor, nn

from sparsenas.errors import ConfigError
from sparsenas.latency.timing import Run, times
from sparsenas.runtimes import ONNX, onnx_runner, require, write_onnx

#: Where a network runs: in PyTorch, or in onnxruntime on the CPU.
RuntimeName = Literal["torch", "onnxruntime"]
#: Makes what is timed of a module in evaluation mode and its input.
Preparing = Callable[[nn.Module, Tensor], Run]


def check_runtime(runtime: RuntimeName, device: torch.device, threads: int | None = None) -> None:
    """Check that networks can be timed so here.

    Raises:
        ConfigError: If a package is missing, or the device or the number of threads does not fit.
    """
    if threads is not None and threads < 1:
        raise ConfigError(f"latency: threads is {threads}; it is at least 1")
    if runtime == "onnxruntime":
        require("the runtime onnxruntime", ONNX, "onnx", "time in torch")
        if device.type != "cpu":
            raise ConfigError(f"latency: onnxruntime is timed on the CPU, not on {device}; leave the device at cpu")


@contextmanager
def preparing(runtime: RuntimeName, threads: int | None = None) -> Iterator[Preparing]:
    """Give what prepares modules for a runtime.

    Args:
        runtime: Runtime.
        threads: Threads; None for one in onnxruntime, and in PyTorch for as many as it has.
    """
    if runtime == "torch":
        before = torch.get_num_threads()
        torch.set_num_threads(threads or before)
        try:
            yield partial
        finally:
            torch.set_num_threads(before)
        return
    with TemporaryDirectory() as folder:
        file = Path(folder) / "part.onnx"

        def prepare(module: nn.Module, images: Tensor) -> Run:
            images = images.contiguous()
            write_onnx(module, images, file, free=False)
            return partial(onnx_runner(file, threads or 1), images)

        yield prepare


@torch.no_grad()
def time_network(
    network: nn.Module,
    images: Tensor,
    rounds: int = 20,
    runtime: RuntimeName = "torch",
    threads: int | None = None,
) -> float:
    """Measure the milliseconds of a network in evaluation mode, the median of ``rounds``.

    Args:
        network: On the device of the images.
        images: Images at a time, shape ``(B, C, H, W)``.
        rounds: Repetitions.
        runtime: Runtime.
        threads: Threads, as for :func:`preparing`.
    """
    with preparing(runtime, threads) as prepare:
        return times({"": prepare(network, images)}, rounds, images.device)[""]


def about(runtime: RuntimeName, device: torch.device, batch: int, threads: int | None = None) -> dict[str, str]:
    """Say in words on what is measured, so that a table tells of itself wherever it is read."""
    used = threads or (1 if runtime == "onnxruntime" else torch.get_num_threads())
    machine = _processor() if device.type == "cpu" else torch.get_device_module(device).get_device_name(device)
    return {
        "device": str(device),
        "machine": machine,
        "runtime": f"{runtime} {version(runtime)}",
        "threads": str(used),
        "batch": str(batch),
    }


def where(table_about: Mapping[str, str]) -> str:
    """Say in one line on what a table was measured; tables of older versions know less."""
    parts = (table_about.get(name, "") for name in ("machine", "device", "runtime"))
    threads = table_about.get("threads")
    return ", ".join([*filter(None, parts), *([f"threads {threads}"] if threads else [])]) or "an unknown device"


def _processor() -> str:
    """Name the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
