"""Kill runs again and again, damage their files, resume them, and compare what they end with to a run nobody touched.

    python benchmarks/soak.py [--minutes 60] [--only NAME ...] [--json FILE]

Each round takes the next kind of run. Its process gets SIGKILL after a random time, again and again, and is resumed
from the newest checkpoint; sometimes a bit of that checkpoint is flipped before, which the next process must refuse,
and sometimes the process may not write large files, as on a full disk. What it ends with must be, to the last bit, what
the same run ends with if nobody touches it.

At the end, runs in one process must leave memory, open files and temporary files as they were.
"""

import gc
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from harness import Report, parser, run

from sparsenas.checkpoints import PREVIOUS, is_whole, load
from sparsenas.cli import main as sparsenas
from sparsenas.errors import SparseNASError
from sparsenas.trainer import WITHIN_EPOCH

SMALL = [
    *("--model.network.channels", "4", "--model.network.cells", "3", "--trainer.limit_train_batches", "10"),
    *("--trainer.accelerator", "cpu", "--trainer.limit_val_batches", "1", "--trainer.log_every_n_steps", "1"),
]
DIGITS = ["--data", "Digits", "--data.batch_size", "32"]
CELLS = ["--model.network.stem", "small", "--model.space.nodes", "2", *DIGITS]
STREAMS = [*CELLS, "--data.arch_fraction", "0.4"]
#: Options of each kind of run; all end the same whenever they are killed, as no length is in seconds.
RUNS: dict[str, list[str]] = {
    "training": ["--config", "train_digits", *SMALL, "--trainer.max_epochs", "5"],
    "two-stage": [
        *("--config", "search_two_stage_digits", *SMALL, *CELLS, "--data.arch_fraction", "0.4"),
        *("--model.architecture.warmup_epochs", "1", "--trainer.max_epochs", "5"),
    ],
    "one-stage": [
        *("--config", "search_one_stage_cifar10_16px", *SMALL, *CELLS, "--data.arch_fraction", "0"),
        *("--model.phases.search_epochs", "2", "--model.architecture.warmup_epochs", "0"),
        *("--trainer.max_epochs", "5"),
    ],
    "darts": ["--config", "search_darts_second_order", *SMALL, *STREAMS, "--trainer.max_epochs", "3"],
    "gdas": ["--config", "search_gdas", *SMALL, *STREAMS, "--trainer.max_epochs", "4"],
    "pc-darts": [
        *("--config", "search_pc_darts", *SMALL, *STREAMS, "--trainer.max_epochs", "4"),
        *("--model.architecture.warmup_epochs", "1"),
    ],
    "single-path": [
        *("--config", "search_random_weight_sharing", *SMALL, *STREAMS, "--trainer.max_epochs", "5"),
        *("--model.selection.count", "20"),
    ],
    "tournament": [
        *("--model.training.seconds", "null", "--model.training.steps", "200", "--data.batch_size", "32"),
        *("--model.budget.max_params", "8000", "--trainer.accelerator", "cpu", "--trainer.log_every_n_steps", "1"),
    ],
}
#: Bytes above which a process may not write a file, in the runs that meet a full disk.
FULL = 50_000
#: Troubles of one run before it is left in peace.
MOST = 6


#: Runs in one process before its memory is looked at; it grows by a few MiB in the first ones.
WARM = 6
#: Parts of a checkpoint that must be the same.
PARTS = ("state_dict", "optimizer_states", "lr_schedulers", "search", "epoch", "global_step")


class SoakError(SparseNASError):
    """A run was lost, or lied."""


class Outcome(NamedTuple):
    """End of a process."""

    code: int
    errors: str
    seconds: float


def main(args: Sequence[str] | None = None) -> int:
    """Soak, and print the counts."""
    options = parser(__doc__, repeats=3)
    options.add_argument("--minutes", type=float, default=60.0, help="how long to go on")
    options.add_argument("--only", nargs="+", choices=list(RUNS), default=list(RUNS), help="kinds of runs")
    options.add_argument("--seed", type=int, default=0, help="seed of when and how runs are disturbed")
    chosen = options.parse_args(args)
    return run("soak", chosen, lambda report: soak(chosen, report))


def soak(options: Any, report: Report) -> None:
    """Disturb runs until the time is over."""
    rng, counts, end = random.Random(options.seed), Counter[str](), time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as folder:
        root, twins = Path(folder), {}
        number = 0
        while time.monotonic() < end or not number:
            name = options.only[number % len(options.only)]
            if name not in twins:
                twins[name] = Twin(name, root / f"{name}-untouched")
            disturb(twins[name], root / f"{name}-{number}", rng, counts)
            number += 1
            print(f"{name:12} {dict(counts)}", flush=True)
        growth = leaks(root / "leaks", options.repeats)
    report.ratios |= {name: float(count) for name, count in sorted(counts.items())} | growth


