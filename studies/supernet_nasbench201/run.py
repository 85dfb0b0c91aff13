"""How well does a super-net rank cells, and which training heuristics help? Levels of factors, seeds, tau with truth.

    SPARSENAS_DATA=... python -m studies.supernet_nasbench201.run --out runs/supernet_nasbench201

Every super-net is trained by the config ``supernet_nasbench201_baseline`` and the options of its level; with
``--benchmark nasbench_macro`` it is one of chains. One fixed set of cells, drawn without a look at truth, is then run
with the shared weights on all validation images. Truth, the published test accuracy on CIFAR-10, is
read when all is trained. A stopped study goes on where it was when it is started again with the same ``--out``. To
choose a level, use another set of cells (``--cells-seed``) than to report it.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.nn import functional

from sparsenas.errors import ConfigError, RankingError
from sparsenas.ranking import kendall_tau, top_mean, trivial_scores
from sparsenas.search import BestOf
from sparsenas.spaces import NONE, NasBench201Space, NasBenchMacroSpace, SearchSpace, Support
from sparsenas.tables import BenchmarkTable, NasBench201Table, NasBenchMacroTable
from studies.common import Fields, complete, fit, main, parser

LR = "--model.training.optimizer.init_args.lr"
#: Options of every level, from the baseline: one factor each.
LEVELS: dict[str, str] = {
    "baseline": "",
    "tracked": "--model.network.norms.track true",
    "affine": "--model.network.norms.affine true",
    "norms_in_operations_only": "--model.network.norms.append none",
    "wsbn": "--model.network.norms.affine true --model.mapping.norm_sets inputs",
    "random_a": "--model.paths UniquePaths",
    "fairnas": "--model.paths FairPaths",
    # fairnas makes as many passes per batch as there are primitives: these make as many in all as the baselines
    "fairnas_equal_passes": "--model.paths FairPaths --trainer.max_epochs 6",
    "fairnas_equal_passes_of_chains": "--model.paths FairPaths --trainer.max_epochs 4",
    "without_none": "--model.paths.untrained [none]",
    **{f"lr_{rate}": f"{LR} {rate}" for rate in (0.025, 0.1, 0.2)},
    **{f"channels_{count}": f"--model.network.channels {count}" for count in (4, 16)},
    **{f"epochs_{count}": f"--trainer.max_epochs {count}" for count in (6, 24)},
    "dropout": "--model.mapping.dropout 0.2",
    "path_dropout": "--model.training.drop_path 0.2",
    "ofa_kernel": "--model.mapping.kernels matrix",
    "centre_kernel": "--model.mapping.kernels centre",
    "on_node": "--model.mapping.operations node",
}
#: The search's own measurements, which the study has no use for: one cell on one batch.
QUICK_END = "--model.selection.class_path BestOf --model.selection.init_args.count 1 --model.measure_batches 1"
#: The study of batch-norm and sampling, and one change at a time to chains.
CROSSED = [
    "+".join(filter(None, names)) or "baseline"
    for names in (
        (tracked, affine, sampling)
        for tracked in ("", "tracked")
        for affine in ("", "affine")
        for sampling in ("", "random_a", "fairnas_equal_passes")
    )
]
CHAINS = ["baseline", "affine", "tracked", "norms_in_operations_only", "fairnas_equal_passes_of_chains", "lr_0.025"]
CHAINS += ["lr_0.1", "lr_0.2", "channels_4", "channels_16", "epochs_6", "epochs_24"]
#: Fewest images of a batch on which batch statistics are good enough to compare cells.
SMALLEST_BATCH = 256
#: Bands of equal counts and similar size, within which tau is taken as well.
BANDS = 8


class Benchmark(NamedTuple):
    """Where truth comes from, which of it, options of every run before those of its level, and levels of the study."""

    space: SearchSpace
    table: Callable[[], BenchmarkTable]
    truth: tuple[str, str, int]
    options: str
    levels: Sequence[str]


BENCHMARKS = {
    "nasbench201": Benchmark(NasBench201Space(), NasBench201Table, ("cifar10", "test", 200), "", CROSSED),
    "nasbench_macro": Benchmark(
        NasBenchMacroSpace(),
        NasBenchMacroTable,
        ("cifar10", "test", 50),
        "--model.space NasBenchMacroSpace --model.network.cells 8 --trainer.max_epochs 12",
        CHAINS,
    ),
}


def study(args: Sequence[str] | None = None) -> int:
    """Run what is missing, then look up truth."""
    made = parser(__doc__)
    made.add_argument("--benchmark", choices=BENCHMARKS, default="nasbench201", help="space and table")
    made.add_argument("--levels", nargs="+", metavar="LEVEL", help="joined by + if several; by default a study")
    made.add_argument("--seeds", type=int, default=3, help="super-nets per level")
    made.add_argument("--cells", type=int, default=200, help="cells that are measured")
    made.add_argument("--cells-seed", type=int, default=0, help="by which they are drawn")
    options = made.parse_args(args)
    levels = options.levels or BENCHMARKS[options.benchmark].levels
    measured = {name: getattr(options, name) for name in ("benchmark", "cells", "cells_seed")}
    jobs = [{"arm": level, "seed": seed, **measured} for seed in range(options.seeds) for level in levels]

    def body() -> list[Fields]:
        benchmark = BENCHMARKS[options.benchmark]
        table = benchmark.table()  # before hours of training, not after; it is read at the end
        for level in levels:
            level_options(level)
        nets = complete("studies.supernet_nasbench201.run", jobs, options.out, options.jobs)
        return judge(nets, benchmark, table, fixed_cells(benchmark.space, options.cells, options.cells_seed))

    return main(body, options.out)


def level_options(level: str) -> list[str]:
    """Options of a level, or of several joined by ``+``.

    Raises:
        ConfigError: If it is unknown.
    """
    unknown = [name for name in level.split("+") if name not in LEVELS]
    if unknown:
        raise ConfigError(f"no level {unknown[0]!r}; there are {', '.join(LEVELS)}")
    return [option for name in level.split("+") for option in LEVELS[name].split()]


def fixed_cells(space: SearchSpace, count: int, seed: int) -> list[Support]:
    """Distinct cells, drawn uniformly; no score or truth is looked at."""
    return list(BestOf(count).measure(space, lambda _: 0.0, np.random.default_rng(seed)))


def run(job: Fields, folder: Path) -> Fields:
    """Train a super-net and measure the cells."""
    benchmark = BENCHMARKS[job["benchmark"]]
    options = [*QUICK_END.split(), *benchmark.options.split(), *level_options(job["arm"])]
    command = fit(["supernet_nasbench201_baseline", *options], folder, job["seed"])
    return evaluate(command.model, command.datamodule, fixed_cells(benchmark.space, job["cells"], job["cells_seed"]))


def evaluate(search: Any, data: Any, cells: Sequence[Support]) -> Fields:
    """Shared accuracy and loss of every cell on all validation images.

    Raises:
        ConfigError: If batches are too small for batch statistics.
    """
    batches = list(data.evaluation_batches("val"))
    smallest = min(len(labels) for _, labels in batches)
    if smallest < SMALLEST_BATCH:
        raise ConfigError(
            f"data.eval_batch_size is {data.eval_batch_size} and gives a batch of {smallest} validation images; use "
            f"at least {SMALLEST_BATCH}, and at most as many as there are"
        )
    labels, accuracies, losses = torch.cat([labels for _, labels in batches]), [], []
    search.network.eval()
    with torch.no_grad():
        for cell in cells:
            logits = torch.cat([search.network(images, cell) for images, _ in batches])
            accuracies.append(float((logits.argmax(1) == labels).float().mean()))
            losses.append(float(functional.cross_entropy(logits, labels)))
    return {"accuracies": accuracies, "losses": losses}


def judge(
    nets: Sequence[Fields], benchmark: Benchmark, table: BenchmarkTable, supports: Sequence[Support]
) -> list[Fields]:
    """Rows of all super-nets, then of rankings of the same cells that need no training, which have no seed."""
    cells = [benchmark.space.genotype(support) for support in supports]
    truth = np.array([table.accuracy(cell, *benchmark.truth) for cell in cells])
    costs = [table.cost(cell) for cell in cells]
    sizes = np.array([cost.parameters for cost in costs])
    full = np.array([all(c.primitive != NONE for _, kept in cell.cells for c in kept) for cell in cells])
    bands = np.array_split(np.argsort(sizes, kind="stable"), BANDS)

    def figures(scores: ArrayLike) -> Fields:
        values = np.asarray(scores, np.float64)
        within = [tau(values[band], truth[band]) for band in bands]
        return {
            "tau": tau(values, truth),
            "tau_in_bands": "" if "" in within else float(np.mean(np.array(within, float))),
            "tau_without_none": "" if full.all() else tau(values[full], truth[full]),
            "top_10_mean": top_mean(values, truth, min(10, len(truth))),
        }

    rows = [
        {"set": "", "level": net["arm"], "seed": net["seed"], **figures(net["accuracies"])}
        | {"tau_by_loss": tau(-np.array(net["losses"]), truth)}
        | {"shared_accuracy": 100 * float(np.mean(net["accuracies"]))}
        for net in nets
    ]
    free = trivial_scores(cells, {"parameters": list(sizes), "FLOPs": [cost.flops for cost in costs]})
    return rows + [{"set": "", "level": name, "seed": "", **figures(scores)} for name, scores in free.items()]


def tau(scores: ArrayLike, truth: ArrayLike) -> float | str:
    """Kendall's tau; empty where scores do not rank, as those of a super-net that learned nothing."""
    try:
        return kendall_tau(scores, truth)
    except RankingError:
        return ""


if __name__ == "__main__":
    sys.exit(study())
