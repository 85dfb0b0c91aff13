"""Learning-rate schedules that torch does not have in one piece."""

import math
from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from sparsenas.errors import ConfigError


class WarmupDecay(LambdaLR):
    """Linear warm-up over whole epochs, then cosine or linear decay to a last rate; stepped once per epoch.

    Args:
        optimizer: Its learning rate is the peak.
        epochs: Length of the whole schedule; the same number as ``trainer.max_epochs``.
        warmup_epochs: Epochs of warm-up; epoch ``k`` of them runs at ``(k + 1) / warmup_epochs`` of the peak.
        final_ratio: Rate at the end as a share of the peak.
        shape: Shape of the decay.

    Raises:
        ConfigError: If the numbers do not fit together.

    Source: the ImageNet schedule of PC-DARTS and ISTA-NAS is ``warmup_epochs=5, shape="linear"``; the cosine one is
        that of Loshchilov and Hutter, SGDR (ICLR 2017), without restarts.
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

        def factor(epoch: int) -> float:
            if epoch < warmup_epochs:
                return (epoch + 1) / warmup_epochs
            done = min((epoch - warmup_epochs) / (epochs - warmup_epochs), 1.0)
            decay = (1.0 + math.cos(math.pi * done)) / 2.0 if shape == "cosine" else 1.0 - done
            return final_ratio + (1.0 - final_ratio) * decay

        super().__init__(optimizer, factor)
