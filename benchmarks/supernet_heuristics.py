"""How well does a super-net rank cells, and which training heuristics help? Levels of factors, seeds, tau with truth.

    SPARSENAS_DATA=... python benchmarks/supernet_heuristics.py --out runs/supernet_heuristics --levels baseline tracked

Every super-net is trained by the config ``supernet_nasbench201_baseline`` and the options of its level; with
``--benchmark nasbench_macro`` it is one of chains, with one change at a time by default. One fixed set of cells, drawn
without a look at truth, is then run with the shared weights on all validation images, in batches of 500 and never a
partial one; with ``--last K`` also after each of the last K batches. Truth, the published test accuracy on CIFAR-10, is
read when all is trained. A run that was stopped goes on where it was when it is started again with the same ``--out``:
every trained and measured super-net is a file there. All that was measured goes to ``super_nets.json``, figures and
picture of it to ``supernet_BENCHMARK.json`` and ``.png``. To choose a level, use another set of cells
(``--cells-seed``, in a folder of its own) than to report it. The default levels cross tracking, affine and sampling: 36
super-nets of about 2.5 minutes each, so about 45 minutes on two cores; a batch of ``--last`` adds half a minute. Those
of chains, 36 super-nets too, take as long.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from supernet_report import draw, study, tables

from sparsenas.drawing import save_figure
from sparsenas.errors import ConfigError, SparseNASError
from sparsenas.files import write_atomically
from sparsenas.search import BestOf
from sparsenas.spaces import NasBench201Space, NasBenchMacroSpace, SearchSpace, Support
from sparsenas.tables import BenchmarkTable, NasBench201Table, NasBenchMacroTable

CONFIG = "supernet_nasbench201_baseline"


def epochs(count: int) -> str:
    """Options of a training of so many epochs."""
    return f"--trainer.max_epochs {count} --model.weight_scheduler.init_args.epochs {count}"


#: Options of every level, from the baseline: one factor each.
LEVELS: dict[str, str] = {
    "baseline": "",
    # batch-norm
    "tracked": "--model.norms.track true",
    "affine": "--model.norms.affine true",
    "norms_in_operations_only": "--model.norms.append none",
    # sampling; the baseline is Random-NAS
    "random_a": "--model.paths UniquePaths",
    "fairnas": "--model.paths FairPaths",
    # fairnas makes as many passes per batch as there are primitives: this one makes as many in all as the baseline
    "fairnas_equal_passes": f"--model.paths FairPaths {epochs(6)}",
    "without_none": "--model.untrained [none]",
    # hyper-parameters
    "lr_0.01": "--model.weight_optimizer.init_args.lr 0.01",
    "lr_0.025": "--model.weight_optimizer.init_args.lr 0.025",
    "lr_0.1": "--model.weight_optimizer.init_args.lr 0.1",
    "lr_0.2": "--model.weight_optimizer.init_args.lr 0.2",
    "decay_0": "--model.weight_optimizer.init_args.weight_decay 0",
    "decay_1e-4": "--model.weight_optimizer.init_args.weight_decay 1e-4",
    "epochs_15": epochs(15),
    "epochs_60": epochs(60),
    # low fidelity
    "channels_4": "--model.channels 4",
    "channels_16": "--model.channels 16",
    "cells_6": "--model.cells 6",
    "batch_32": "--data.batch_size 32",
    "batch_128": "--data.batch_size 128",
    "portion_0.9": "--data.arch_fraction 0.1",
    # mapping
    "wsbn": "--model.norms.affine true --model.mapping.norm_sets inputs",
    "dropout": "--model.mapping.dropout 0.2",
    "path_dropout": "--model.path_dropout 0.2",
    "ofa_kernel": "--model.mapping.kernels matrix",
    "centre_kernel": "--model.mapping.kernels centre",
    "on_node": "--model.mapping.operations node",
}
#: The search's own measurements, which the study has no use for: one cell on one batch.
QUICK_END = "--model.selection.class_path BestOf --model.selection.init_args.count 1 --model.measure_batches 1"
#: The study of batch-norm and sampling.
NORMS_AND_SAMPLING = [
    "+".join(filter(None, names)) or "baseline"
    for names in (
        (tracked, affine, sampling)
        for tracked in ("", "tracked")
        for affine in ("", "affine")
        for sampling in ("", "random_a", "fairnas_equal_passes")
    )
]
#: One change at a time to chains of fixed depth.
CHAINS = ["baseline", "affine", "tracked", "norms_in_operations_only", "fairnas_equal_passes", "lr_0.025", "lr_0.1"]
CHAINS += ["lr_0.2", "channels_4", "channels_16", "epochs_6", "epochs_24"]
#: Fewest images of a batch on which batch statistics are good enough to compare cells.
SMALLEST_BATCH = 256


class Benchmark(NamedTuple):
    """Tabular benchmark whose accuracies are the truth.

    Attributes:
        space: Of the cells.
        table: Opens the published results.
        truth: Which of them: data set, split, epochs.
        options: Of every run, before those of its level.
        levels: Those that mean something else here than in :data:`LEVELS`, and those that are only here.
        default: Levels of a study.
    """

    space: SearchSpace
    table: Callable[[], BenchmarkTable]
    truth: tuple[str, str, int]
    options: str
    levels: dict[str, str]
    default: Sequence[str]


BENCHMARKS = {
    "nasbench201": Benchmark(
        NasBench201Space(), NasBench201Table, ("cifar10", "test", 200), "", {}, NORMS_AND_SAMPLING
    ),
    "nasbench_macro": Benchmark(
        NasBenchMacroSpace(),
        NasBenchMacroTable,
        ("cifar10", "test", 50),
        f"--model.space NasBenchMacroSpace --model.cells 8 {epochs(12)}",
        {
            "fairnas_equal_passes": f"--model.paths FairPaths {epochs(4)}",
            "epochs_6": epochs(6),
            "epochs_24": epochs(24),
        },
        CHAINS,
    ),
}


class Job(NamedTuple):
    """One super-net.

    Attributes:
        benchmark: Name in :data:`BENCHMARKS`.
        level: Names in :data:`LEVELS` or of the benchmark, joined by ``+``.
        seed: Of weights, split, order and paths.
        cells: Number of cells that are measured.
        cells_seed: By which they are drawn.
        last: Batches after each of which they are measured too.
        options: Further options of the command line.
    """

    benchmark: str
    level: str
    seed: int
    cells: int
    cells_seed: int
    last: int
    options: tuple[str, ...]


def main(args: Sequence[str] | None = None) -> int:
    """Run what is missing, then report all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of all results; nothing is written elsewhere")
    parser.add_argument("--benchmark", choices=BENCHMARKS, default="nasbench201", help="space and table")
    parser.add_argument("--levels", nargs="+", metavar="LEVEL", help="joined by + if several; by default a study")
    parser.add_argument("--seeds", type=int, default=3, help="super-nets per level")
    parser.add_argument("--cells", type=int, default=200, help="cells that are measured")
    parser.add_argument("--cells-seed", type=int, default=0, help="by which they are drawn")
    parser.add_argument("--last", type=int, default=0, metavar="K", help="measure after each of the last K batches too")
    parser.add_argument("--jobs", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="options of every run, last of all")
    options = parser.parse_args(args)
    benchmark = BENCHMARKS[options.benchmark]
    try:
        if "SPARSENAS_DATA" not in os.environ:
            raise ConfigError("set SPARSENAS_DATA to the folder that holds cifar10_12k_16px.npz and published tables")
        table = benchmark.table()  # before hours of training, not after; it is read at the end
        levels = options.levels or benchmark.default
        for level in levels:
            level_options(benchmark, level)
        measure = (options.cells, options.cells_seed, options.last, tuple(options.options))
        jobs = [Job(options.benchmark, level, seed, *measure) for seed in range(options.seeds) for level in levels]
        run_all(jobs, options.out, options.jobs)
        report([load(options.out, job) for job in jobs], benchmark, table, options.out)
    except SparseNASError as error:
        print(f"supernet_heuristics: error: {error}", file=sys.stderr)
        return 2
    return 0


