"""What can be measured of an architecture without knowing how good it is."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal

import numpy as np
import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor
from torch.nn import functional

from sparsenas.complexity import CandidateCosts, live_support
from sparsenas.errors import ConfigError
from sparsenas.networks import DerivedNet, NormOptions
from sparsenas.networks.network import NetworkSize
from sparsenas.search.base import ImageBatch
from sparsenas.spaces import SearchSpace, Support
from sparsenas.zero_cost import ZeroCostScore


@dataclass(frozen=True)
class Bench:
    """What measurements are made with: images of the search's own training data, and networks at its size.

    Attributes:
        space: Search space.
        size: Of the networks.
        norms: Batch-norm options of their cells.
        costs: Of the candidates at that size.
        batches: Training batches, in the order in which they came.
        seed: All weights and draws follow from it, so that a resumed search repeats an uninterrupted one.
        shared: How good an architecture is with the weights of a trained super-net; ``None`` where there is none.
        derive: Its network with a copy of these weights; ``None`` where there is none.
    """

    space: SearchSpace
    size: NetworkSize
    norms: NormOptions
    costs: CandidateCosts
    batches: Sequence[ImageBatch]
    seed: int
    shared: Callable[[Support], float] | None = None
    derive: Callable[[Support], DerivedNet] | None = None
    _untrained: dict[tuple[Support, int, int], DerivedNet] = field(default_factory=dict, repr=False, compare=False)

    def untrained(self, support: Support, repeat: int, pixels: int) -> DerivedNet:
        """A network that nobody trains: every score of a repeat reads the same one, which is built once."""
        key = support, repeat, pixels
        if key not in self._untrained:
            self._untrained[key] = self.network(support, repeat, pixels)
        return self._untrained[key]

    def network(
        self, support: Support, repeat: int, pixels: int, channels: int | None = None, cells: int | None = None
    ) -> DerivedNet:
        """A network with new weights, the same ones for the same ``repeat``; on the device of the images."""
        size = self.size.copy()
        size["image_shape"] = (size["image_shape"][0], pixels, pixels)
        size["channels"], size["cells"] = channels or size["channels"], cells or size["cells"]
        with isolate_rng():
            # not the sum: neighbouring seeds would share weights
            torch.manual_seed(int(np.random.SeedSequence((self.seed, repeat)).generate_state(1)[0]))
            network = DerivedNet(self.space.genotype(support), norms=self.norms, **size)
        return network.to(self.batches[0][0].device).to(memory_format=torch.channels_last)

    def images(self, number: int, pixels: int) -> ImageBatch:
        """A batch at a size; after the last one comes the first."""
        images, labels = self.batches[number % len(self.batches)]
        return shrunk(images, pixels), labels


def shrunk(images: Tensor, pixels: int) -> Tensor:
    """Images averaged down to so many pixels a side; as they are if they are no larger."""
    return images if max(images.shape[2:]) <= pixels else functional.adaptive_avg_pool2d(images, pixels)


class Measurement(ABC):
    """A number for an architecture, more is better."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Short text for reports."""

    @abstractmethod
    def __call__(self, support: Support, bench: Bench, repeat: int) -> float:
        """Measure an architecture.

        Args:
            support: The architecture.
            bench: What it is measured with.
            repeat: Which of several independent measurements of the same.

        Returns:
            The number; ``-inf`` for an architecture that fails. Never NaN.
        """

    @property
    def repeatable(self) -> bool:
        """Whether another repeat measures anything new."""
        return True

    @property
    def batches(self) -> int:
        """Batches that a repeat reads."""
        return 1

    @property
    def least_images(self) -> int:
        """Images that a batch must have."""
        return 1

    def check(self, images: int) -> None:
        """Check that a batch of so many images is enough.

        Raises:
            ConfigError: If it is not.
        """
        if images < self.least_images:
            raise ConfigError(
                f"{self.name}: images is {self.least_images}, but a batch has {images}: set data.batch_size to at "
                "least as many"
            )


