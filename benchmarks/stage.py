"""What networks of stages cost through our modules: against a plain nn.Sequential, in a search, and to size.

    python benchmarks/stage.py [--json FILE]

Training steps of one reference network, built by us and written out as a plain ``nn.Sequential``, take turns on the
same batch in channels-last memory. Iterations of a one-stage search take turns with training steps of the network that
it holds. Then: filling a budget for random genotypes, which are new each time, and recovering 31 layers of ten
candidates under two limits.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter

import numpy as np
import torch
from harness import Report, interleaved, parser, run
from search_step import alternate, idle, still
from torch import nn
from torch.nn import functional

from sparsenas.complexity import candidate_costs
from sparsenas.limits import Limits
from sparsenas.networks import DerivedNet, NetworkConfig, SuperNet
from sparsenas.search import Budget, Exploration, OneStageSearch, Phases, RecoveredSampling, SparseRecovery
from sparsenas.spaces import LAYER_TYPES, REFERENCES, StageSpace
from sparsenas.sparse_coding import ExactSolver


def main(args: Sequence[str] | None = None) -> int:
    """Time all and print ratios and milliseconds."""
    options = parser(__doc__, repeats=30)
    options.add_argument("--batch", type=int, default=64)
    options.add_argument("--channels", type=int, default=16)
    options.add_argument("--pixels", type=int, default=16)
    options.add_argument("--layers", type=int, default=10, help="most layers of a stage in the last two rows")
    options.set_defaults(precision="32-true")
    chosen = options.parse_args(args)
    return run("stage", chosen, lambda report: measure(chosen, report))


def measure(options: argparse.Namespace, report: Report) -> None:
    """Time everything."""
    shape = (3, options.pixels, options.pixels)
    ours = DerivedNet(REFERENCES["vgg_like"].genotype, shape, 10, channels=options.channels, cells=None)
    rows = {"plain nn.Sequential": step(plain(options.channels), options), "our modules": step(ours, options)}
    median = report.seconds("training step, VGG-like", interleaved(rows, options.repeats, options.device))
    report.ratios["stage_over_sequential"] = median["our modules"] / median["plain nn.Sequential"]

    search = OneStageSearch(
        shape,
        10,
        StageSpace(growths=[2.0]),
        NetworkConfig(channels=options.channels, cells=None),
        recovery=SparseRecovery(ExactSolver(nonnegative=True), compressed_size=8, unit_weights=True),
        exploration=Exploration(sampling=RecoveredSampling()),
        phases=Phases(search_epochs=1),
        **idle(),
    )
    median = report.seconds("one-stage, search phase", alternate(search, options).seconds)
    report.ratios["stage_search_over_training_step"] = median["iteration"] / median["training step"]

    space = StageSpace(layers=options.layers, types=LAYER_TYPES[:9], growths=[2.0])
    rng = np.random.default_rng(0)
    genotypes = [space.sample(rng) for _ in range(options.repeats)]
    limits = Limits(max_params=500_000, max_macs=50e6)
    samples = {"fill": [timed(partial(limits.fill, genotype, shape, 10)) for genotype in genotypes]}
    report.ratios["stage_fill_ms"] = 1e3 * report.seconds("width that fills a budget", samples)["fill"]

    costs = candidate_costs(SuperNet(space, shape, 10, channels=options.channels, cells=None))
    totals = np.array([total(space.support(genotype), costs.parameters, costs.macs) for genotype in genotypes])
    budget = Budget(
        max_params=costs.base_parameters + float(np.median(totals[:, 0])),
        max_macs=costs.base_macs + float(np.median(totals[:, 1])),
    )
    recovery = SparseRecovery(ExactSolver(nonnegative=True), compressed_size=8)
    problem = recovery.problem(space, torch.Generator().manual_seed(0), budget.constraints(space, costs))
    drawn = [torch.randn(problem.dictionary.shape[:2], dtype=torch.float64) for _ in range(options.repeats)]
    samples = {"recovery": [timed(partial(recovery.solver.solve, problem, b)) for b in drawn]}
    report.ratios["stage_recovery_ms"] = 1e3 * report.seconds("recovery under two limits", samples)["recovery"]


def plain(channels: int) -> nn.Sequential:
    """Write the VGG-like reference as its user would."""

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]

    one, two, four = channels, 2 * channels, 4 * channels
    return nn.Sequential(
        *block(3, one),
        *block(one, one),
        nn.MaxPool2d(2),
        *block(one, two),
        *block(two, two),
        nn.MaxPool2d(2),
        *block(two, four),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(four, 10),
    )


def step(network: nn.Module, options: argparse.Namespace) -> Callable[[], None]:
    """Make the training step of a network on one batch."""
    network = network.to(options.device).to(memory_format=torch.channels_last)
    optimizer = still(network.parameters())
    images = torch.randn(options.batch, 3, options.pixels, options.pixels, device=options.device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (options.batch,), device=options.device)

    def body() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(network(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return body


def timed(body: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    start = perf_counter()
    body()
    return perf_counter() - start


def total(support: Sequence[Sequence[int]], *rows: Sequence[Sequence[int]]) -> list[int]:
    """Sum each kind of cost over the kept candidates."""
    return [sum(row[index] for row, (index,) in zip(kind, support, strict=True)) for kind in rows]


if __name__ == "__main__":
    sys.exit(main())
