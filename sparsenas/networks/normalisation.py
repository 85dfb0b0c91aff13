"""Batch-norm of a cell: options, an output scale, modes for its statistics, and their recalibration."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Parameter-free operations that get a batch-norm appended.
AppendedNorm = Literal["none", "pools", "pools_and_skips"]
#: Share of its start, mean 0 and variance 1, below which a running average has forgotten it. Variances of activations
#: of young networks go down to a thousandth; this is a hundredth of that.
FORGOTTEN = 1e-5


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


def _tracking(network: nn.Module) -> list[nn.BatchNorm2d]:
    """Return the batch-norms of a network that keep running statistics."""
    return [m for m in network.modules() if isinstance(m, nn.BatchNorm2d) and m.num_batches_tracked is not None]


def horizon(norm: nn.BatchNorm2d) -> float:
    """Compute the batches after which running statistics have forgotten their start: 110 for momentum 0.1.

    Without momentum, statistics are the mean of all batches and never forget the first weights: the horizon is
    infinite. With momentum 0 they never move, which somebody wanted: it is 0.
    """
    if norm.momentum is None:
        return math.inf
    if norm.momentum in (0.0, 1.0):  # where the formula has no value: never moved, and forgotten with the first batch
        return norm.momentum
    return math.ceil(math.log(FORGOTTEN) / math.log1p(-norm.momentum))


def young_norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    """Return the batch-norms whose running statistics are younger than their horizon.

    The age of running statistics is the number of batches they have taken up since they began at mean 0 and variance 1.
    Those that have taken up none are left out: nothing trains them. This waits for the device.
    """
    norms = _tracking(network)
    if not norms:
        return []
    ages = torch.stack([norm.num_batches_tracked for norm in norms if norm.num_batches_tracked is not None]).tolist()
    return [norm for norm, age in zip(norms, ages, strict=True) if 0 < age < horizon(norm)]


def forget_statistics(network: nn.Module) -> None:
    """Let all running statistics begin anew, at age 0."""
    for norm in _tracking(network):
        norm.reset_running_stats()


def share_statistics(network: nn.Module, first: bool, reduce: Callable[..., Tensor]) -> None:
    """Give every process the running statistics of the first one.

    Args:
        network: The network.
        first: True in the first process.
        reduce: Reduces a tensor over all processes, which all call this, by ``reduce_op="sum"``.
    """
    statistics = [x for norm in _tracking(network) for x in (norm.running_mean, norm.running_var) if x is not None]
    if statistics:
        mine = torch.cat(statistics)
        theirs = reduce(mine if first else torch.zeros_like(mine), reduce_op="sum")
        for kept, values in zip(statistics, torch.split(theirs, [len(x) for x in statistics]), strict=True):
            kept.copy_(values)


class _Moments:
    """Number, mean and squared deviations of the inputs of a batch-norm, per channel, over all batches it meets.

    Source: Chan et al., Algorithms for Computing the Sample Variance (1983); sums of squares would cancel.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        like = norm.running_mean
        assert like is not None  # for type checkers: the batch-norm keeps statistics
        self.count = 0
        self.mean = torch.zeros_like(like, dtype=torch.promote_types(like.dtype, torch.float32))
        self.squares = self.mean.clone()

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Take up the input of a batch-norm that is about to run, shape ``(B, C, H, W)``."""
        x = inputs[0].to(self.mean.dtype)
        count = x.numel() // x.shape[1]
        mean = x.mean(dim=(0, 2, 3))
        squares = (x - mean[:, None, None]).square().sum(dim=(0, 2, 3))  # torch.var_mean takes five times as long
        step, total = mean - self.mean, self.count + count
        self.mean += step * (count / total)
        self.squares += squares + step.square() * (self.count * count / total)
        self.count = total


@torch.no_grad()
def recalibrate(
    network: nn.Module,
    norms: Sequence[nn.BatchNorm2d],
    batches: Iterable[Tensor],
    forward: Callable[[Tensor], object],
    add_up: Callable[[Tensor], Tensor],
) -> None:
    r"""Replace running statistics by the mean and the variance of all that batch-norms meet in some batches.

    .. math::
        \mu = \frac{1}{N} \sum_i n_i \mu_i, \qquad
        \sigma^2 = \frac{1}{N - 1} \sum_i n_i \bigl(\sigma_i^2 + (\mu_i - \mu)^2\bigr)

    over batches :math:`i` with :math:`n_i` values per channel, :math:`N` together: mean and variance of all values, by
    which evaluation divides them. The mean of the variances of batches, which running averages estimate, lacks what the
    means of batches differ by. Batch-norms divide by statistics of the batch meanwhile; apart from that the network is
    in evaluation mode, so nothing is drawn. Weights, modes and the ages of statistics stay as they are.

    Args:
        network: The network.
        norms: Those of its batch-norms whose statistics are replaced, except where no batch meets them.
        batches: Images ``(B, C, H, W)`` as the network sees them.
        forward: Runs the network on a batch.
        add_up: Adds up a tensor over all processes; each then gets the statistics of all images together.

    Source: PreciseBN of Wu and Johnson, Rethinking "Batch" in BatchNorm (2021), with the variance of its appendix.
    """
    moments = [_Moments(norm) for norm in norms]
    hooks = [norm.register_forward_pre_hook(moment) for norm, moment in zip(norms, moments, strict=True)]
    modes = [(module, module.training) for module in network.modules()]
    try:
        network.eval()
        with batch_statistics(network):
            for images in batches:
                forward(images)
    finally:
        for module, mode in modes:
            module.training = mode
        for hook in hooks:
            hook.remove()
    counts = torch.cat([torch.full_like(moment.mean, moment.count) for moment in moments])
    means, squares = (torch.cat([getattr(moment, name) for moment in moments]) for name in ("mean", "squares"))
    totals, sums = add_up(torch.stack([counts, counts * means]))
    common = sums / totals.clamp(min=1)
    variances = add_up(squares + counts * (means - common).square()) / (totals - 1).clamp(min=1)
    sizes = [norm.num_features for norm in norms]
    for norm, total, mean, variance in zip(norms, *(t.split(sizes) for t in (totals, common, variances)), strict=True):
        if norm.running_mean is not None and norm.running_var is not None:
            norm.running_mean.copy_(torch.where(total > 0, mean, norm.running_mean))
            norm.running_var.copy_(torch.where(total > 0, variance, norm.running_var))
