"""The optimizers of a search, and their schedules."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.cli import OptimizerCallable
from torch.optim.lr_scheduler import LRScheduler

from sparsenas.errors import ConfigError
from sparsenas.schedules import Schedule, Stretch
from sparsenas.search.objectives import Objectives
from sparsenas.training.weights import check_optimizer


def descent(parameters: Iterable[Any]) -> torch.optim.Optimizer:
    """Plain gradient steps on ``b`` of length 0.5."""
    return torch.optim.SGD(parameters, lr=0.5)


def darts_adam(parameters: Iterable[Any]) -> torch.optim.Optimizer:
    """Adam with the settings of DARTS for its architecture."""
    return torch.optim.Adam(parameters, lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)


@dataclass(frozen=True)
class ArchitectureTraining:
    """Options of the steps on the parameters of an architecture.

    Attributes:
        optimizer: Makes their optimizer; its learning rate is the peak of the schedule.
        schedule: Learning rate over the epochs after warm-up; a decay lets supports settle.
        warmup_epochs: Epochs at the beginning without steps on the architecture, so that all operations are trained.
        objectives: What the steps make small beside the loss; ``null`` for nothing.

    Raises:
        ConfigError: If the number of epochs is below 0, or the optimizer refuses an option.
    """

    optimizer: OptimizerCallable = descent
    schedule: Schedule = Schedule("constant")
    warmup_epochs: int = 0
    objectives: Objectives | None = None

    def __post_init__(self) -> None:
        """Check the number."""
        if self.warmup_epochs < 0:
            raise ConfigError(f"architecture.warmup_epochs is {self.warmup_epochs}; it is not below 0")
        self.schedule.check(by_epochs=True)
        check_optimizer(self.optimizer, "architecture.optimizer", [torch.zeros(2, 2)])

    def stretch(self, epochs: int) -> Stretch:
        """Return the schedule in a search of so many epochs, which begins after warm-up."""
        return Stretch("architecture.schedule", self.schedule, epochs - self.warmup_epochs)


def step_schedules(trainer: pl.Trainer, arch_stepped: bool = True) -> None:
    """Step all schedules at the end of an epoch; that of the architecture only if the architecture moved in it."""
    for config in trainer.lr_scheduler_configs:
        scheduler: LRScheduler = config.scheduler
        if arch_stepped or scheduler.optimizer is not trainer.optimizers[-1]:
            scheduler.step()
