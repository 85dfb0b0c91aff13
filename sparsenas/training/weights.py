"""Options of the training of network weights, shared by searchers and by training."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from pytorch_lightning.cli import OptimizerCallable
from torch import Tensor

from sparsenas.errors import ConfigError
from sparsenas.schedules import Schedule
from sparsenas.training.adversarial import Adversary

#: What to do about gradients that are not finite.
OnNonfinite = Literal["stop", "skip"]
#: Weights of classes in the loss.
ClassWeights = Literal["none", "auto"] | dict[str, float]
#: Seconds that count.
Clock = Literal["auto", "wall"]
#: Tensors like the weights of a network: of a convolution, and of a norm.
WEIGHTS = (torch.zeros(2, 2, 3, 3), torch.zeros(2))


def default_optimizer(parameters: Iterable[Any]) -> torch.optim.Optimizer:
    """SGD as in DARTS: learning rate 0.025, momentum 0.9, weight decay 3e-4."""
    return torch.optim.SGD(parameters, lr=0.025, momentum=0.9, weight_decay=3e-4)


def check_optimizer(make: OptimizerCallable, where: str, like: Sequence[Tensor], closure: bool = False) -> None:
    """Make an optimizer and a step of it, to find out now what it does not take.

    Args:
        make: Makes the optimizer.
        where: Its option.
        like: Tensors of the shapes of its parameters.
        closure: True if it is given a function that computes the loss anew.

    Raises:
        ConfigError: If it refuses an option or such parameters, if its options lead away from the smallest loss, or if
            a step gives what is not finite.
    """
    parameters = [torch.nn.Parameter(torch.zeros_like(tensor)) for tensor in like]
    try:
        optimizer = make(parameters)
        _check_groups(optimizer, where)
        if any(group.get("capturable") for group in optimizer.param_groups):
            return  # it steps on GPUs only
        for parameter in parameters:
            parameter.grad = torch.ones_like(parameter)
        if closure:
            optimizer.step(lambda: 1.0)
        else:
            optimizer.step()
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        if "empty parameter list" in str(error):
            return  # it chooses among the parameters of a network
        why = "it needs a closure, which a search does not give; use another one"
        raise ConfigError(f"{where}: {why if 'closure' in str(error) else error}") from error
    if not all(bool(parameter.isfinite().all()) for parameter in parameters):
        raise ConfigError(f"{where}: a step gives what is no number; use other options")


def _check_groups(optimizer: torch.optim.Optimizer, where: str) -> None:
    """Check options that torch takes as they are."""
    for group in optimizer.param_groups:
        lr, momentum, dampening = (group.get(name) for name in ("lr", "momentum", "dampening"))
        if lr is not None and not 0 < float(lr) < math.inf:
            raise ConfigError(f"{where}: lr is {float(lr):g}; use a positive number")
        if momentum is not None and not 0 <= float(momentum) < 1:
            raise ConfigError(f"{where}: momentum is {float(momentum):g}; use a number in [0, 1)")
        if dampening is not None and not 0 <= float(dampening) <= 1:
            raise ConfigError(f"{where}: dampening is {float(dampening):g}; use a number in [0, 1]")
        if group.get("maximize"):
            raise ConfigError(f"{where}: maximize is true, but a training makes its loss small; leave it out")


@dataclass(frozen=True)
class WeightTraining:
    """Options of the training of network weights.

    Attributes:
        optimizer: Makes the optimizer; its learning rate is the peak of the schedule.
        schedule: Learning rate over the run, stepped once per epoch.
        gradient_clip: Largest norm of the gradient; 0 for no clipping.
        label_smoothing: Label smoothing of the training loss; ``train/loss`` is logged without, to be compared with
            ``val/loss``.
        class_weights: Weights of classes in the loss, in searches and in trainings. ``none`` weighs all images alike.
            ``auto`` weighs a class by the inverse of its number of training images. ``{class: weight}`` names some; the
            others have weight 1, and an image of weight 2 counts like two. Weights are scaled to a mean of 1 over the
            training images. Logged losses are without.
        drop_path: Drop-path probability that the run grows towards.
        auxiliary_weight: Weight of the auxiliary classifier's loss; 0 builds none.
        steps: Length of the training in steps, whatever ``trainer.max_epochs`` says, unless it is 0; the learning rate
            then follows the schedule step by step.
        seconds: Length in seconds, likewise.
        clock: Seconds that count. ``auto`` is those of the processor where all is done by one thread of a CPU, so that
            other programs do not count; those of the clock with more threads, other devices, or processes that read
            images. ``wall`` is always those of the clock.
        on_nonfinite: ``stop`` ends a run whose loss or weights are no longer finite, at the end of the epoch and before
            anything is saved; no step waits for that. ``skip`` leaves out each step on the weights whose gradients are
            not all finite, as if its images had not been there: weights, momentum, decay and running statistics stay,
            its loss does not count in ``train/loss``, and ``train/skipped_steps`` counts such steps of an epoch. Every
            step then waits for the device, so it is for those who ask. The run still stops if all steps of an epoch
            were left out, or weights are not finite. With ``16-mixed`` the scaler leaves out such steps, as always.
        adversary: Attack on the images of every step; ``null`` for none.

    Raises:
        ConfigError: If a number is out of range, or two lengths are set.
    """

    optimizer: OptimizerCallable = default_optimizer
    schedule: Schedule = Schedule()
    gradient_clip: float = 5.0
    label_smoothing: float = 0.0
    class_weights: ClassWeights = "none"
    drop_path: float = 0.0
    auxiliary_weight: float = 0.0
    steps: int | None = None
    seconds: float | None = None
    clock: Clock = "auto"
    on_nonfinite: OnNonfinite = "stop"
    adversary: Adversary | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not (self.gradient_clip >= 0 and 0 <= self.auxiliary_weight < math.inf):
            raise ConfigError(
                f"training: gradient_clip={self.gradient_clip}, auxiliary_weight={self.auxiliary_weight}; "
                "neither is below 0"
            )
        if self.on_nonfinite not in get_args(OnNonfinite):
            raise ConfigError(f"training.on_nonfinite is {self.on_nonfinite!r}; use stop or skip")
        if not 0.0 <= self.label_smoothing < 1.0 or not 0.0 <= self.drop_path < 1.0:
            raise ConfigError(
                f"training: label_smoothing={self.label_smoothing}, drop_path={self.drop_path}; both lie in [0, 1)"
            )
        self._check_class_weights()
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
        check_optimizer(self.optimizer, "training.optimizer", WEIGHTS, closure=True)

    @property
    def by_epochs(self) -> bool:
        """True if ``trainer.max_epochs`` is the length of the training."""
        return self.steps is None and self.seconds is None

    def _check_class_weights(self) -> None:
        weights = self.class_weights
        if not isinstance(weights, Mapping):
            if weights not in ("none", "auto"):
                raise ConfigError(f"training.class_weights is {weights!r}; use none, auto, or {{class: weight}}")
            return
        for name, weight in weights.items():
            if isinstance(weight, bool) or not 0 < weight < math.inf:
                raise ConfigError(f"training.class_weights: that of {name} is {weight}; use a positive number")
