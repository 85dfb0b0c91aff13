"""Learning-rate schedules by epoch."""

import math
from dataclasses import dataclass
from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from sparsenas.errors import ConfigError


@dataclass(frozen=True)
class Decay:
    """Course of a learning rate over a stretch of epochs, as a share of its peak.

    Attributes:
        warmup_epochs: Epochs of linear warm-up; epoch ``k`` of them runs at ``(k + 1) / warmup_epochs`` of the peak.
        final_ratio: Share at the end.
        shape: Shape of the decay between warm-up and end; ``constant`` stays at the peak.

    Raises:
        ConfigError: If a number is out of range.

    Source: the ImageNet schedule of PC-DARTS and ISTA-NAS is ``warmup_epochs=5, shape="linear"``; the cosine one is
        that of Loshchilov and Hutter, SGDR (ICLR 2017), without restarts.
    """

    warmup_epochs: int = 0
    final_ratio: float = 0.0
    shape: Literal["cosine", "linear", "constant"] = "cosine"

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.warmup_epochs < 0 or not 0.0 <= self.final_ratio <= 1.0:
            raise ConfigError(
                f"schedule: warmup_epochs={self.warmup_epochs}, final_ratio={self.final_ratio}; "
                "need warmup_epochs >= 0 and 0 <= final_ratio <= 1"
            )

    def factor(self, epoch: int, epochs: int) -> float:
        """Share of the peak in an epoch.

        Args:
            epoch: Counted from 0; later epochs than the last keep the share of the end.
            epochs: Length of the stretch.
        """
        if epoch < self.warmup_epochs:
            return (epoch + 1) / self.warmup_epochs
        if self.shape == "constant":
            return 1.0
        done = min((epoch - self.warmup_epochs) / max(epochs - self.warmup_epochs, 1), 1.0)
        decay = (1.0 + math.cos(math.pi * done)) / 2.0 if self.shape == "cosine" else 1.0 - done
        return self.final_ratio + (1.0 - self.final_ratio) * decay


class WarmupDecay(LambdaLR):
    """:class:`Decay` as a scheduler of torch; stepped once per epoch.

    Args:
        optimizer: Its learning rate is the peak.
        epochs: Length of the whole schedule; the same number as ``trainer.max_epochs``.
        warmup_epochs: See :class:`Decay`.
        final_ratio: See :class:`Decay`.
        shape: See :class:`Decay`.

    Raises:
        ConfigError: If the numbers do not fit together.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        epochs: int,
        warmup_epochs: int = 0,
        final_ratio: float = 0.0,
        shape: Literal["cosine", "linear"] = "cosine",
    ) -> None:
        if epochs < 1 or not 0 <= warmup_epochs < epochs or not 0.0 <= final_ratio <= 1.0:
            raise ConfigError(
                f"scheduler: epochs={epochs}, warmup_epochs={warmup_epochs}, final_ratio={final_ratio}; "
                "need 0 <= warmup_epochs < epochs and 0 <= final_ratio <= 1"
            )
        decay = Decay(warmup_epochs, final_ratio, shape)
        super().__init__(optimizer, lambda epoch: decay.factor(epoch, epochs))
