"""Are searched cells better than random ones? Search, train everything alike, test once, print a table.

    SPARSENAS_DATA=... python benchmarks/search_quality.py --out runs/search_quality

Every cell is trained with the same recipe (``configs/train_cifar10_16px.yaml``, sizes below), and its last weights are
tested once; nothing is chosen on test data. A run that was stopped goes on where it was when it is started again with
the same ``--out``: every finished search and training is a file there. Peers of the default search: the official
ISTA-NAS recipe, random cells, and random cells made of the primitive with the most parameters.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import linregress, mannwhitneyu

from sparsenas.errors import ConfigError, SparseNASError
from sparsenas.files import write_atomically
from sparsenas.spaces import DartsSpace

#: Networks and schedules of the study, as options of the shipped configs.
NETWORK = ["--model.channels", "8", "--model.cells", "5", "--model.stem", "small"]
TRAINING = [*NETWORK, "--trainer.max_epochs", "5", "--model.scheduler.init_args.epochs", "5", "--data.batch_size", "96"]
OFFICIAL = ["--trainer.max_epochs", "8", "--model.weight_scheduler.init_args.epochs", "8", "--data.batch_size", "64"]
DATA_FILE = "${SPARSENAS_DATA}/cifar10_12k_16px.npz"


@dataclass(frozen=True)
class Job:
    """One cell: where it comes from, and the seed of everything random about it."""

    method: str
    seed: int

    @property
    def name(self) -> str:
        """Name of its result files."""
        return f"{self.method}-{self.seed}"


def main(args: Sequence[str] | None = None) -> int:
    """Run what is missing, then print the table and write ``results.json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of all results; nothing is written elsewhere")
    parser.add_argument("--searches", type=int, default=5, help="searches with the default method")
    parser.add_argument("--official", type=int, default=3, help="searches with the official recipe")
    parser.add_argument("--random", type=int, default=20, help="random cells")
    parser.add_argument("--largest", type=int, default=3, help="random cells with the most parameters")
    parser.add_argument("--jobs", type=int, default=2, help="processes, one thread each")
    options = parser.parse_args(args)
    try:
        if "SPARSENAS_DATA" not in os.environ:
            raise ConfigError("set SPARSENAS_DATA to the folder that holds cifar10_12k_16px.npz")
        jobs = [Job("random", seed) for seed in range(options.random)]
        jobs[3:3] = [Job("default", seed) for seed in range(options.searches)]
        jobs[9:9] = [Job("official", seed) for seed in range(options.official)]
        jobs[12:12] = [Job("largest", seed) for seed in range(options.largest)]
        run_all(jobs, options.out, options.jobs, run)
        report([load(options.out, job) for job in jobs], options.out)
    except SparseNASError as error:
        print(f"search_quality: error: {error}", file=sys.stderr)
        return 2
    return 0


def run_all(jobs: Sequence[Job], out: Path, workers: int, run: Callable[[Job, Path], dict[str, Any]]) -> None:
    """``run`` the jobs that have no result yet, in processes of their own."""
    missing = [job for job in jobs if not result_file(out, job).is_file()]
    print(f"{len(jobs) - len(missing)} of {len(jobs)} cells are done; running {len(missing)} in {workers} processes")
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(run, job, out) for job in missing]
        try:
            for future in as_completed(futures):
                result = future.result()
                name = f"{result['method']}-{result['seed']}"
                print(f"{name:12} test {result['test_acc']:.4f}  {result['parameters']} parameters", flush=True)
        finally:  # after an error the cells not begun yet are left for the next start
            pool.shutdown(cancel_futures=True)


def run(job: Job, out: Path) -> dict[str, Any]:
    """Find the job's cell, train it, test it once; the result goes to a file."""
    import torch

    torch.set_num_threads(1)
    found = remember(out / f"{job.name}.cell.json", lambda: find(job, out / job.name))
    return remember(result_file(out, job), lambda: {**asdict(job), "name": job.name, **found, **train(job, found, out)})


