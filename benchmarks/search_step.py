"""What a search step costs beside the training of the network it searches for. Prints a table; ``--json`` keeps it.

    python benchmarks/search_step.py [--json FILE]

The limit of a two-stage step is one training step of the discrete network plus one pass that yields gradients of its
input only. All rows run in turn, again and again, in one process; quoted are medians and quartiles. One CPU thread
unless asked.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sparsenas.errors import SparseNASError
from sparsenas.files import write_atomically
from sparsenas.networks import SuperNet
from sparsenas.search import CompressedArchitecture, FullGradient, SparseRecovery, SupportGradient
from sparsenas.spaces import DartsSpace


def main(args: Sequence[str] | None = None) -> int:
    """Time everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--pixels", type=int, default=32)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write medians and ratios to this file")
    options = parser.parse_args(args)
    torch.set_num_threads(options.threads)
    try:
        rows = rows_to_time(options.channels, options.cells, options.pixels, options.batch)
        seconds = interleaved(rows, options.repeats)
        ratios = report(seconds)
        if options.json:
            medians = {name: statistics.median(values) for name, values in seconds.items()}
            write_atomically(options.json, json.dumps({"seconds": medians, "ratios": ratios}, indent=1).encode())
    except SparseNASError as error:
        print(f"search_step: error: {error}", file=sys.stderr)
        return 2
    return 0


def rows_to_time(channels: int, cells: int, pixels: int, batch: int) -> dict[str, Callable[[], object]]:
    """Name and body of every row, on one super-net, one support, one batch."""
    space = DartsSpace()
    network = SuperNet(space, (3, pixels, pixels), 10, channels, cells).to(memory_format=torch.channels_last)
    architecture = CompressedArchitecture(space, SparseRecovery(), torch.Generator().manual_seed(0))
    derived = network.derive(space.genotype(architecture.support)).to(memory_format=torch.channels_last)
    images = torch.randn(batch, 3, pixels, pixels).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (batch,))
    rng = np.random.default_rng(0)
    optimizers = {net: torch.optim.SGD(net.parameters(), 0.01, momentum=0.9) for net in (network, derived)}

    def criterion(logits: Tensor) -> Tensor:
        return functional.cross_entropy(logits, labels)

    def update(net: torch.nn.Module, loss: Tensor) -> None:
        optimizers[net].zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizers[net].step()

    def training_step() -> None:
        update(derived, criterion(derived(images)))

    def input_gradient() -> None:
        inputs = images.detach().requires_grad_()
        torch.autograd.grad(criterion(derived(inputs)), inputs)

    def weights_step() -> None:
        weights = architecture.weights().detach()
        update(network, criterion(network(images, architecture.support, weights)))

    def architecture_step(signal: SupportGradient | FullGradient) -> None:
        step = signal.step(architecture, network, images, criterion, rng)
        with torch.no_grad():
            architecture.b.sub_(step.gradient, alpha=1e-4)

    return {
        "training step": training_step,
        "input-gradient pass": input_gradient,
        "weights step": weights_step,
        "SupportGradient": lambda: architecture_step(SupportGradient()),
        "FullGradient": lambda: architecture_step(FullGradient()),
        "recovery": architecture.recover,
        "architecture weights": architecture.weights,
    }


def interleaved(rows: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of every row in every round, after one round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    for turn in range(repeats + 1):
        for name, body in rows.items():
            start = time.perf_counter()
            body()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def report(seconds: dict[str, list[float]]) -> dict[str, float]:
    """Print medians, quartiles and ratios; return the ratios."""
    for name, values in seconds.items():
        low, median, high = statistics.quantiles(values, n=4)
        print(f"{name:22}{1e3 * median:10.2f} ms   quartiles {1e3 * low:.2f} to {1e3 * high:.2f}")
    median = {name: statistics.median(values) for name, values in seconds.items()}
    limit = median["training step"] + median["input-gradient pass"]
    full = median["FullGradient"] / FullGradient().every + median["recovery"] / FullGradient().every
    ratios = {
        "two_stage_over_limit": (median["weights step"] + median["SupportGradient"] + median["recovery"]) / limit,
        "full_gradient_over_limit": (median["weights step"] + full) / limit,
        "recovery_ms": 1e3 * median["recovery"],
    }
    for name, value in ratios.items():
        print(f"{name:28}{value:8.3f}")
    return ratios


if __name__ == "__main__":
    sys.exit(main())
