"""Proxies from training steps: the speed of learning, and the time of a step."""

from dataclasses import dataclass
from time import perf_counter
from typing import Literal

import numpy as np
import torch
from torch.nn import functional

from sparsenas.errors import ConfigError
from sparsenas.networks import DerivedNet
from sparsenas.search.measured.bench import Bench
from sparsenas.search.measured.proxies import Proxy
from sparsenas.spaces import Support


@dataclass(frozen=True)
class ShortTraining(Proxy):
    """Minus the training loss in the second half of a short training of the network alone.

    It is the beginning of a longer training. The learning rate stays where it is after warm-up, as schedules fall late.
    Images are new to the network as long as one epoch is not over. It ranks architectures by how fast they learn. Where
    the found network will itself be trained for some epochs only, that is nearly the question. Where it is trained to
    the end, it is not how good they become.

    From shared weights it is a fine-tuning. The images are those that the super-net holds out, and the loss of each
    batch is taken before it trains.

    Attributes:
        steps: Training steps.
        learning_rate: Learning rate of SGD with Nesterov momentum; best that of the training that is to follow.
        warmup: Steps of linear warm-up.
        weight_decay: Weight decay of SGD.
        gradient_clip: Largest norm of the gradient.
        pixels: Side that images are averaged down to; ``None`` for images as they are.
        channels: Channels of the first cell; ``None`` for those of the search.
        cells: Cells of the network; ``None`` for those of the search.
        start: Start from ``new`` weights, or from those that a super-net shares in a
            :class:`~sparsenas.search.SinglePathSearch`, which have one size.

    Raises:
        ConfigError: If a number is out of range, or shared weights are asked for at another size.
    """

    steps: int = 60
    learning_rate: float = 0.05
    warmup: int = 10
    weight_decay: float = 3e-4
    gradient_clip: float = 5.0
    pixels: int | None = None
    channels: int | None = None
    cells: int | None = None
    start: Literal["new", "shared"] = "new"

    def __post_init__(self) -> None:
        """Check the numbers."""
        if (
            self.steps < 4
            or self.warmup < 0
            or not self.learning_rate > 0
            or self.weight_decay < 0
            or not self.gradient_clip > 0
        ):
            raise ConfigError(
                f"training: steps={self.steps}, warmup={self.warmup}, learning_rate={self.learning_rate}, weight_decay="
                f"{self.weight_decay}, gradient_clip={self.gradient_clip}; need at least 4 steps, a positive rate and "
                "clip, warm-up and decay not below 0"
            )
        if min(number for number in (self.pixels, self.channels, self.cells, 1) if number is not None) < 1:
            raise ConfigError(
                f"training: pixels={self.pixels}, channels={self.channels}, cells={self.cells}; each is at least 1, or "
                "null"
            )
        if self.start == "shared" and (self.pixels, self.channels, self.cells) != (None, None, None):
            raise ConfigError(
                "training: shared weights have the size of their super-net: leave pixels, channels, cells"
            )

    @property
    def name(self) -> str:
        """See :class:`Proxy`."""
        return f"{self.steps} {'training' if self.start == 'new' else 'fine-tuning'} steps"

    @property
    def batches(self) -> int:
        """See :class:`Proxy`."""
        return self.steps

    def __call__(self, support: Support, bench: Bench, repeat: int) -> float:
        """See :class:`Proxy`.

        Raises:
            ConfigError: If shared weights are asked for, and there are none.
        """
        pixels = self.pixels or max(bench.size["image_shape"][1:])
        network = self._network(support, bench, repeat, pixels).train()
        parameters = list(network.parameters())
        optimizer = torch.optim.SGD(
            parameters, lr=self.learning_rate, momentum=0.9, nesterov=True, weight_decay=self.weight_decay
        )
        losses = []
        with torch.enable_grad():
            for step in range(self.steps):
                optimizer.param_groups[0]["lr"] = self.learning_rate * min((step + 1) / max(self.warmup, 1), 1.0)
                images, labels = bench.images(repeat * self.steps + step, pixels)
                loss = functional.cross_entropy(network(images), labels)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]  # torch's own
                torch.nn.utils.clip_grad_norm_(parameters, self.gradient_clip)
                optimizer.step()
                losses.append(loss.detach())
        mean = float(torch.stack(losses[self.steps // 2 :]).mean())
        return -mean if np.isfinite(mean) else -np.inf

    def _network(self, support: Support, bench: Bench, repeat: int, pixels: int) -> DerivedNet:
        """Make the network before its first step."""
        if self.start == "new":
            return bench.network(support, repeat, pixels, self.channels, self.cells)
        if bench.derive is None:
            raise ConfigError(
                "ShortTraining with start 'shared' has no super-net here: use it in a MeasuredSelection of "
                "SinglePathSearch"
            )
        return bench.derive(support)


@dataclass(frozen=True)
class StepTime(Proxy):
    """Minus the seconds of a training step on this device: what the rest of a run of given time can make use of.

    It is the fastest of some steps, as whatever else the machine does only adds to it. It says nothing of quality by
    itself, and another run measures something else.

    Attributes:
        steps: Steps of which the fastest counts, after one that does not.

    Raises:
        ConfigError: If the number is below 1.
    """

    steps: int = 5

    def __post_init__(self) -> None:
        """Check the number."""
        if self.steps < 1:
            raise ConfigError(f"{self.name}: steps is {self.steps}; time at least 1")

    @property
    def name(self) -> str:
        """See :class:`Proxy`."""
        return "step time"

    def __call__(self, support: Support, bench: Bench, repeat: int) -> float:
        """See :class:`Proxy`."""
        pixels = max(bench.size["image_shape"][1:])
        network = bench.network(support, repeat, pixels).train()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.0)
        images, labels = bench.images(repeat, pixels)
        times = []
        with torch.enable_grad():
            for _ in range(self.steps + 1):
                start = perf_counter()
                loss = functional.cross_entropy(network(images), labels)
                loss.backward()  # type: ignore[no-untyped-call]  # torch's own
                optimizer.step()
                optimizer.zero_grad()
                if images.device.type != "cpu":
                    torch.accelerator.synchronize(images.device)
                times.append(perf_counter() - start)
        return -min(times[1:])
