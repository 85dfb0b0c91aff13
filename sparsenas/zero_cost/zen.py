"""Zen-score."""

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparsenas.errors import ConfigError
from sparsenas.networks import DerivedNet, batch_statistics
from sparsenas.zero_cost.base import ZeroCostScore


@dataclass(frozen=True)
class Zen(ZeroCostScore):
    r"""Expressivity of an untrained network: the move of its features under a small change of a Gaussian image.

    .. math:: \log \mathbb{E}\, \lVert f(x) - f(x + \gamma \epsilon) \rVert_1 + \sum_l \log \bar\sigma_l

    :math:`f` are the features before the last pooling; weights, images and :math:`\epsilon` are Gaussian.
    :math:`\bar\sigma_l^2` is the mean over channels of the variance that batch-norm :math:`l` divides by; the sum
    undoes that division. Only the shape of the images is read.

    Attributes:
        gamma: Size of the change.
        repeats: Draws of weights and images; the score is their mean.
        seed: Seed of the draws.

    Raises:
        ConfigError: If a number is out of range.

    Source: Lin et al., Zen-NAS: A Zero-Shot NAS for High-Performance Image Recognition (ICCV 2021), algorithm 1, and
    its code, which takes the sum of absolute values where the paper has a norm.

    Differs: variances are those of the batch, where the code reads running variances of untrained batch-norms. It is
    applied to cells with shortcuts too.
    """

    gamma: float = 1e-2
    repeats: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.gamma > 0 or self.repeats < 1 or self.seed < 0:
            raise ConfigError(
                f"gamma is {self.gamma}, repeats is {self.repeats}, seed is {self.seed}; the first is positive, the "
                "second at least 1, the third not below 0"
            )

    def __call__(self, network: DerivedNet, images: Tensor, labels: Tensor | None = None) -> float:
        """See :class:`ZeroCostScore`."""
        gaussian = copy.deepcopy(network)
        gaussian.auxiliary = None
        generator = torch.Generator().manual_seed(self.seed)
        return math.fsum(self._once(gaussian, images, generator) for _ in range(self.repeats)) / self.repeats

    @torch.no_grad()
    def _once(self, network: DerivedNet, images: Tensor, generator: torch.Generator) -> float:
        """Score one draw."""
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.weight.copy_(torch.randn(module.weight.shape, generator=generator))
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, nn.BatchNorm2d) and module.affine:
                module.weight.fill_(1.0)
                module.bias.zero_()
        first, change = (torch.randn(images.shape, generator=generator).to(images) for _ in range(2))
        deviations: list[Tensor] = []
        hooks = [
            module.register_forward_pre_hook(
                lambda _, inputs: deviations.append(inputs[0].var(dim=(0, 2, 3)).mean().sqrt())
            )
            for module in network.modules()
            if isinstance(module, nn.BatchNorm2d)
        ]
        with batch_statistics(network):
            features = network.features(first)
            for hook in hooks:
                hook.remove()
            moved = (features - network.features(first + self.gamma * change)).abs().flatten(1).sum(1).mean()
        if not moved > 0:
            return float("-inf")
        divided = [deviation for deviation in deviations if deviation > 0]  # the others got nothing but zeros
        return float(torch.stack([moved, *divided]).double().log().sum())
