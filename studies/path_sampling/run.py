"""Do super-nets rank better if other paths are trained? Samplings, seeds, tau with truth at equal passes.

    SPARSENAS_DATA=... python -m studies.path_sampling.run --out runs/path_sampling

Every super-net is one of ``supernet_nasbench201_baseline`` with a sampling of its own, or one of
``search_nao_v2_nasbench201`` that begins its iterations anew in a way of its own. All make as many passes. The same
fixed architectures are run with the shared weights on all validation images. Truth, the published test accuracy on
CIFAR-10, is read when all is trained. A stopped study goes on where it was.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import spearmanr

from sparsenas.search.baselines.nao_options import RESTARTS
from studies.common import Fields, complete, fit, main, parser
from studies.supernet_nasbench201.run import BANDS, BENCHMARKS, QUICK_END, Benchmark, evaluate, fixed_cells, tau
from studies.text import Floats

PRIMITIVES = {"nasbench201": 5, "nasbench_macro": 3}
#: Epochs of 4,500 images; a multiple of the primitives, so that fair paths make as many passes.
EPOCHS = {"nasbench201": 15, "nasbench_macro": 12}
#: The learning rate by which super-nets of cells learn most in so few epochs; that of chains is the config's.
RATE = {"nasbench201": "--model.training.optimizer.init_args.lr 0.1", "nasbench_macro": ""}
#: Options of every sampling. A pool of 1,000 is also the exponent 0 of sampling by size.
SAMPLINGS = {
    "uniform": "--model.paths UniformPaths",
    "fair": "--model.paths FairPaths",
    **{f"pool_{size}": f"--model.paths PoolPaths --model.paths.size {size}" for size in (16, 64, 1000)},
    **{
        f"size_{exponent:g}": f"--model.paths SizeProportionalPaths --model.paths.exponent {exponent}"
        for exponent in (0.5, 1.0, 2.0)
    },
    **{
        f"novelty_{proposal}": f"--model.paths NoveltyPaths --model.paths.proposal {proposal}"
        for proposal in ("best_of", "evolution_strategy")
    },
}
NAO = "--model.iterations.count 3 --model.finals.count 0 --model.iterations.restart"
PATHS = ("paths/coverage", "paths/updates_min", "paths/updates_max", "paths/updates_cv", "paths/knn")


class Job(NamedTuple):
    """A super-net: its benchmark, what differs from the others, and its seed."""

    benchmark: str
    arm: str
    seed: int
    cells: int


def study(args: Sequence[str] | None = None) -> int:
    """Run what is missing, then look up truth."""
    made = parser(__doc__)
    made.add_argument("--benchmarks", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS), help="spaces and tables")
    made.add_argument("--seeds", type=int, default=10, help="super-nets of each sampling")
    made.add_argument("--restart-seeds", type=int, default=3, help="runs of NAO with each restart")
    made.add_argument("--cells", type=int, default=128, help="architectures that are measured")
    options = made.parse_args(args)
    jobs = [
        Job(benchmark, arm, seed, options.cells)
        for arms, seeds in (
            (SAMPLINGS, options.seeds),
            ([f"nao_{restart}" for restart in RESTARTS], options.restart_seeds),
        )
        for seed in range(seeds)
        for benchmark in options.benchmarks
        for arm in arms
    ]

    def body() -> list[Fields]:
        tables = {name: BENCHMARKS[name].table() for name in options.benchmarks}  # before hours of training, not after
        nets = complete("studies.path_sampling.run", [job._asdict() for job in jobs], options.out, options.jobs)
        return [
            row
            for name in tables
            for row in judge(name, [net for net in nets if net["benchmark"] == name], options.cells)
        ]

    return main(body, options.out)


def run(job: Fields, folder: Path) -> Fields:
    """Train a super-net and measure the architectures."""
    command = fit(options_of(job["benchmark"], job["arm"]), folder, job["seed"])
    space = BENCHMARKS[job["benchmark"]].space
    figures = {name: float(command.trainer.callback_metrics[name]) for name in PATHS}
    scored = evaluate(command.model, command.datamodule, fixed_cells(space, job["cells"], 0))
    return {**scored, **figures, "found": command.model.support}


def options_of(name: str, arm: str) -> list[str]:
    """Config and options of a run."""
    epochs = EPOCHS[name] // (PRIMITIVES[name] if arm == "fair" else 1)
    shared = f"{BENCHMARKS[name].options} {RATE[name]} --trainer.max_epochs {epochs}"
    if arm in SAMPLINGS:
        return f"supernet_nasbench201_baseline {QUICK_END} {shared} {SAMPLINGS[arm]}".split()
    return f"search_nao_v2_nasbench201 {shared} {NAO} {arm.removeprefix('nao_')}".split()


def judge(name: str, nets: Sequence[Fields], count: int) -> list[Fields]:
    """Rows of the super-nets of a benchmark, and of sizes, which have no seed."""
    benchmark: Benchmark = BENCHMARKS[name]
    table, space = benchmark.table(), benchmark.space
    cells = [space.genotype(support) for support in fixed_cells(space, count, 0)]
    everything = np.sort(table.accuracies(*benchmark.truth))
    truth = np.array([table.accuracy(cell, *benchmark.truth) for cell in cells])
    sizes = np.array([table.cost(cell).parameters for cell in cells])
    bands = np.array_split(np.argsort(sizes, kind="stable"), BANDS)

    def percentile(accuracy: float) -> float:
        """Share of the space that is worse, ties by half."""
        low, high = (np.searchsorted(everything, accuracy, side) for side in ("left", "right"))
        return 50 * float(low + high) / len(everything)

    def figures(scores: ArrayLike) -> Fields:
        values: Floats = np.asarray(scores, np.float64)
        excess = values.argsort(kind="stable").argsort() - truth.argsort(kind="stable").argsort()
        return {
            "tau": tau(values, truth),
            "tau_in_bands": float(np.mean([float(tau(values[band], truth[band]) or 0) for band in bands])),
            "tau_with_parameters": tau(values, sizes),
            "bias": float(spearmanr(excess, sizes).statistic),
            "percentile": percentile(truth[values.argmax()]),
        }

    rows = []
    for net in nets:
        by_accuracy = figures(net["accuracies"])
        row = {"benchmark": name, "arm": net["arm"], "seed": net["seed"], **figures(-np.array(net["losses"]))}
        row |= {f"{key}_by_accuracy": value for key, value in by_accuracy.items()}
        row |= {"shared_accuracy": 100 * float(np.mean(net["accuracies"])), **{key: net[key] for key in PATHS}}
        if net["arm"] not in SAMPLINGS:
            found = space.genotype(tuple(map(tuple, net["found"])))
            row["found"] = percentile(table.accuracy(found, *benchmark.truth))
        rows.append(row)
    free = {"parameters": sizes, "MACs": np.array([table.cost(cell).flops for cell in cells])}
    return rows + [{"benchmark": name, "arm": arm, "seed": "", **figures(scores)} for arm, scores in free.items()]


if __name__ == "__main__":
    sys.exit(study())
