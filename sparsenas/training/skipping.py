"""Steps on weights that are left out, because their gradients are not numbers."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsenas.training.weights import WeightTraining


def logged(training: WeightTraining) -> tuple[str, ...]:
    """Name the metrics of training that every fit logs."""
    skipped = ("train/skipped_steps",) if training.on_nonfinite == "skip" else ()
    return ("train/loss", "train/acc", *skipped)


class SkippedSteps:
    """Leaves out steps whose gradients are not all finite, if ``training.on_nonfinite`` says so, and counts them.

    Such a step changes neither weights nor momentum, and decays nothing: its gradients are dropped, and optimizers pass
    over weights without one. Running statistics are put back to what they were before the batches of the step.

    This waits for the device in every step, and copies the running statistics. It does nothing otherwise.

    Args:
        training: Options of the training.

    Attributes:
        taken: Steps of this epoch that were taken.
        skipped: Steps of this epoch that were left out.
    """

    def __init__(self, training: WeightTraining) -> None:
        self.active = training.on_nonfinite == "skip"
        self.taken = self.skipped = 0
        self._statistics: list[tuple[Tensor, Tensor]] | None = None

    @property
    def counts(self) -> tuple[int, int]:
        """Steps of this epoch that were taken, and that were left out; a run within the epoch goes on from them."""
        return self.taken, self.skipped

    @counts.setter
    def counts(self, counts: tuple[int, int]) -> None:
        self.taken, self.skipped = counts

    def begin_epoch(self) -> None:
        """Count anew."""
        self.taken = self.skipped = 0
        self._statistics = None

    def keep(self, network: nn.Module) -> None:
        """Keep the running statistics before a batch; those before the first one, if several add up to a step."""
        if self.active and self._statistics is None:
            self._statistics = [(buffer, buffer.clone()) for buffer in network.buffers()]

    @torch.no_grad()
    def check(self, optimizer: Optimizer) -> bool:
        """Say if a step is to be taken; if not, drop its gradients and put the running statistics back."""
        if not self.active:
            return True
        gradients = [gradient for gradient in _gradients(optimizer) if gradient.numel()]
        finite = not gradients or bool(torch.nn.utils.get_total_norm(gradients, torch.inf).isfinite())
        if finite:
            self.taken += 1
        else:
            self.skipped += 1
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.grad = None
            for buffer, before in self._statistics or ():
                buffer.copy_(before)
        self._statistics = None
        return finite

    def found(self) -> tuple[str, ...]:
        """Say that all steps of this epoch were left out; empty if they were not."""
        return (f"all {self.skipped} steps were left out",) if self.skipped and not self.taken else ()


def _gradients(optimizer: Optimizer) -> Iterator[Tensor]:
    for group in optimizer.param_groups:
        yield from (parameter.grad for parameter in group["params"] if parameter.grad is not None)