def level_options(benchmark: Benchmark, level: str) -> list[str]:
    """Options of a level, or of several joined by ``+``.

    Raises:
        ConfigError: If it is unknown.
    """
    known = LEVELS | benchmark.levels
    unknown = [name for name in level.split("+") if name not in known]
    if unknown:
        raise ConfigError(f"no level {unknown[0]!r}; there are {', '.join(known)}")
    return [option for name in level.split("+") for option in known[name].split()]


def fixed_cells(space: SearchSpace, count: int, seed: int) -> list[Support]:
    """Distinct cells, drawn uniformly; no score or truth is looked at."""
    return list(BestOf(count).measure(space, lambda _: 0.0, np.random.default_rng(seed)))


def run_all(jobs: Sequence[Job], out: Path, workers: int) -> None:
    """Run the jobs that have no result yet, in processes of their own."""
    done = [job for job in jobs if result_file(out, job).is_file() and load(out, job)]
    missing = [job for job in jobs if job not in done]
    print(
        f"{len(jobs) - len(missing)} of {len(jobs)} super-nets are done; running {len(missing)} in {workers} processes"
    )
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(run, job, out) for job in missing]
        try:
            for future in as_completed(futures):
                result = future.result()
                accuracy = np.mean(result["accuracy"])
                seconds = f"{result['train_seconds']:.0f} s, measured in {result['measure_seconds']:.0f} s"
                print(f"{result['level']}-{result['seed']}: shared accuracy {accuracy:.4f}, {seconds}", flush=True)
        finally:  # after an error the super-nets not begun yet are left for the next start
            pool.shutdown(cancel_futures=True)


