"""Options of the training of network weights, shared by searchers and by training."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pytorch_lightning.cli import OptimizerCallable
from torch import Tensor
from torch.nn import functional

from sparsenas.errors import ConfigError
from sparsenas.schedules import Schedule

#: Seconds that count.
Clock = Literal["auto", "wall"]


def default_optimizer(parameters: Iterable[Any]) -> torch.optim.Optimizer:
    """SGD as in DARTS: learning rate 0.025, momentum 0.9, weight decay 3e-4."""
    return torch.optim.SGD(parameters, lr=0.025, momentum=0.9, weight_decay=3e-4)


def check_optimizer(make: OptimizerCallable, where: str) -> None:
    """Make an optimizer of one number, to find out now what it does not take.

    Raises:
        ConfigError: If it refuses an option, or its learning rate is not above 0.
    """
    try:
        optimizer = make([torch.nn.Parameter(torch.zeros(1, 1))])
    except (TypeError, ValueError, RuntimeError) as error:
        if "empty parameter list" in str(error):
            return  # it chooses among the parameters of a network
        raise ConfigError(f"{where}: {error}") from error
    for lr in (group.get("lr") for group in optimizer.param_groups):
        if lr is not None and not 0 < float(lr) < math.inf:
            raise ConfigError(f"{where}: lr is {float(lr):g}; use a positive number")


@dataclass(frozen=True)
class WeightTraining:
    """Options of the training of network weights.

    Attributes:
        optimizer: Makes the optimizer; its learning rate is the peak of the schedule.
        schedule: Learning rate over the run, stepped once per epoch.
        gradient_clip: Largest norm of the gradient; 0 for no clipping.
        label_smoothing: Label smoothing of the training loss.
        drop_path: Drop-path probability that the run grows towards.
        auxiliary_weight: Weight of the auxiliary classifier's loss; 0 builds none.
        steps: Length of the training in steps, whatever ``trainer.max_epochs`` says, unless it is 0; the learning rate
            then follows the schedule step by step.
        seconds: Length in seconds, likewise.
        clock: Seconds that count. ``auto`` is those of the processor where all is done by one thread of a CPU, so that
            other programs do not count; those of the clock with more threads, other devices, or processes that read
            images. ``wall`` is always those of the clock.

    Raises:
        ConfigError: If a number is out of range, or two lengths are set.
    """

    optimizer: OptimizerCallable = default_optimizer
    schedule: Schedule = Schedule()
    gradient_clip: float = 5.0
    label_smoothing: float = 0.0
    drop_path: float = 0.0
    auxiliary_weight: float = 0.0
    steps: int | None = None
    seconds: float | None = None
    clock: Clock = "auto"

    def __post_init__(self) -> None:
        """Check the numbers."""
        if min(self.gradient_clip, self.auxiliary_weight) < 0:
            raise ConfigError(
                f"training: gradient_clip={self.gradient_clip}, auxiliary_weight={self.auxiliary_weight}; "
                "neither is below 0"
            )
        if not 0.0 <= self.label_smoothing < 1.0 or not 0.0 <= self.drop_path < 1.0:
            raise ConfigError(
                f"training: label_smoothing={self.label_smoothing}, drop_path={self.drop_path}; both lie in [0, 1)"
            )
        if self.steps is not None and self.seconds is not None:
            raise ConfigError(
                f"training.steps is {self.steps} and training.seconds {self.seconds}; set one of them, the other null"
            )
        for name, length in (("steps", self.steps), ("seconds", self.seconds)):
            if length is not None and (isinstance(length, bool) or not 0 < length < math.inf):
                raise ConfigError(f"training.{name} is {length}; use a positive number, or null to count epochs")
        if self.steps is not None and self.steps != int(self.steps):
            raise ConfigError(f"training.steps is {self.steps}; use a whole number")
        self.schedule.check(self.by_epochs)
        check_optimizer(self.optimizer, "training.optimizer")

    @property
    def by_epochs(self) -> bool:
        """True if ``trainer.max_epochs`` is the length of the training."""
        return self.steps is None and self.seconds is None

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy with label smoothing, 0-d."""
        return functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
