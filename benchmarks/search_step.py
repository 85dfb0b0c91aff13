"""What an iteration of a search costs beside the training of the network it searches for.

    python benchmarks/search_step.py [--json FILE]

The searches are the shipped modules, run by Lightning's trainer. After each of their iterations the same batch goes
through the discrete network (the genotype of the search, batch-norms as in the super-net): once as a training step with
the same optimizer and clipping, once as a pass that yields gradients of its input only. The sum of the two is the limit
of a two-stage iteration, the first alone that of a one-stage one. Learning rates are 0, so that the support, and with
it the discrete network, stays.
"""

import argparse
import io
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from harness import Report, Samples, now, parser, peak_bytes, run
from torch import Tensor
from torch.nn import functional

from sparsenas.networks import NetworkConfig
from sparsenas.search import (
    ArchitectureTraining,
    Exploration,
    FullGradient,
    OneStageSearch,
    Phases,
    RecoveredSampling,
    SearchModule,
    SupportGradient,
    TwoStageSearch,
)
from sparsenas.training import WeightTraining

#: Iterations at the beginning that do not count.
WARM_UP = 2

Body = Callable[[tuple[Tensor, Tensor]], object]
AtEnd = Callable[[Mapping[str, Callable[[], object]]], None]


def main(args: Sequence[str] | None = None) -> int:
    """Time everything and print the tables."""
    options = parser(__doc__, repeats=16)
    add_setup(options)
    chosen = options.parse_args(args)
    return run("search_step", chosen, lambda report: measure(chosen, report))


def add_setup(options: argparse.ArgumentParser) -> None:
    """Options for the size of network and batch, and the precision."""
    for name, default in (("channels", 16), ("cells", 8), ("pixels", 32), ("batch", 32)):
        options.add_argument(f"--{name}", type=int, default=default)
    options.add_argument("--precision", default="32-true", choices=("32-true", "bf16-mixed"))


def size(options: argparse.Namespace) -> dict[str, Any]:
    """Size of the network, as arguments of a search."""
    shape = (3, options.pixels, options.pixels)
    network = NetworkConfig(channels=options.channels, cells=options.cells)
    return {"image_shape": shape, "num_classes": 10, "network": network}


def idle(**training: Any) -> dict[str, Any]:
    """Arguments of a search whose optimizers do all their work and move nothing."""
    return {
        "training": WeightTraining(optimizer=still, **training),
        "architecture": ArchitectureTraining(optimizer=still),
    }


