"""The optimizers of a search, and their schedules."""

from collections.abc import Iterable
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from sparsenas.errors import ConfigError

Parameters = Iterable[nn.Parameter]


def make_optimizers(
    *groups: tuple[Parameters, OptimizerCallable, LRSchedulerCallable | None],
) -> tuple[list[Any], list[Any]]:
    """One optimizer per group, with its schedule: the network weights first, then the architecture.

    Raises:
        ConfigError: If a schedule does not go by epoch.
    """
    optimizers, schedulers = [], []
    for parameters, make_optimizer, make_scheduler in groups:
        optimizers.append(make_optimizer(parameters))
        if make_scheduler is not None:
            schedulers.append(make_scheduler(optimizers[-1]))
    if any(isinstance(scheduler, ReduceLROnPlateau) for scheduler in schedulers):
        raise ConfigError(
            "a scheduler is ReduceLROnPlateau, which waits for a metric; the schedules of a search go by epoch: "
            "use e.g. WarmupDecay"
        )
    return optimizers, schedulers


def step_schedules(trainer: pl.Trainer, arch_stepped: bool = True) -> None:
    """Step all schedules at the end of an epoch; that of the architecture only if the architecture moved in it."""
    for config in trainer.lr_scheduler_configs:
        scheduler: LRScheduler = config.scheduler
        if arch_stepped or scheduler.optimizer is not trainer.optimizers[-1]:
            scheduler.step()