def find(job: Job, folder: Path) -> dict[str, Any]:
    """The cell of a job, with what finding it cost."""
    rng = np.random.default_rng((job.seed, 1))
    if job.method == "random":
        return {"genotype": DartsSpace().sample(rng).to_json()}
    if job.method == "largest":
        return {"genotype": DartsSpace(primitives=("sep_conv_5x5",)).sample(rng).to_json()}
    config = {
        "default": ["search_two_stage_cifar10_16px"],
        "official": ["search_two_stage_ista_nas_official", *NETWORK[:4], *OFFICIAL],
    }[job.method]
    seed = str(job.seed)
    if job.method == "official":
        config += ["--model.stem", "small", "--data", "NpzImages", "--data.path", DATA_FILE]
        config += ["--data.arch_fraction", "0.5"]
    start = time.perf_counter()
    command = fit([*config, "--model.seed", seed, "--data.seed", seed, "--seed_everything", seed], folder / "search")
    return {
        "genotype": command.model.genotype.to_json(),
        "visited": command.model.report.visited,
        "shared_val_acc": float(command.trainer.callback_metrics["val/acc"]),
        "search_seconds": time.perf_counter() - start,
    }


def train(job: Job, found: dict[str, Any], out: Path) -> dict[str, Any]:
    """Train a cell with the common recipe; test the last weights once."""
    from sparsenas.complexity import describe

    genotype = out / job.name / "genotype.json"
    genotype.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(genotype, found["genotype"].encode())
    start = time.perf_counter()
    command = fit(
        ["train_cifar10_16px", *TRAINING, "--model.genotype", str(genotype), "--seed_everything", str(job.seed)],
        out / job.name / "training",
    )
    seconds = time.perf_counter() - start
    val_acc = float(command.trainer.callback_metrics["val/acc"])
    tested = command.trainer.test(command.model, command.datamodule, verbose=False)[0]
    size = describe(command.model.network, command.datamodule.image_shape)
    return {
        "val_acc": val_acc,
        "test_acc": tested["test/acc"],
        "parameters": size.parameters,
        "multiply_adds": size.multiply_adds,
        "train_seconds": seconds,
    }


def fit(options: list[str], folder: Path) -> Any:
    """``fit --config OPTIONS`` with all files in ``folder``; the command line holds model, data and trainer."""
    from sparsenas.cli.lightning import CommandLine
    from sparsenas.cli.shipped import resolve_configs
    from sparsenas.cli.terminal import calm_terminal

    args = ["fit", *resolve_configs(["--config", *options]), "--trainer.logger.init_args.save_dir", str(folder)]
    with calm_terminal():
        return CommandLine(args, [])


def report(results: Sequence[dict[str, Any]], out: Path) -> None:
    """Print the table and write ``results.json``."""
    methods = ("default", "official", "random", "largest")
    groups = {name: [r for r in results if r["method"] == name] for name in methods}
    randoms = groups["random"]
    accuracy, size = (np.array([r[key] for r in randoms]) for key in ("test_acc", "parameters"))
    line = linregress(size, accuracy) if len(randoms) > 2 else None
    rows = []
    for name, group in groups.items():
        if not group:
            continue
        test = np.array([r["test_acc"] for r in group])
        row: dict[str, Any] = {
            "method": name,
            "cells": len(group),
            "test_acc_mean": test.mean(),
            "test_acc_sd": test.std(ddof=1) if len(test) > 1 else float("nan"),
            "test_acc_min": test.min(),
            "test_acc_max": test.max(),
            "parameters_mean": np.mean([r["parameters"] for r in group]),
            "train_seconds_median": np.median([r["train_seconds"] for r in group]),
        }
        if line is not None:
            expected = line.intercept + line.slope * np.array([r["parameters"] for r in group])
            row["gain_at_equal_parameters_in_random_sd"] = np.mean(test - expected) / accuracy.std(ddof=1)
            row["p_against_random"] = mannwhitneyu(test, accuracy).pvalue if name != "random" else float("nan")
        if "visited" in group[0]:
            row["search_seconds_median"] = np.median([r["search_seconds"] for r in group])
            row["visited_median"] = np.median([r["visited"] for r in group])
        rows.append({key: value if isinstance(value, (str, int)) else float(value) for key, value in row.items()})
    for row in rows:
        values = (f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items())
        print("  ".join(values))
    plain = [{key: None if value != value else value for key, value in row.items()} for row in rows]  # no NaN in JSON
    text = json.dumps({"rows": plain, "cells": results}, indent=1, allow_nan=False)
    write_atomically(out / "results.json", text.encode())


def result_file(out: Path, job: Job) -> Path:
    """Where the result of a job goes."""
    return out / f"{job.name}.result.json"


def load(out: Path, job: Job) -> dict[str, Any]:
    """Result of a finished job."""
    result: dict[str, Any] = json.loads(result_file(out, job).read_text(encoding="utf-8"))
    return result


def remember(path: Path, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result in ``path``, computed and written there first if need be."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(compute()).encode())
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return result


if __name__ == "__main__":
    sys.exit(main())