def measure(options: argparse.Namespace, report: Report) -> None:
    """Time all searches."""
    common = {**size(options), **idle(), "sampling": RecoveredSampling()}

    two = TwoStageSearch(signal=SupportGradient(), **common)
    watch = alternate(two, options)
    median = report.seconds("two-stage, SupportGradient", watch.seconds)
    limit = median["training step"] + median["input-gradient pass"]
    report.ratios["two_stage_over_limit"] = median["iteration"] / limit
    report.ratios["memory_over_discrete"] = watch.bytes["iteration"] / watch.bytes["training step"]
    print(f"  peak memory: iteration {watch.bytes['iteration'] / 2**20:.0f} MiB, ", end="")
    print(f"training step {watch.bytes['training step'] / 2**20:.0f} MiB")

    full = FullGradient()
    watch = alternate(TwoStageSearch(signal=full, **common), options, rounds=max(options.repeats, 4) * full.every // 2)
    every = watch.seconds["iteration"]
    dear, cheap = every[full.every - WARM_UP - 1 :: full.every], list(every)
    del cheap[full.every - WARM_UP - 1 :: full.every]
    samples = {"iteration with the signal": dear, "iteration without": cheap}
    median = report.seconds(
        "two-stage, FullGradient", samples | {k: v for k, v in watch.seconds.items() if k != "iteration"}
    )
    amortised = (median["iteration with the signal"] + (full.every - 1) * median["iteration without"]) / full.every
    limit = median["training step"] + median["input-gradient pass"]
    report.ratios["full_gradient_over_limit"] = amortised / limit
    # stricter: a limit that has the input-gradient pass as seldom as the signal
    limit = median["training step"] + median["input-gradient pass"] / full.every
    report.ratios["full_gradient_over_amortised_limit"] = amortised / limit

    median = report.seconds("one-stage, search phase", alternate(one_stage(options), options).seconds)
    report.ratios["one_stage_over_training_step"] = median["iteration"] / median["training step"]


def one_stage(options: argparse.Namespace) -> OneStageSearch:
    """A one-stage search that does all its work and moves nothing."""
    exploration = Exploration(sampling=RecoveredSampling())
    phases = Phases(search_epochs=1)
    return OneStageSearch(**size(options), **idle(auxiliary_weight=0.0), exploration=exploration, phases=phases)


def still(parameters: Any) -> torch.optim.Optimizer:
    """An optimizer with momentum that does all its work and moves nothing."""
    return torch.optim.SGD(parameters, lr=1e-30, momentum=0.9, weight_decay=3e-4)


class Alternation(pl.Callback):
    """Times the iterations of a search and, after each, other bodies on the same batch.

    Attributes:
        seconds: Of every row in every round.
        bytes: Peak memory of every row beyond what was held before it, with ``at_end`` left alone.
    """

    def __init__(self, rows: Mapping[str, Body], device: str, at_end: AtEnd | None = None) -> None:
        self.rows, self.device, self.at_end = rows, device, at_end or self._weigh
        self.seconds: Samples = {name: [] for name in ("iteration", *rows)}
        self.bytes: dict[str, int] = {}
        self._start = 0.0

    def on_train_batch_start(self, trainer: pl.Trainer, search: pl.LightningModule, batch: Any, index: int) -> None:
        """Read the clock."""
        self._start = now(self.device)

    def on_train_batch_end(
        self, trainer: pl.Trainer, search: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Read it again; then run all others."""
        images = batch["weights"] if isinstance(batch, Mapping) else batch
        self._keep("iteration", index, self._start)
        for name, body in self.rows.items():
            start = now(self.device)
            body(images)
            self._keep(name, index, start)
        if index + 1 == trainer.num_training_batches:
            bodies = {name: partial(body, images) for name, body in self.rows.items()}
            self.at_end({"iteration": partial(search.training_step, batch, index), **bodies})

    def _weigh(self, bodies: Mapping[str, Callable[[], object]]) -> None:
        self.bytes = {name: peak_bytes(body, self.device) for name, body in bodies.items()}

    def _keep(self, name: str, index: int, start: float) -> None:
        if index >= WARM_UP:
            self.seconds[name].append(now(self.device) - start)


class Repeated:
    """One batch, again and again."""

    def __init__(self, batch: Any, times: int) -> None:
        self.batch, self.times = batch, times

    def __len__(self) -> int:
        return self.times

    def __iter__(self) -> Iterator[Any]:
        return iter([self.batch] * self.times)


def alternate(
    search: SearchModule,
    options: argparse.Namespace,
    rounds: int | None = None,
    beside: Mapping[str, Body] | None = None,
    at_end: AtEnd | None = None,
) -> Alternation:
    """Run a search by Lightning's trainer.

    Args:
        search: Not fitted before, or fitted by this function.
        options: Of the benchmark.
        rounds: Iterations that count.
        beside: What runs beside it; the discrete network, unless told otherwise.
        at_end: Gets all bodies after the last round; measures peak memory, unless told otherwise.
    """
    rounds = rounds or options.repeats
    if beside is None:
        autocast = torch.autocast(options.device, torch.bfloat16, enabled=options.precision == "bf16-mixed")
        beside = discrete_rows(search, options.device, autocast)
    torch.manual_seed(0)
    shape = (options.batch, *search.hparams["image_shape"])
    images = torch.randn(shape).contiguous(memory_format=torch.channels_last)
    one = images, torch.randint(10, (options.batch,))
    batch = one if isinstance(search, OneStageSearch) else {"weights": one, "arch": one}
    watch = Alternation(beside, options.device, at_end)
    trainer = pl.Trainer(
        max_epochs=2,  # a one-stage search needs an epoch after that of its search phase
        limit_train_batches=rounds + WARM_UP,
        accelerator="gpu" if options.device == "cuda" else "cpu",
        devices=1,
        precision=options.precision,
        callbacks=[watch, StopAfterOneEpoch()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a loader without workers, which has nothing to load
        trainer.fit(search, Repeated(batch, rounds + WARM_UP))
    return watch


def in_turn(searches: Mapping[str, SearchModule], options: argparse.Namespace, turn: int) -> dict[str, Alternation]:
    """A few iterations of each, again and again."""
    watches: dict[str, Alternation] = {}
    for _ in range(max(1, options.repeats // turn)):
        for name, search in searches.items():
            watch = alternate(search, options, rounds=turn, beside={})
            if name in watches:
                watch.seconds["iteration"] += watches[name].seconds["iteration"]
            watches[name] = watch
    return watches


class StopAfterOneEpoch(pl.Callback):
    """Ends a run after its first epoch."""

    def on_train_epoch_end(self, trainer: pl.Trainer, search: pl.LightningModule) -> None:
        """Stop."""
        trainer.should_stop = True


def discrete_rows(search: SearchModule, device: str, precision: Any) -> dict[str, Body]:
    """The discrete network of a search: a training step, and a pass for input gradients only."""
    derived = search.network.derive(search.genotype).to(device).to(memory_format=torch.channels_last)
    optimizer = still(derived.parameters())

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        with precision:
            return functional.cross_entropy(derived(images), labels)

    def training_step(batch: tuple[Tensor, Tensor]) -> None:
        optimizer.zero_grad()
        loss(*batch).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(derived.parameters(), 5.0)
        optimizer.step()

    def input_gradient(batch: tuple[Tensor, Tensor]) -> None:
        inputs = batch[0].detach().requires_grad_()
        torch.autograd.grad(loss(inputs, batch[1]), inputs)

    return {"training step": training_step, "input-gradient pass": input_gradient}


if __name__ == "__main__":
    sys.exit(main())
