"""The two phases of a one-stage run: how long they are, and the courses of their rates."""

from dataclasses import dataclass

from sparsenas.errors import ConfigError
from sparsenas.schedules import Decay


@dataclass(frozen=True)
class Phases:
    """Plan of a one-stage run; what depends on when the search really ends is asked with that epoch.

    Attributes:
        search_epochs: Longest search phase.
        train_epochs: Length of the training phase; ``None`` takes all epochs that remain.
        warmup_epochs: Epochs of the search phase without steps on ``b``.
        search_decay: Learning rate of the weights over ``search_epochs``.
        train_decay: The same over the training phase.
        arch_decay: Learning rate of ``b`` over ``search_epochs`` after warm-up.
        drop_path: Probability that the training phase grows towards.

    Raises:
        ConfigError: If the numbers do not fit together.
    """

    search_epochs: int
    train_epochs: int | None
    warmup_epochs: int
    search_decay: Decay
    train_decay: Decay
    arch_decay: Decay
    drop_path: float

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 0 <= self.warmup_epochs < self.search_epochs or (
            self.train_epochs is not None and self.train_epochs < 1
        ):
            raise ConfigError(
                f"warmup_epochs={self.warmup_epochs}, search_epochs={self.search_epochs}, "
                f"train_epochs={self.train_epochs}; need 0 <= warmup_epochs < search_epochs, and train_epochs at least "
                "1, or null for all that remain"
            )
        stretches = [("search_decay", self.search_decay, self.search_epochs)]
        stretches += [("arch_decay", self.arch_decay, self.search_epochs - self.warmup_epochs)]
        stretches += [("train_decay", self.train_decay, self.train_epochs)] if self.train_epochs else []
        for name, decay, epochs in stretches:
            if decay.warmup_epochs >= epochs:
                raise ConfigError(f"{name}.warmup_epochs is {decay.warmup_epochs}, but its phase has {epochs} epochs")
        if not 0.0 <= self.drop_path < 1.0:
            raise ConfigError(f"drop_path is {self.drop_path}; a probability below 1 is needed")

    def check(self, epochs: int, measuring: int | None = None) -> None:
        """Check that a run of ``epochs`` holds both phases.

        Args:
            epochs: Longest run.
            measuring: How long a search phase takes that ends with its last measurement; ``None`` for others, which may
                take all of ``search_epochs``.

        Raises:
            ConfigError: If it does not.
        """
        search = f"search_epochs {self.search_epochs}" if measuring is None else f"{measuring} epochs of measuring"
        least = (measuring or self.search_epochs) + (self.train_epochs or 1)
        if epochs < least:
            raise ConfigError(
                f"trainer.max_epochs is {epochs}, but {search} and train_epochs {self.train_epochs or 'of at least 1'} "
                f"need {least}"
            )

    def progress(self, epoch: float) -> float:
        """Share of the longest search phase after warm-up that is done, in [0, 1]."""
        return min(max((epoch - self.warmup_epochs) / (self.search_epochs - self.warmup_epochs), 0.0), 1.0)

    def train_length(self, search_end: int, epochs: int) -> int:
        """Epochs of the training phase of a run of at most ``epochs``."""
        return self.train_epochs or max(epochs - search_end, 1)

    def weight_rate(self, epoch: int, search_end: int | None, epochs: int) -> float:
        """Share of the peak learning rate of the weights."""
        if search_end is None or epoch < search_end:
            return self.search_decay.factor(epoch, self.search_epochs)
        return self.train_decay.factor(epoch - search_end, self.train_length(search_end, epochs))

    def arch_rate(self, epoch: int) -> float:
        """Share of the peak learning rate of ``b``; ``epoch`` is counted from the end of the warm-up."""
        return self.arch_decay.factor(epoch, self.search_epochs - self.warmup_epochs)

    def drop_path_rate(self, epoch: int, search_end: int | None, epochs: int) -> float:
        """Drop-path probability: none in the search phase, then ``k / E`` of the last one in epoch ``k`` of ``E``."""
        if search_end is None:
            return 0.0
        return self.drop_path * (epoch - search_end) / self.train_length(search_end, epochs)