@dataclass(frozen=True)
class Untrained(Measurement):
    """A training-free score of the network with new weights.

    Attributes:
        score: The score.
        pixels: Images are averaged down to so many pixels a side; ``None`` for as they are.
        images: How many; a batch has at least as many.

    Raises:
        ConfigError: If a number is too small.
    """

    score: ZeroCostScore
    pixels: int | None = None
    images: int = 64

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.images < 2 or (self.pixels is not None and self.pixels < 1):
            raise ConfigError(
                f"{self.name}: images is {self.images}, pixels is {self.pixels}; need at least 2 images and 1 pixel"
            )

    @property
    def name(self) -> str:
        """See :class:`Measurement`."""
        return type(self.score).__name__

    @property
    def least_images(self) -> int:
        """See :class:`Measurement`."""
        return self.images

    def __call__(self, support: Support, bench: Bench, repeat: int) -> float:
        """See :class:`Measurement`.

        Raises:
            ConfigError: If a batch has too few images.
        """
        pixels = self.pixels or max(bench.size["image_shape"][1:])
        images, _ = bench.images(repeat, pixels)
        self.check(len(images))
        network = bench.untrained(support, repeat, pixels)
        with torch.enable_grad(), torch.autocast(images.device.type, enabled=False):  # scores need the digits
            return self.score(network, images[: self.images])


@dataclass(frozen=True)
class SharedWeights(Measurement):
    """How good an architecture is with the weights that a super-net shares, on images held out for that.

    A signal of :class:`~sparsenas.search.SinglePathSearch` only; its ``criterion`` says whether it is loss or accuracy.
    """

    @property
    def name(self) -> str:
        """See :class:`Measurement`."""
        return "shared weights"

    @property
    def repeatable(self) -> bool:
        """See :class:`Measurement`."""
        return False

    def __call__(self, support: Support, bench: Bench, repeat: int) -> float:
        """See :class:`Measurement`.

        Raises:
            ConfigError: If there is no super-net.
        """
        if bench.shared is None:
            raise ConfigError(
                "measuring.signals has SharedWeights, but no super-net is trained here: use it in "
                "SinglePathSearch.measuring"
            )
        score = bench.shared(support)
        return -np.inf if np.isnan(score) else score


@dataclass(frozen=True)
class LiveCost(Measurement):
    """The trivial opinion that more is better: what the network costs, without what lies on no path.

    Attributes:
        unit: What is counted.
    """

    unit: Literal["parameters", "multiply_adds"] = "parameters"

    @property
    def name(self) -> str:
        """See :class:`Measurement`."""
        return f"live {self.unit.replace('_', '-')}"

    @property
    def repeatable(self) -> bool:
        """See :class:`Measurement`."""
        return False

    def __call__(self, support: Support, bench: Bench, repeat: int) -> float:
        """See :class:`Measurement`."""
        rows = zip(getattr(bench.costs, self.unit), live_support(bench.space, support), strict=True)
        return float(sum(row[index] for row, kept in rows for index in kept))


@dataclass(frozen=True)
class ShortTraining(Measurement):
    """Minus the training loss in the second half of a short training of the network alone.

    It is the beginning of a longer training: the learning rate stays where it is after warm-up, as schedules fall late,
    and images are new to the network as long as one epoch is not over. It ranks by how fast architectures learn. Where
    the found network will itself be trained for some epochs only, that is nearly the question; where it is trained to
    the end, it is not how good they become.

    From shared weights it is a fine-tuning: the images are those that the super-net holds out, and each batch is judged
    before it trains.

    Attributes:
        steps: Training steps.
        learning_rate: Of SGD with Nesterov momentum; best that of the training that is to follow.
        warmup: Steps of linear warm-up.
        weight_decay: Of SGD.
        gradient_clip: Largest norm of the gradient.
        pixels: Images are averaged down to so many pixels a side; ``None`` for as they are.
        channels: Channels of the first cell; ``None`` for those of the search.
        cells: Cells of the network; ``None`` for those of the search.
        start: From ``new`` weights, or from those that a super-net shares, in a
            :class:`~sparsenas.search.SinglePathSearch`; these have one size.

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
        """See :class:`Measurement`."""
        return f"{self.steps} {'training' if self.start == 'new' else 'fine-tuning'} steps"

    @property
    def batches(self) -> int:
        """See :class:`Measurement`."""
        return self.steps

    def __call__(self, support: Support, bench: Bench, repeat: int) -> float:
        """See :class:`Measurement`.

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
        """The network before its first step."""
        if self.start == "new":
            return bench.network(support, repeat, pixels, self.channels, self.cells)
        if bench.derive is None:
            raise ConfigError(
                "ShortTraining with start 'shared' has no super-net here: use it in SinglePathSearch.measuring"
            )
        return bench.derive(support)


@dataclass(frozen=True)
class StepTime(Measurement):
    """Minus the seconds of a training step on this device: what the rest of a run of given time can make use of.

    The fastest of some steps, as whatever else the machine does only adds to it. Says nothing of quality by itself, and
    another run measures something else.

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
        """See :class:`Measurement`."""
        return "step time"

    def __call__(self, support: Support, bench: Bench, repeat: int) -> float:
        """See :class:`Measurement`."""
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