class Twin:
    """A run that nobody touches.

    Attributes:
        seconds: Seconds that it took.
        state: What its last checkpoint holds.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        outcome = start(["fit", *RUNS[name], "--save_every_minutes", "0"], folder)
        if outcome.code != 0:
            raise SoakError(f"{name}: the run that nobody touches ends with {outcome.code}: {outcome.errors}")
        self.seconds, self.state = outcome.seconds, last_state(folder)

    def again(self, checkpoint: Path | None) -> list[str]:
        """Command that goes on from a checkpoint; a tournament without one does with what it measured."""
        here = ["--trainer.logger.init_args.version", "0"] if self.name == "tournament" else []
        where = here if checkpoint is None else ["--ckpt_path", str(checkpoint)]
        return ["fit", *RUNS[self.name], "--save_every_minutes", "1e-6", *where]


def disturb(twin: Twin, folder: Path, rng: random.Random, counts: Counter[str]) -> None:
    """Kill and resume one run until it is done, and compare it with its twin."""
    resumed: Path | None = None
    troubles: list[str] = []  # a stop can only be explained by all that came before
    while True:
        full = len(troubles) < MOST and rng.random() < 0.2
        delay = rng.uniform(0.3, 1.0) * twin.seconds if len(troubles) < MOST and not full else None
        outcome = start(twin.again(resumed), folder, delay, FULL if full else None)
        if outcome.code == 0:
            break
        counts["full disks" if full else "kills"] += 1
        troubles.append(f"{'full disk' if full else 'kill'} after {outcome.seconds:.1f} s, from {resumed}")
        if outcome.code != (2 if full else -signal.SIGKILL) or "Traceback" in outcome.errors:
            raise SoakError(f"{twin.name}: {'; '.join(troubles)}: code {outcome.code}, {outcome.errors[-2000:]}")
        found = newest(folder)
        if found is None:
            continue  # from what was resumed before, if anything
        resumed = found
        if not is_whole(resumed):
            raise SoakError(f"{twin.name}: {'; '.join(troubles)}: {resumed} is torn")
        if rng.random() < 0.3 and resumed.with_name(f"{resumed.name}{PREVIOUS}").exists():
            troubles.append(f"flipped {resumed}")
            resumed = damage(twin, resumed, folder, rng)
            counts["flipped bits"] += 1
    unlike = differences(last_state(folder), twin.state)
    if unlike:
        raise SoakError(f"{twin.name}: {'; '.join(troubles)}: ends with other {', '.join(unlike[:5])}")
    counts["runs"] += 1
    counts["leftovers"] += sum(1 for path in folder.rglob(".*") if path.is_file())
    shutil.rmtree(folder)


def damage(twin: Twin, checkpoint: Path, folder: Path, rng: random.Random) -> Path:
    """Flip a bit of a checkpoint; gives the whole one that its refusal names."""
    data = bytearray(checkpoint.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    checkpoint.write_bytes(data)
    refused = start(twin.again(checkpoint), folder)
    if refused.code != 2 or "whole is " not in refused.errors:
        raise SoakError(f"{checkpoint}: damaged, but {refused.code}: {refused.errors[-500:]}")
    checkpoint.unlink()  # or it would be the newest one again
    return folder / refused.errors.rpartition("whole is ")[2].split("\n")[0].strip()


def start(args: Sequence[str], folder: Path, delay: float | None = None, most: int | None = None) -> Outcome:
    """Run a command in a folder.

    Args:
        args: Command and options.
        folder: Where it runs; made if need be.
        delay: Seconds after which it is killed.
        most: Most bytes of a file that it may write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = os.pathsep.join([str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    begin = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "sparsenas", *args],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=None if most is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
    )
    try:
        _, errors = process.communicate(timeout=delay)
    except subprocess.TimeoutExpired:
        process.kill()
        _, errors = process.communicate()
    return Outcome(process.returncode, errors, time.monotonic() - begin)


def newest(folder: Path) -> Path | None:
    """The checkpoint of the run that was written last."""
    found = [path for path in folder.rglob("*.ckpt") if path.parent.name != "entrants"]
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)


def last_state(folder: Path) -> dict[str, Any]:
    """What the last checkpoint of a finished run holds, without clocks and paths."""
    found = [path for path in folder.rglob("*.ckpt") if path.name != WITHIN_EPOCH and path.parent.name != "entrants"]
    content = load(max(found, key=lambda path: path.stat().st_mtime_ns))
    return {part: content.get(part) for part in PARTS}


def differences(first: Any, second: Any, path: str = "") -> list[str]:
    """Paths at which two nested states differ."""
    if isinstance(first, torch.Tensor):
        return [] if isinstance(second, torch.Tensor) and torch.equal(first, second) else [path]
    if isinstance(first, dict) and isinstance(second, dict) and first.keys() == second.keys():
        return [line for key in first for line in differences(first[key], second[key], f"{path}/{key}")]
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)) and len(first) == len(second):
        return [
            line for i, pair in enumerate(zip(first, second, strict=True)) for line in differences(*pair, f"{path}/{i}")
        ]
    return [] if first == second else [path]


def leaks(folder: Path, rounds: int) -> dict[str, float]:
    """Growth of this process by each run in it, after some to warm up."""
    folder.mkdir()
    before: tuple[float, int, int] = (0.0, 0, 0)
    here = Path.cwd()
    os.chdir(folder)
    try:
        for number in range(WARM + rounds):
            if number == WARM:
                before = held()
            sparsenas(["fit", *RUNS["two-stage"], "--save_every_minutes", "1e-6"])
    finally:
        os.chdir(here)
    names = ("MiB a run", "open files a run", "temporary files a run")
    return {name: (now - then) / rounds for name, now, then in zip(names, held(), before, strict=True)}


def held() -> tuple[float, int, int]:
    """Memory of this process in MiB, its open files, and temporary files of all processes."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    files = len(list(Path("/proc/self/fd").iterdir()))
    return pages * resource.getpagesize() / 2**20, files, len(list(Path(tempfile.gettempdir()).iterdir()))


if __name__ == "__main__":
    sys.exit(main())
