"""Batch-norm of a cell: options, an output scale, and modes for its statistics."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

#: Parameter-free operations that get a batch-norm appended.
AppendedNorm = Literal["none", "pools", "pools_and_skips"]


@dataclass(frozen=True)
class NormOptions:
    """Behaviour of every batch-norm inside the cells.

    Attributes:
        affine: Learn gamma and beta. Off in search: they and the architecture weights are not identifiable together.
        track: Keep running statistics and use them in evaluation. Off in search: an operation that re-enters the
            support would bring stale statistics. Without it, evaluation uses batch statistics too.
        append: Parameter-free operations that end in a batch-norm of their own. DARTS appends it to pools while
            searching and to none when training; one-stage ISTA-NAS appends it to pools and skips.
    """

    affine: bool = True
    track: bool = True
    append: AppendedNorm = "none"

    def layer(self, channels: int) -> "ScaledBatchNorm":
        """Make a batch-norm over ``channels``."""
        return ScaledBatchNorm(channels, affine=self.affine, track_running_stats=self.track)


class ScaledBatchNorm(nn.BatchNorm2d):
    """Batch-norm with an output scale that costs no pass over the activations.

    ``scale * (gamma * xhat + beta)`` is batch-norm with ``scale * gamma`` and ``scale * beta``. By the same identity
    architecture weights are folded into a trained network.
    """

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        """Normalise ``x``, shape ``(B, C, H, W)``; multiply by ``scale``, a 0-d tensor."""
        if scale is None:
            return super().forward(x)
        # copied: torch's channels-last CPU kernels read the weight as contiguous, past the end of an expanded scalar
        weight = scale.expand(self.num_features).contiguous() if self.weight is None else scale * self.weight
        bias = None if self.bias is None else scale * self.bias
        average_factor = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                average_factor = 1.0 / float(self.num_batches_tracked)
        use_running = self.track_running_stats or not self.training  # the rule of nn.BatchNorm2d
        return functional.batch_norm(
            x,
            self.running_mean if use_running else None,
            self.running_var if use_running else None,
            weight,
            bias,
            training=self.training or self.running_mean is None,
            momentum=average_factor,
            eps=self.eps,
        )


@contextmanager
def frozen_statistics(network: nn.Module) -> Iterator[None]:
    """Make training-mode forwards inside use batch statistics and leave running statistics as they are."""
    tracked = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d) and m.track_running_stats]
    for module in tracked:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module in tracked:
            module.track_running_stats = True


@contextmanager
def batch_statistics(network: nn.Module) -> Iterator[None]:
    """Make all batch-norms inside use batch statistics in evaluation too, and leave running statistics as they are.

    It serves networks whose running statistics were gathered under other supports.
    """
    modes = [(module, module.training) for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    with frozen_statistics(network):
        try:
            for module, _ in modes:
                module.training = True
            yield
        finally:
            for module, mode in modes:
                module.training = mode
