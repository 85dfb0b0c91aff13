"""Does a one-stage run beat training random cells for the same time? Train everything alike, test once, print a table.

    SPARSENAS_DATA=... python benchmarks/one_stage_quality.py --out runs/one_stage_quality

One-stage runs spend their first epoch on the search, by steps on ``b`` (``search_one_stage_cifar10_16px``) or by
measuring (``search_one_stage_measured_cifar10_16px``, whose cap on parameters is the median of random cells); random
cells spend all of them on training, in a network of the same size with the same recipe and the same number of epochs. A
step of the search costs what a step of training costs; what measuring costs is in the seconds of the table. Last
weights, tested once; the script chooses nothing on test data. A stopped study goes on where it was when it is started
again with the same ``--out``.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import mannwhitneyu
from search_quality import DATA_FILE, Job, fit, load, remember, result_file, run_all

from sparsenas.complexity import describe
from sparsenas.errors import ConfigError, SparseNASError
from sparsenas.files import write_atomically
from sparsenas.spaces import DartsSpace

METHODS = ("one_stage", "measured", "random")
#: Network, recipe and length of every run, as options of the shipped training config.
TRAINING = [
    *("--model.channels", "8", "--model.cells", "5", "--model.stem", "small"),
    *("--model.norms.append", "pools_and_skips"),
    *("--trainer.max_epochs", "12", "--model.scheduler.init_args.epochs", "12"),
]


def main(args: Sequence[str] | None = None) -> int:
    """Run what is missing, then print the table and write ``results.json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of all results; nothing is written elsewhere")
    parser.add_argument("--one-stage", type=int, default=5, help="one-stage runs by steps on b")
    parser.add_argument("--measured", type=int, default=5, help="one-stage runs by measuring")
    parser.add_argument("--random", type=int, default=10, help="random cells")
    parser.add_argument("--first-seed", type=int, default=0, help="seed of the first one-stage run and random cell")
    parser.add_argument("--jobs", type=int, default=2, help="processes, one thread each")
    options = parser.parse_args(args)
    try:
        if "SPARSENAS_DATA" not in os.environ:
            raise ConfigError("set SPARSENAS_DATA to the folder that holds cifar10_12k_16px.npz")
        jobs = [Job(name, options.first_seed + seed) for name in METHODS for seed in range(getattr(options, name))]
        run_all(jobs, options.out, options.jobs, run)
        report([load(options.out, job) for job in jobs], options.out)
    except SparseNASError as error:
        print(f"one_stage_quality: error: {error}", file=sys.stderr)
        return 2
    return 0


def run(job: Job, out: Path) -> dict[str, Any]:
    """Do one run; the result goes to a file."""
    import torch

    torch.set_num_threads(1)
    train = {"one_stage": one_stage, "measured": measured, "random": random}[job.method]
    return remember(result_file(out, job), lambda: {"method": job.method, "seed": job.seed, **train(job, out)})


def one_stage(job: Job, out: Path) -> dict[str, Any]:
    """Search and train in one run; test the folded network."""
    result = timed(["search_one_stage_cifar10_16px", *seeds(job)], out / job.name)
    search = result.pop("model")
    settled = dict(zip(map(str, search.space.blocks), search.settled_epochs, strict=True))
    return {**result, "genotype": search.genotype.to_json(), "search_epochs": search.search_end, "settled": settled}


def measured(job: Job, out: Path) -> dict[str, Any]:
    """Measure and train in one run; test the folded network."""
    result = timed(["search_one_stage_measured_cifar10_16px", *seeds(job)], out / job.name)
    search = result.pop("model")
    return {**result, "genotype": search.genotype.to_json(), "verdict": search.conclusion.verdict}


def random(job: Job, out: Path) -> dict[str, Any]:
    """Train a random cell for all the epochs."""
    genotype = out / job.name / "genotype.json"
    text = DartsSpace().sample(np.random.default_rng((job.seed, 2))).to_json()
    genotype.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(genotype, text.encode())
    result = timed(["train_cifar10_16px", *TRAINING, "--model.genotype", str(genotype), *seeds(job)], out / job.name)
    del result["model"]
    return {**result, "genotype": text}


def seeds(job: Job) -> list[str]:
    """Options for all that is drawn."""
    return [text for name in ("model.seed", "data.seed", "seed_everything") for text in (f"--{name}", str(job.seed))]


def timed(options: list[str], folder: Path) -> dict[str, Any]:
    """Fit, test the last weights once, and say what it cost; ``model`` is what was fitted."""
    start = time.perf_counter()
    command = fit([*options, "--data.path", DATA_FILE], folder / "run")
    seconds = time.perf_counter() - start
    metrics = command.metrics
    if "test/acc" not in metrics:  # a one-stage run has tested its network by itself
        metrics |= command.trainer.test(command.model, command.datamodule, verbose=False)[0]
    size = describe(command.model.deployable(), command.datamodule.image_shape)
    return {
        "model": command.model,
        "val_acc": float(metrics["val/acc"]),
        "test_acc": float(metrics["test/acc"]),
        "parameters": size.parameters,
        "multiply_adds": size.multiply_adds,
        "seconds": seconds,
    }


def report(results: Sequence[dict[str, Any]], out: Path) -> None:
    """Print the table and write ``results.json``."""
    groups = {name: [r for r in results if r["method"] == name] for name in METHODS}
    rows = []
    for name, group in groups.items():
        if group:
            test = np.array([r["test_acc"] for r in group])
            row = {"runs": len(group), "test_acc_mean": test.mean(), "test_acc_sd": test.std(ddof=1)}
            row |= {"test_acc_min": test.min(), "test_acc_max": test.max()}
            for key in ("parameters", "multiply_adds", "seconds"):
                row[f"{key}_median"] = np.median([r[key] for r in group])
            rows.append({"method": name} | {key: float(value) for key, value in row.items()})
    for row in rows:
        print("  ".join(f"{key} {value:.4g}" if key != "method" else f"{value:10}" for key, value in row.items()))
    summary: dict[str, Any] = {"rows": rows, "runs": list(results)}
    for name in METHODS[:2]:
        first, second = ([r["test_acc"] for r in groups[group]] for group in (name, "random"))
        if first and second:
            summary[f"p_{name}_against_random"] = float(mannwhitneyu(first, second).pvalue)
            print(f"{name} against random: Mann-Whitney p = {summary[f'p_{name}_against_random']:.3f} (two-sided)")
    for result in groups["one_stage"]:
        print(f"seed {result['seed']}: search ended after epoch {result['search_epochs']}; nodes: {result['settled']}")
    for result in groups["measured"]:
        print(f"seed {result['seed']}: {result['verdict']}")
    write_atomically(out / "results.json", json.dumps(summary, indent=1).encode())


if __name__ == "__main__":
    sys.exit(main())
