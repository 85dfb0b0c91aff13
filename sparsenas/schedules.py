"""Learning-rate schedules, by epoch or by the share of the run that is done."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pytorch_lightning import Trainer
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from sparsenas.errors import ConfigError
from sparsenas.trainer import is_dry_run


@dataclass(frozen=True)
class Schedule:
    """Learning rate over a run, or a stretch of its epochs, as a share of its peak.

    Attributes:
        shape: Shape of the decay between warm-up and end; ``constant`` stays at the peak.
        warmup_epochs: Epochs of linear warm-up; epoch ``k`` of them runs at ``(k + 1) / warmup_epochs`` of the peak.
        final_ratio: Share at the end.
        epochs: Length of the stretch; ``None`` follows the run, or the phase of it.
        warmup_share: Share of the run that is linear warm-up, where its length is in steps or seconds.

    Raises:
        ConfigError: If a number is out of range.

    Source: the ImageNet schedule of PC-DARTS and ISTA-NAS is ``warmup_epochs=5, shape="linear"``; the cosine one is
        that of Loshchilov and Hutter, SGDR (ICLR 2017), without restarts.
    """

    shape: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_epochs: int = 0
    final_ratio: float = 0.0
    epochs: int | None = None
    warmup_share: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 0.0 <= self.warmup_share < 1.0:
            raise ConfigError(f"schedule: warmup_share={self.warmup_share}; need 0 <= warmup_share < 1")
        if self.warmup_epochs < 0 or not 0.0 <= self.final_ratio <= 1.0:
            raise ConfigError(
                f"schedule: warmup_epochs={self.warmup_epochs}, final_ratio={self.final_ratio}; "
                "need warmup_epochs >= 0 and 0 <= final_ratio <= 1"
            )
        if self.epochs is not None and not self.warmup_epochs < self.epochs:
            raise ConfigError(
                f"schedule: epochs={self.epochs}, warmup_epochs={self.warmup_epochs}; need warmup_epochs < epochs, or "
                "epochs null to follow the run"
            )

    def factor(self, epoch: int, run: int) -> float:
        """Share of the peak in an epoch.

        Args:
            epoch: Counted from 0; later epochs than the last keep the share of the end.
            run: Length of the run, or of the phase of it.
        """
        if epoch < self.warmup_epochs:
            return (epoch + 1) / self.warmup_epochs
        length = self.epochs or run
        return self._decayed(min((epoch - self.warmup_epochs) / max(length - self.warmup_epochs, 1), 1.0))

    def at(self, progress: float) -> float:
        """Share of the peak when a share ``progress`` of the run is done; warm-up begins at a hundredth."""
        if progress < self.warmup_share:
            return max(progress / self.warmup_share, 0.01)
        return self._decayed(min((progress - self.warmup_share) / (1.0 - self.warmup_share), 1.0))

    def check(self, by_epochs: bool) -> None:
        """Check that the options are those of a run whose length is in epochs, or in steps or seconds.

        Raises:
            ConfigError: If one is not.
        """
        if by_epochs and self.warmup_share:
            raise ConfigError(
                f"schedule: warmup_share={self.warmup_share} is for runs of training.steps or training.seconds; use "
                "warmup_epochs"
            )
        if not by_epochs and (self.warmup_epochs or self.epochs is not None):
            raise ConfigError(
                f"schedule: warmup_epochs={self.warmup_epochs}, epochs={self.epochs}, but the length of the run is in "
                "steps or seconds: use warmup_share, and leave epochs out"
            )

    def _decayed(self, done: float) -> float:
        """Share of the peak when a share of the decay is done."""
        if self.shape == "constant":
            return 1.0
        decay = (1.0 + math.cos(math.pi * done)) / 2.0 if self.shape == "cosine" else 1.0 - done
        return self.final_ratio + (1.0 - self.final_ratio) * decay

    @property
    def decays(self) -> bool:
        """True if the end is below the peak."""
        return self.shape != "constant" and self.final_ratio < 1.0

    def scheduler(self, optimizer: Optimizer, run: int) -> LambdaLR:
        """Make a scheduler of torch, stepped once per epoch.

        Args:
            optimizer: Its learning rate is the peak.
            run: Length of the run in epochs.
        """
        return LambdaLR(optimizer, lambda epoch: self.factor(epoch, run))


class Stretch(NamedTuple):
    """A schedule in a run: the option that sets it, and the epochs that it goes over."""

    option: str
    schedule: Schedule
    run: int

    @property
    def remark(self) -> str:
        """Say that the rate misses its peak or its end, or stays at its end; empty if it does not."""
        schedule, own = self.schedule, self.schedule.epochs
        if 0 < self.run <= schedule.warmup_epochs:
            return (
                f"{self.option}.warmup_epochs is {schedule.warmup_epochs}, but the schedule goes over {self.run} "
                "epochs: the learning rate never reaches its peak"
            )
        if self.run < 1 or own in (None, self.run) or not schedule.decays:
            return ""
        outcome = "the learning rate never reaches its end"
        if own is not None and own < self.run:
            outcome = f"the last {self.run - own} run at {schedule.final_ratio:g} of the peak"
        return (
            f"{self.option}.epochs is {own}, but the schedule goes over {self.run} epochs: {outcome}; leave "
            f"{self.option}.epochs out to follow the run"
        )


def remarks(trainer: Trainer, stretches: Iterable[Stretch]) -> Iterator[str]:
    """Say which learning rates of a run, which begins now, do not go as their schedules promise."""
    if is_dry_run(trainer):
        return
    known = list(stretches)
    yield from (stretch.remark for stretch in known if stretch.remark)
    steps = trainer.num_training_batches / trainer.accumulate_grad_batches * (trainer.max_epochs or 0)
    if 0 < trainer.max_steps < steps < math.inf and any(stretch.schedule.decays for stretch in known):
        yield (
            f"trainer.max_steps is {trainer.max_steps}, but schedules go over trainer.max_epochs {trainer.max_epochs}, "
            f"which is {steps:.0f} steps: the learning rate never reaches its end"
        )
