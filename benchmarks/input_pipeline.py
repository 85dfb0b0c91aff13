"""Does the network wait for its images?

    SPARSENAS_DATA=... python benchmarks/input_pipeline.py [--json FILE]

Reads, crops, flips, cuts out and normalises batches of the 16-pixel CIFAR-10 subset as the shipped config does, against
a training step of a network of the quickstart's size on such a batch.

Shifts and flips of own images are also held against the step of a plain network of five convolutions, about the
cheapest step there is: at 16 pixels, and at 32.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from harness import MissingError, Report, interleaved, parser, run
from torch import Tensor, nn
from torch.nn import functional

from sparsenas.data import Augmentation, NpzImages
from sparsenas.data.augment import STREAMS, Augmenter, normalise, random_crop_flip
from sparsenas.networks import DerivedNet
from sparsenas.spaces import DartsSpace

DATA_FILE = "cifar10_12k_16px.npz"
#: Augmentation of the shipped configs on these images.
SHIPPED = Augmentation(cutout=4, padding_mode="zeros")


def main(args: Sequence[str] | None = None) -> int:
    """Time both and print the ratio."""
    options = parser(__doc__, repeats=30)
    options.add_argument("--batch", type=int, default=64)
    chosen = options.parse_args(args)
    return run("input_pipeline", chosen, lambda report: measure(chosen, report))


def measure(options: argparse.Namespace, report: Report) -> None:
    """Time the parts of the pipeline, all of it, and a training step."""
    path = Path(os.environ.get("SPARSENAS_DATA", ".")) / DATA_FILE
    if not path.is_file():
        report.leave_out(
            "input pipeline",
            MissingError(f"{path} is not there; set SPARSENAS_DATA to its folder; docs/tables.md says what it holds"),
        )
        return
    data = NpzImages(str(path), batch_size=options.batch, arch_fraction=0.0, augmentation=SHIPPED)
    data.setup("fit")
    augmenter = Augmenter(data.augmentation, data.seed)
    mean, std = torch.tensor([data.mean, data.std], device=options.device)
    epochs = endless(data)

    def read() -> tuple[Tensor, Tensor]:
        images, labels = next(epochs)
        return images.to(options.device, non_blocking=True), labels.to(options.device, non_blocking=True)

    def augment(images: Tensor) -> Tensor:
        return augmenter(images, mean, std, stream=STREAMS["weights"], epoch=0, batch=0)

    genotype = DartsSpace(nodes=3).sample(np.random.default_rng(0))
    network = DerivedNet(genotype, data.image_shape, data.num_classes, channels=12, cells=3, stem="small")
    network = network.to(options.device).to(memory_format=torch.channels_last)
    raw, labels = read()
    batch = augment(raw)

    rows = {
        "read": read,
        "augment": lambda: augment(raw),
        "input pipeline": lambda: augment(read()[0]),
        "training step": step_of(network, batch, labels),
    }
    median = report.seconds(f"batches of {options.batch}", interleaved(rows, options.repeats, options.device))
    report.ratios["pipeline_over_step"] = median["input pipeline"] / median["training step"]
    for scale in (1, 2):
        larger = raw.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
        pixels = larger.shape[2]
        generator = torch.Generator(options.device).manual_seed(data.seed)
        plain = plain_network(data.num_classes).to(options.device).to(memory_format=torch.channels_last)
        rows = {
            "shift and flip": partial(random_crop_flip, larger, pixels // 8, "reflect", True, generator),
            "plain step": step_of(plain, normalise(larger, mean, std), labels),
        }
        median = report.seconds(f"{pixels} pixels", interleaved(rows, options.repeats, options.device))
        report.ratios[f"augment_over_plain_step_{pixels}px"] = median["shift and flip"] / median["plain step"]


def step_of(network: nn.Module, batch: Tensor, labels: Tensor) -> Callable[[], None]:
    """A training step of a network, to be repeated."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, nesterov=True)

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(network(batch), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def plain_network(classes: int) -> nn.Sequential:
    """Five convolutions of 16, 32 and 64 channels; two of them halve the image."""
    layers: list[nn.Module] = []
    channels = 3
    for width, stride in ((16, 1), (16, 1), (32, 2), (32, 1), (64, 2)):
        layers += [nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def endless(data: NpzImages) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of one epoch after the other."""
    loader = data.train_dataloader()
    while True:
        yield from loader


if __name__ == "__main__":
    sys.exit(main())
