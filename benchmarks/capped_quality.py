"""Under a cap on parameters, are cells found by measurement better than random ones? Train everything alike, test once.

    SPARSENAS_DATA=... python benchmarks/capped_quality.py --out runs/capped_quality

The cap is the median of random cells of the DARTS space, at the size of ``search_quality``, whose recipe trains every
cell here. The search measures untrained networks, its default, or makes short trainings. Its peers: random cells under
the cap, random cells of the band that the search looks at, and the cell with the most parameters under the cap.
Last weights, tested once; nothing is chosen on test data. A stopped study goes on where it was when it is started again
with the same ``--out``.
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
from search_quality import DATA_FILE, NETWORK, Job, fit, load, remember, result_file, run_all, train

from sparsenas.complexity import CandidateCosts, candidate_costs
from sparsenas.errors import ConfigError, SparseNASError
from sparsenas.files import write_atomically
from sparsenas.networks import NormOptions, SuperNet
from sparsenas.search import SupportRules
from sparsenas.search.band import Band
from sparsenas.spaces import DartsSpace, Support

SPACE, DRAWS = DartsSpace(), 2001
METHODS = ("measured", "trained", "random", "band", "largest")
#: Short trainings instead of scores of untrained networks, as options of the shipped config of the search.
TRAINED = [
    *("--model.measuring.signals", '[{"class_path": "ShortTraining"}]'),
    *("--model.measuring.repeats", "1", "--model.measuring.count", "24"),
    *("--model.measuring.rounds", "1", "--model.measuring.proposals", "4"),
    *("--model.measuring.decoding.levels", "[counts]", "--model.measuring.decoding.certainty", "0.5"),
    *("--model.measuring.decoding.trust", "all"),
]


def main(args: Sequence[str] | None = None) -> int:
    """Run what is missing, then print the table and write ``results.json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of all results; nothing is written elsewhere")
    parser.add_argument("--measured", type=int, default=5, help="searches by measurement")
    parser.add_argument("--trained", type=int, default=5, help="searches by short trainings")
    parser.add_argument("--random", type=int, default=20, help="random cells under the cap")
    parser.add_argument("--band", type=int, default=5, help="random cells of the band of the search")
    parser.add_argument("--largest", type=int, default=3, help="trainings of the cell with the most parameters")
    parser.add_argument("--jobs", type=int, default=2, help="processes, one thread each")
    options = parser.parse_args(args)
    try:
        if "SPARSENAS_DATA" not in os.environ:
            raise ConfigError("set SPARSENAS_DATA to the folder that holds cifar10_12k_16px.npz")
        jobs = [Job(method, seed) for method in METHODS for seed in range(getattr(options, method))]
        run_all(jobs, options.out, options.jobs, run)
        report([load(options.out, job) for job in jobs], options.out)
    except SparseNASError as error:
        print(f"capped_quality: error: {error}", file=sys.stderr)
        return 2
    return 0


def run(job: Job, out: Path) -> dict[str, Any]:
    """Find the job's cell, train it, test it once; the result goes to a file."""
    import torch

    torch.set_num_threads(1)
    found = remember(out / f"{job.name}.cell.json", lambda: find(job, out / job.name))
    fixed = {"method": job.method, "seed": job.seed, "name": job.name}
    return remember(result_file(out, job), lambda: {**fixed, **found, **train(job, found, out)})


def find(job: Job, folder: Path) -> dict[str, Any]:
    """The cell of a job, with what finding it cost."""
    cap, costs = median_cap()
    rules = SupportRules(max_params=cap)
    if job.method in ("measured", "trained"):
        return {**search(job, cap, folder), "cap": cap}
    band = Band(SPACE, rules.constraints(SPACE, costs), costs.parameters, costs.base_parameters, seed=job.seed)
    rng = np.random.default_rng((job.seed, 3))
    if job.method == "largest":
        support = band.largest
    elif job.method == "band":
        support = band.draw(2, rng)[1]  # the first is where the walk begins
    else:
        while parameters(support := SPACE.sample_support(rng), costs) > cap:
            pass
    return {"genotype": SPACE.genotype(support).to_json(), "cap": cap}


def search(job: Job, cap: float, folder: Path) -> dict[str, Any]:
    """The cell that a search by measurement finds in the network that will be trained."""
    config = ["search_measured_cifar10_16px", *NETWORK, "--data.path", DATA_FILE, "--model.rules.max_params", str(cap)]
    config += TRAINED if job.method == "trained" else []
    seed, start = str(job.seed), time.perf_counter()
    command = fit([*config, "--model.seed", seed, "--data.seed", seed, "--seed_everything", seed], folder / "search")
    conclusion = command.model.conclusion
    return {
        "genotype": command.model.genotype.to_json(),
        "measured": conclusion.measured,
        "verdict": conclusion.verdict,
        "search_seconds": time.perf_counter() - start,
    }


def median_cap() -> tuple[float, CandidateCosts]:
    """Median of the parameters of random cells, and the costs of the candidates, in the network that is trained."""
    options = dict(zip(NETWORK[::2], NETWORK[1::2], strict=True))
    channels, cells, stem = (options[f"--model.{name}"] for name in ("channels", "cells", "stem"))
    network = SuperNet(SPACE, (3, 16, 16), 10, int(channels), int(cells), stem, NormOptions())  # type: ignore[arg-type]
    costs = candidate_costs(network)
    rng = np.random.default_rng(0)
    return float(np.median([parameters(SPACE.sample_support(rng), costs) for _ in range(DRAWS)])), costs


def parameters(support: Support, costs: CandidateCosts) -> float:
    """Of the network of a support."""
    rows = zip(costs.parameters, support, strict=True)
    return costs.base_parameters + sum(row[index] for row, kept in rows for index in kept)


def report(results: Sequence[dict[str, Any]], out: Path) -> None:
    """Print the table and write ``results.json``."""
    groups = {name: [r for r in results if r["method"] == name] for name in METHODS}
    chance = np.array([r["test_acc"] for r in groups["random"]])
    rows: list[dict[str, Any]] = []
    for name, group in groups.items():
        if not group:
            continue
        test = np.array([r["test_acc"] for r in group])
        row: dict[str, Any] = {"method": name, "cells": len(group), "test_acc_mean": float(test.mean())}
        row |= {"test_acc_sd": float(test.std(ddof=1)) if len(test) > 1 else None}
        row |= {"test_acc_min": float(test.min()), "test_acc_max": float(test.max())}
        row["parameters_mean"] = float(np.mean([r["parameters"] for r in group]))
        row["train_seconds_median"] = float(np.median([r["train_seconds"] for r in group]))
        if name != "random" and len(chance) > 1:
            row["ahead_of_random_in_sd"] = float((test.mean() - chance.mean()) / chance.std(ddof=1))
            row["p_against_random"] = float(mannwhitneyu(test, chance).pvalue)
        if "search_seconds" in group[0]:
            row["search_seconds_median"] = float(np.median([r["search_seconds"] for r in group]))
        rows.append(row)
    for row in rows:
        values = (f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items())
        print("  ".join(values))
    for result in (*groups["measured"], *groups["trained"]):
        print(f"{result['name']}: {result['verdict']}")
    text = json.dumps({"rows": rows, "cells": results}, indent=1, allow_nan=False)
    write_atomically(out / "results.json", text.encode())


if __name__ == "__main__":
    sys.exit(main())
