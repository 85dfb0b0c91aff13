"""Does bf16 or ``torch.compile`` make a training step of a derived network faster here?

    python benchmarks/precision.py [--compile] [--json FILE]

Training steps of one discrete network in float32 and under bf16 autocast take turns; with ``--compile`` also a copy
whose cells are compiled one by one, after what that takes has been measured.
"""

import argparse
import copy
import sys
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from harness import Report, interleaved, now, parser, run
from search_step import add_setup, still
from torch.nn import functional

from sparsenas.callbacks.compilation import compile_cells
from sparsenas.networks import DerivedNet
from sparsenas.spaces import DartsSpace


def main(args: Sequence[str] | None = None) -> int:
    """Time all rows and print the table."""
    options = parser(__doc__, repeats=12)
    add_setup(options)
    options.add_argument("--compile", action="store_true", help="also compile the cells")
    chosen = options.parse_args(args)
    return run("precision", chosen, lambda report: measure(chosen, report))


def measure(options: argparse.Namespace, report: Report) -> None:
    """Time all rows."""
    torch.manual_seed(0)
    shape = (3, options.pixels, options.pixels)
    genotype = DartsSpace().sample(np.random.default_rng(0))
    net = DerivedNet(genotype, shape, 10, channels=options.channels, cells=options.cells)
    net.to(options.device).to(memory_format=torch.channels_last)
    images = torch.randn(options.batch, *shape, device=options.device).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (options.batch,), device=options.device)

    def step(network: DerivedNet, optimizer: torch.optim.Optimizer, bf16: bool) -> None:
        optimizer.zero_grad()
        with torch.autocast(options.device, torch.bfloat16, enabled=bf16):
            loss = functional.cross_entropy(network(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    rows: dict[str, Callable[[], object]] = {
        "float32": partial(step, net, still(net.parameters()), False),
        "bf16 autocast": partial(step, net, still(net.parameters()), True),
    }
    if options.compile:
        compiled = copy.deepcopy(net)
        compile_cells(compiled)
        rows["compiled cells"] = partial(step, compiled, still(compiled.parameters()), False)
        start = now(options.device)
        rows["compiled cells"]()
        report.ratios["compile_seconds"] = now(options.device) - start
    median = report.seconds("training step", interleaved(rows, options.repeats, options.device))
    for name, value in median.items():
        if name != "float32":
            report.ratios[f"{name.replace(' ', '_')}_over_float32"] = value / median["float32"]


if __name__ == "__main__":
    sys.exit(main())
