"""Options of NAO: its iterations, and the trainings that decide."""

from dataclasses import dataclass
from math import isfinite
from typing import Literal

from sparsenas.errors import ConfigError

#: What begins anew with an iteration: nothing; the schedule of the learning rate; the memory of the optimizer, too; the
#: weights, too.
Restart = Literal["carry", "schedule", "optimizer", "all"]
RESTARTS: tuple[Restart, ...] = ("carry", "schedule", "optimizer", "all")


@dataclass(frozen=True)
class Iterations:
    """Iterations of NAO.

    Attributes:
        count: Number of iterations.
        pool: Random architectures of the first one.
        proposals: Architectures of each later one.
        seeds: Best architectures so far from which those are made.
        exponent: Of the number of parameters, to which the probability of an architecture is proportional: 1 balances
            them as NAO-V2 does, 0 draws uniformly.
        restart: What begins anew with an iteration.
        encoder_epochs: Epochs of each fit of encoder, predictor and decoder; a third as many on random networks come
            before the first.

    Raises:
        ConfigError: If a number is out of range.
    """

    count: int = 4
    pool: int = 1000
    proposals: int = 300
    seeds: int = 100
    exponent: float = 1.0
    restart: Restart = "schedule"
    encoder_epochs: int = 300

    def __post_init__(self) -> None:
        """Check the options."""
        for name, least in (("count", 1), ("pool", 2), ("proposals", 1), ("seeds", 1), ("encoder_epochs", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"iterations.{name} is {getattr(self, name)}; use at least {least}")
        if self.seeds > self.pool:
            raise ConfigError(
                f"iterations: seeds is {self.seeds} and pool {self.pool}: the seeds are of the first pool; lower seeds"
            )
        if self.restart not in RESTARTS:
            raise ConfigError(f"iterations.restart is {self.restart!r}; use one of {', '.join(RESTARTS)}")
        if not isfinite(self.exponent):
            raise ConfigError(f"iterations.exponent is {self.exponent}; use a finite number")


@dataclass(frozen=True)
class Finals:
    """Trainings of the best architectures alone, from new weights, of which the best is found.

    Attributes:
        count: Number of architectures; 0 finds the best with shared weights.
        epochs: Epochs of each.

    Raises:
        ConfigError: If a number is out of range.
    """

    count: int = 5
    epochs: int = 10

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.count < 0 or self.epochs < 1:
            raise ConfigError(f"finals: count={self.count}, epochs={self.epochs}; use 0 or more, for 1 epoch or more")

    @property
    def total(self) -> int:
        """Epochs of all."""
        return self.count * self.epochs
