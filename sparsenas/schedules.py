"""Learning-rate schedules by epoch."""

import math
from dataclasses import dataclass
from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from sparsenas.errors import ConfigError


@dataclass(frozen=True)
class Schedule:
    """Learning rate over a stretch of epochs, as a share of its peak.

    Attributes:
        shape: Shape of the decay between warm-up and end; ``constant`` stays at the peak.
        warmup_epochs: Epochs of linear warm-up; epoch ``k`` of them runs at ``(k + 1) / warmup_epochs`` of the peak.
        final_ratio: Share at the end.
        epochs: Length of the stretch; ``None`` follows the run, or the phase of it.

    Raises:
        ConfigError: If a number is out of range.

    Source: the ImageNet schedule of PC-DARTS and ISTA-NAS is ``warmup_epochs=5, shape="linear"``; the cosine one is
        that of Loshchilov and Hutter, SGDR (ICLR 2017), without restarts.
    """

    shape: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_epochs: int = 0
    final_ratio: float = 0.0
    epochs: int | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
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
        if self.shape == "constant":
            return 1.0
        length = self.epochs or run
        done = min((epoch - self.warmup_epochs) / max(length - self.warmup_epochs, 1), 1.0)
        decay = (1.0 + math.cos(math.pi * done)) / 2.0 if self.shape == "cosine" else 1.0 - done
        return self.final_ratio + (1.0 - self.final_ratio) * decay

    def remark(self, run: int) -> str:
        """Say that a run of so many epochs never reaches the peak; empty if it does."""
        if not 0 < run <= self.warmup_epochs:
            return ""
        return (
            f"training.schedule.warmup_epochs is {self.warmup_epochs}, but the run has {run} epochs: the learning rate "
            "never reaches its peak"
        )

    def scheduler(self, optimizer: Optimizer, run: int) -> LambdaLR:
        """Make a scheduler of torch, stepped once per epoch.

        Args:
            optimizer: Its learning rate is the peak.
            run: Length of the run in epochs.
        """
        return LambdaLR(optimizer, lambda epoch: self.factor(epoch, run))
