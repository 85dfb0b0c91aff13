"""Attacks: images within a ball of pixel values around others, on which the loss is larger."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sparsenas.errors import ConfigError

#: Pixel values of an image are multiples of 1 / this.
LEVELS = 255


class PixelScale(NamedTuple):
    """Pixel values of normalised images, each of shape ``(C, 1, 1)``.

    Attributes:
        unit: One of 255 levels.
        low: The darkest value.
        high: The brightest value.
    """

    unit: Tensor
    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, mean: Tensor, std: Tensor) -> "PixelScale":
        """Make the scale of images that were normalised by a mean and a deviation per channel, shape ``(C,)``."""
        mean, std = mean[:, None, None], std[:, None, None]
        return cls(1 / (LEVELS * std), -mean / std, (1 - mean) / std)

    def to(self, images: Tensor) -> "PixelScale":
        """Move the scale to device and type of some images."""
        return PixelScale(*(part.to(images) for part in self))

    def clamp(self, images: Tensor, change: Tensor, epsilon: float) -> Tensor:
        """Cut a change of images to at most ``epsilon`` levels, and to what pixels can be."""
        change = torch.clamp(change, -epsilon * self.unit, epsilon * self.unit)
        return torch.clamp(images + change, self.low, self.high) - images


@dataclass(frozen=True)
class Attack:
    r"""Steps along the sign of the gradient of the loss, projected onto a ball of pixel values.

    .. math:: \delta \leftarrow \Pi_{\|\delta\|_\infty \le \epsilon}(\delta + s\,\mathrm{sign}\,\nabla L(x + \delta))

    One step is FGSM, several are PGD. The gradient is always taken where the step begins.

    Attributes:
        epsilon: Largest change of a pixel, in levels of 255: 8 is the 8/255 of publications.
        steps: Number of steps.
        step_size: Length of a step, likewise; by default ``epsilon`` for one step, 1.25 times that after a random
            start, and ``2.5 * epsilon / steps`` for several.
        random_start: Begin at a uniform point of the ball, not at the image.

    Raises:
        ConfigError: If a number is out of range.

    Source: Goodfellow et al., Explaining and Harnessing Adversarial Examples (ICLR 2015); Madry et al., Towards Deep
        Learning Models Resistant to Adversarial Attacks (ICLR 2018); Wong et al., Fast Is Better than Free (ICLR 2020)
        for one step after a random start.
    """

    epsilon: float = 8.0
    steps: int = 1
    step_size: float | None = None
    random_start: bool = True

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 0 <= self.epsilon <= LEVELS:
            raise ConfigError(
                f"epsilon is {self.epsilon}, a number of the {LEVELS} levels of a pixel: use 8 for 8/255, and at most "
                f"{LEVELS}"
            )
        if self.steps < 1 or self.steps != int(self.steps):
            raise ConfigError(f"steps of an attack are {self.steps}; use a whole number from 1 on")
        if self.step_size is not None and not 0 < self.step_size <= 2 * LEVELS:
            raise ConfigError(f"step_size of an attack is {self.step_size}; use a positive number of levels, or null")

    @property
    def step(self) -> float:
        """Length of a step, in levels."""
        if self.step_size is not None:
            return self.step_size
        if self.steps > 1:
            return 2.5 * self.epsilon / self.steps
        return 1.25 * self.epsilon if self.random_start else self.epsilon

    def __str__(self) -> str:
        """Return text such as ``"PGD-10, 8/255, steps of 2/255 from a random start"``."""
        name = f"PGD-{self.steps}" if self.steps > 1 else "FGSM"
        start = "a random start" if self.random_start else "the image"
        return f"{name}, {self.epsilon:g}/{LEVELS}, steps of {self.step:g}/{LEVELS} from {start}"

    def start(self, images: Tensor, scale: PixelScale, generator: torch.Generator | None = None) -> Tensor:
        """Draw the change that an attack begins with, zero without a random start."""
        if not self.random_start:
            return torch.zeros_like(images)
        drawn = torch.empty_like(images).uniform_(-self.epsilon, self.epsilon, generator=generator)
        return scale.clamp(images, drawn * scale.unit, self.epsilon)

    def change(self, images: Tensor, loss: Callable[[Tensor], Tensor], scale: PixelScale, start: Tensor) -> Tensor:
        """Compute the change of images, as large as they are; no gradient flows through it.

        Args:
            images: Normalised images ``(B, C, H, W)``.
            loss: Loss of changed images, a mean or a sum over images that do not depend on one another, or nearly so.
            scale: Pixel values of the images.
            start: Change to begin with, see :meth:`start`.
        """
        change = start
        for _ in range(self.steps):
            with torch.enable_grad():
                point = (images + change).detach().requires_grad_()
                # a mean over images has gradients that half precision takes for zero
                (gradient,) = torch.autograd.grad(loss(point) * len(point), point)
            change = self.stepped(images, change, gradient, scale)
        return change

    def stepped(self, images: Tensor, change: Tensor, gradient: Tensor, scale: PixelScale) -> Tensor:
        """Go one step along the sign of a gradient, and back into the ball and the range of pixels."""
        moved = change + self.step * scale.unit * gradient.sign().nan_to_num()
        return scale.clamp(images, moved, self.epsilon).detach()
