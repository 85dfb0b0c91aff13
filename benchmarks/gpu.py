"""Try on a GPU, in eight minutes, what else is only tried on CPUs, and measure iterations there.

    python benchmarks/gpu.py [--device cuda] [--json FILE]

Each row is one or more commands in processes of their own: it is well if they end with 0, and what they left is right.
A row that fails says why, and the others go on. ``--device cpu`` tries this script itself.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from harness import Report, parser, run

from sparsenas.checkpoints import load
from sparsenas.errors import SparseNASError
from sparsenas.trainer import WITHIN_EPOCH

#: Size of the networks whose iterations are measured on a CPU.
SMALL = ["--channels", "4", "--cells", "3", "--pixels", "8", "--batch", "4"]
#: Seconds that one command may take.
MOST = 240
SEARCH = [
    *("fit", "--config", "search_two_stage_digits", "--model.network.channels", "8", "--trainer.max_epochs", "3"),
    *("--model.architecture.warmup_epochs", "1", "--trainer.limit_train_batches", "10"),
]
TRAINING = ["fit", "--config", "train_digits", "--trainer.max_epochs", "2", "--trainer.limit_train_batches", "10"]


class RowError(SparseNASError):
    """A row is not well."""


def main(args: Sequence[str] | None = None) -> int:
    """Run all rows, and print which are well and how long they took."""
    options = parser(__doc__, repeats=5)
    options.set_defaults(device="cuda")
    options.add_argument("--seconds", type=int, default=30, help="length of the quickstart")
    chosen = options.parse_args(args)
    return run("gpu", chosen, lambda report: measure(chosen, report))


def measure(options: Any, report: Report) -> None:
    """Run all rows."""
    device = ["--trainer.accelerator", "gpu" if options.device == "cuda" else "cpu", "--trainer.devices", "1"]
    rows: dict[str, Callable[[Path], None]] = {
        "quickstart and export": lambda folder: quickstart(options, device, folder),
        "a search that goes on within an epoch": lambda folder: resume(device, folder),
        "bf16-mixed: search and training": lambda folder: bf16(device, folder),
        "iterations against their limits": lambda folder: iterations(options, report, folder),
    }
    if options.device == "cuda":  # on a CPU, compiling takes minutes
        rows["compiled cells"] = lambda folder: compiled(device, folder)
    failed = []
    for name, row in rows.items():
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            try:
                row(Path(folder))
                said = "well"
            except RowError as error:
                failed.append(name)
                said = f"FAILED: {error}"
        seconds = time.perf_counter() - begin
        print(f"{name:42}{seconds:7.1f} s  {said}", flush=True)
        report.ratios[f"{name}, seconds"] = seconds
    if failed:
        raise RowError(f"not well: {'; '.join(failed)}")


def quickstart(options: Any, device: Sequence[str], folder: Path) -> None:
    """Fit without a config, and export in every format that is installed; the export compares each file."""
    command(["fit", *device, "--model.training.seconds", str(options.seconds)], folder)
    checkpoint = next(folder.rglob("last.ckpt"))
    command(["export", str(checkpoint), "--to", "export"], folder)


def resume(device: Sequence[str], folder: Path) -> None:
    """Kill a search within an epoch, go on, and compare with the search that nobody killed."""
    exact = [*SEARCH, *device, "--trainer.deterministic", "true"]
    command([*exact, "--save_every_minutes", "0"], folder / "whole")
    killed = start([*exact, "--save_every_minutes", "1e-6"], folder / "killed")
    within: list[Path] = []
    while not within and killed.poll() is None:
        time.sleep(0.05)
        within = list((folder / "killed").rglob(WITHIN_EPOCH))
    killed.kill()
    killed.wait()
    if not within:
        raise RowError("the search ended before it was killed")
    command([*exact, "--ckpt_path", str(within[0])], folder / "rest")
    whole, rest = (load(next((folder / name).rglob("last.ckpt")))["state_dict"] for name in ("whole", "rest"))
    unlike = [name for name, tensor in whole.items() if not torch.equal(tensor, rest[name])]
    if unlike:
        raise RowError(f"{len(unlike)} tensors differ after the resume, {unlike[0]} among them")


def bf16(device: Sequence[str], folder: Path) -> None:
    """Search and train in bf16."""
    for args in (SEARCH, TRAINING):
        command([*args, *device, "--trainer.precision", "bf16-mixed"], folder)


def compiled(device: Sequence[str], folder: Path) -> None:
    """Train with compiled cells."""
    small = ["--model.network.cells", "3", "--trainer.callbacks+=CellCompiler"]
    command([*TRAINING, *device, *small], folder)


def iterations(options: Any, report: Report, folder: Path) -> None:
    """Measure an iteration of each searcher by the benchmarks that do so on CPUs."""
    for name in ("search_step", "baselines"):
        figures = folder / f"{name}.json"
        script = Path(__file__).with_name(f"{name}.py")
        size = [] if options.device == "cuda" else SMALL
        args = [*size, "--device", options.device, "--repeats", str(options.repeats), "--json", str(figures)]
        finish(start_process([sys.executable, str(script), *args], folder), script.name)
        report.ratios |= json.loads(figures.read_text())["ratios"]


def command(args: Sequence[str], folder: Path) -> None:
    """Run a command of sparsenas to its end.

    Raises:
        RowError: If it fails.
    """
    finish(start(args, folder), " ".join(args[:3]))


def start(args: Sequence[str], folder: Path) -> subprocess.Popen[str]:
    """Start a command of sparsenas."""
    return start_process([sys.executable, "-m", "sparsenas", *args], folder)


def start_process(args: Sequence[str], folder: Path) -> subprocess.Popen[str]:
    """Start a program in a folder."""
    folder.mkdir(exist_ok=True)
    paths = os.pathsep.join([str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    return subprocess.Popen(
        args, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str], name: str) -> None:
    """Wait for a program.

    Raises:
        RowError: If it fails, or takes too long.
    """
    try:
        _, errors = process.communicate(timeout=MOST)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise RowError(f"{name}: longer than {MOST} s") from None
    if process.returncode != 0:
        last = errors.strip().splitlines()[-1:] or ["nothing said"]
        raise RowError(f"{name}: code {process.returncode}, {last[0][:300]}")


if __name__ == "__main__":
    sys.exit(main())
