"""The two phases of a one-stage run: lengths, and learning rates."""

from dataclasses import dataclass

from sparsenas.errors import ConfigError
from sparsenas.schedules import Schedule, Stretch
from sparsenas.search.optimizers import ArchitectureTraining
from sparsenas.training import WeightTraining


@dataclass(frozen=True)
class Phases:
    """Plan of a one-stage run: a search phase, then a training phase.

    Attributes:
        search_epochs: Longest search phase.
        train_epochs: Length of the training phase; ``None`` takes all epochs that remain.
        search_schedule: Learning rate of the weights over ``search_epochs``; the training phase has its own.
        warm_start: Go on from the weights of the search phase. If not, the training phase begins with new random
            weights, running statistics and optimizer states: weights that served many architectures are no good start,
            and a short run cannot make up for them.

    Raises:
        ConfigError: If the numbers do not fit together.
    """

    search_epochs: int = 120
    train_epochs: int | None = None
    search_schedule: Schedule = Schedule("constant")
    warm_start: bool = True

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.search_epochs < 1 or (self.train_epochs is not None and self.train_epochs < 1):
            raise ConfigError(
                f"phases: search_epochs={self.search_epochs}, train_epochs={self.train_epochs}; each is at least 1, or "
                "train_epochs null for all epochs that remain"
            )
        self.search_schedule.check(by_epochs=True)

    def check_schedules(self, weights: WeightTraining, architecture: ArchitectureTraining) -> None:
        """Check that every warm-up is shorter than its phase.

        Raises:
            ConfigError: If one is not.
        """
        if architecture.warmup_epochs >= self.search_epochs:
            raise ConfigError(
                f"architecture.warmup_epochs is {architecture.warmup_epochs}, but phases.search_epochs is "
                f"{self.search_epochs}: no epoch is left for the search"
            )
        stretches = self.search_stretches(architecture)
        stretches += [Stretch("training.schedule", weights.schedule, self.train_epochs)] if self.train_epochs else []
        for name, schedule, epochs in stretches:
            if schedule.warmup_epochs >= epochs:
                raise ConfigError(
                    f"{name}.warmup_epochs is {schedule.warmup_epochs}, but its phase has {epochs} epochs"
                )

    def search_stretches(self, architecture: ArchitectureTraining) -> list[Stretch]:
        """Return the schedules of the search phase."""
        weights = Stretch("phases.search_schedule", self.search_schedule, self.search_epochs)
        return [weights, architecture.stretch(self.search_epochs)]

    def check_length(self, epochs: int) -> None:
        """Check that a run of ``epochs`` holds both phases.

        Raises:
            ConfigError: If it does not.
        """
        least = self.search_epochs + (self.train_epochs or 1)
        if epochs < least:
            raise ConfigError(
                f"trainer.max_epochs is {epochs}, but search_epochs {self.search_epochs} and train_epochs "
                f"{self.train_epochs or 'of at least 1'} need {least}"
            )

    def recoveries(self, batches: float, every_n_steps: int | None, warmup_epochs: int) -> int:
        """Count the recoveries that fit in the search phase.

        Args:
            batches: Training batches of an epoch.
            every_n_steps: Batches between two recoveries; ``None`` for one an epoch.
            warmup_epochs: Epochs without any.
        """
        epochs = self.search_epochs - warmup_epochs
        return int(epochs if every_n_steps is None else epochs * batches // every_n_steps)

    def train_length(self, search_end: int | None, epochs: int) -> int:
        """Epochs of the training phase of a run of at most ``epochs``; the least before the search has ended."""
        return self.train_epochs or max(epochs - (self.search_epochs if search_end is None else search_end), 1)