def run(job: Job, out: Path) -> dict[str, Any]:
    """Train the job's super-net and measure the cells; the result goes to a file."""
    import pytorch_lightning as pl
    import torch

    from sparsenas.cli.lightning import CommandLine
    from sparsenas.cli.shipped import resolve_configs
    from sparsenas.cli.terminal import calm_terminal

    class Snapshots(pl.Callback):
        """Shared accuracies after each of the last batches."""

        def __init__(self) -> None:
            self.accuracies: list[list[float]] = []

        def on_train_batch_end(
            self, trainer: pl.Trainer, search: Any, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            left = (trainer.max_epochs - trainer.current_epoch) * trainer.num_training_batches - batch_idx - 1
            if left < job.last:
                self.accuracies.append(evaluate(search, trainer.datamodule, cells)[0])

    torch.set_num_threads(1)
    benchmark = BENCHMARKS[job.benchmark]
    cells, snapshots, seed = fixed_cells(benchmark.space, job.cells, job.cells_seed), Snapshots(), str(job.seed)
    folder = out / name_of(job)
    args = ["fit", *resolve_configs(["--config", CONFIG]), *QUICK_END.split(), *benchmark.options.split()]
    args += level_options(benchmark, job.level)
    args += ["--model.seed", seed, "--data.seed", seed, "--seed_everything", seed, *job.options]
    args += ["--trainer.logger.init_args.save_dir", str(folder)]
    start = time.perf_counter()
    with calm_terminal():
        command = CommandLine(args, [snapshots])
    trained = time.perf_counter()
    accuracy, loss, images = evaluate(command.model, command.datamodule, cells)
    result = {
        **job._asdict(),
        "accuracy": accuracy,
        "loss": loss,
        "images": images,
        "snapshots": snapshots.accuracies,
        "train_seconds": trained - start,
        "measure_seconds": time.perf_counter() - trained,
    }
    write_atomically(result_file(out, job), json.dumps(result).encode())
    return result


def evaluate(search: Any, data: Any, cells: Sequence[Support]) -> tuple[list[float], list[float], int]:
    """Shared accuracy and loss of every cell on the full validation batches, and their number of images.

    Raises:
        ConfigError: If no batch is full, or batches are too small for batch statistics.
    """
    import torch
    from torch.nn import functional

    size = data.eval_batch_size
    batches = [batch for batch in data.evaluation_batches("val") if len(batch[1]) == size]
    if not batches or size < SMALLEST_BATCH:
        raise ConfigError(
            f"data.eval_batch_size is {size} and gives {len(batches)} full batches of validation images; use at least "
            f"{SMALLEST_BATCH}, and at most as many as there are"
        )
    network, labels = search.network, torch.cat([labels for _, labels in batches])
    mode, accuracies, losses = network.training, [], []
    network.eval()
    with torch.no_grad():
        for cell in cells:
            logits = torch.cat([network(images, cell) for images, _ in batches])
            accuracies.append(float((logits.argmax(1) == labels).float().mean()))
            losses.append(float(functional.cross_entropy(logits, labels)))
    network.train(mode)
    return accuracies, losses, len(labels)


def report(results: Sequence[dict[str, Any]], benchmark: Benchmark, table: BenchmarkTable, out: Path) -> None:
    """Look up truth, print the tables, and write them, all figures, and the picture."""
    supports = fixed_cells(benchmark.space, results[0]["cells"], results[0]["cells_seed"])
    cells = [benchmark.space.genotype(support) for support in supports]
    costs = [table.cost(cell) for cell in cells]
    sizes = {"parameters": [cost.parameters for cost in costs], "FLOPs": [cost.flops for cost in costs]}
    truth = [table.accuracy(cell, *benchmark.truth) for cell in cells]
    result = study(results, cells, truth, table.accuracies(*benchmark.truth), sizes)
    print(tables(result))
    name = f"supernet_{results[0]['benchmark']}"
    raw = {"cells": [table.space.to_string(cell) for cell in cells], "super_nets": results}
    for file, content in ((name, result), ("super_nets", raw)):
        write_atomically(out / f"{file}.json", (json.dumps(content, indent=1) + "\n").encode())
    save_figure(draw(result), out / f"{name}.png")


def name_of(job: Job) -> str:
    """Name of its files."""
    return f"{job.level}-{job.seed}"


def result_file(out: Path, job: Job) -> Path:
    """Where the result of a job goes."""
    return out / f"{name_of(job)}.result.json"


def load(out: Path, job: Job) -> dict[str, Any]:
    """Result of a finished job.

    Raises:
        ConfigError: If it is of other cells or options.
    """
    result: dict[str, Any] = json.loads(result_file(out, job).read_text(encoding="utf-8"))
    asked = json.loads(json.dumps(job._asdict()))  # tuples become lists there
    if {name: result.get(name) for name in asked} != asked:
        raise ConfigError(f"{result_file(out, job)} is of other cells or options; give these an --out of their own")
    return result


if __name__ == "__main__":
    sys.exit(main())
