"""Loss of a batch against the batches before it."""

import torch
from torch import Tensor, nn


class LossAdvantage(nn.Module):
    r"""Loss of a batch against those before, in standard deviations: :math:`(L - \bar L) / \sigma`.

    Mean and deviation are exponential averages over the batches before; they are buffers, so a resume keeps them.

    Args:
        memory: Weight of the past in the averages; the window is about ``1 / (1 - memory)`` batches.
    """

    mean: Tensor
    variance: Tensor
    weight: Tensor

    def __init__(self, memory: float = 0.95) -> None:
        super().__init__()
        self.memory = memory
        for name in ("mean", "variance", "weight"):
            self.register_buffer(name, torch.zeros(()))

    @torch.no_grad()
    def forward(self, loss: Tensor) -> Tensor:
        """Advantage of a loss, 0-d; 0 while there is nothing to compare it with. Then takes it into the averages.

        A loss that is not finite tells nothing: its advantage is 0, and the averages stay.
        """
        finite = loss.isfinite()
        # averages that start at 0 are divided by the weight seen so far (the bias correction of Adam)
        seen = self.weight.clamp_min(torch.finfo(self.weight.dtype).tiny)
        difference = torch.where((self.weight > 0) & finite, loss.float() - self.mean / seen, 0.0)
        deviation = (self.variance / seen).sqrt()
        advantage = torch.where(deviation > 0, difference / deviation.clamp_min(1e-12), 0.0)
        for average, value in ((self.mean, loss.float()), (self.variance, difference.square()), (self.weight, 1.0)):
            average.copy_(torch.where(finite, average * self.memory + (1.0 - self.memory) * value, average))
        return advantage.clamp(-3.0, 3.0)  # one odd batch must not decide
