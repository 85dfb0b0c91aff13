"""Size and cost of a network at an input size."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sparsenas.networks.heads import AuxiliaryHead


@dataclass(frozen=True)
class Complexity:
    """What a network costs.

    Attributes:
        parameters: Number of parameters, without the auxiliary head.
        multiply_adds: Multiply-adds of one image; the field's tables call them FLOPs.
        image_shape: ``(C, H, W)`` of that image.
    """

    parameters: int
    multiply_adds: int
    image_shape: tuple[int, int, int]

    def __str__(self) -> str:
        """Text for people, e.g. ``"3.32 M parameters, 0.52 G multiply-adds"``."""
        return f"{_rounded(self.parameters)} parameters, {_rounded(self.multiply_adds)} multiply-adds"


def count_parameters(network: nn.Module, auxiliary: bool = False) -> int:
    """Number of parameters; shared ones count once.

    Args:
        network: Any network.
        auxiliary: Whether to count auxiliary heads. Published counts leave them out, as they only help training.
    """
    heads = [module for module in network.modules() if isinstance(module, AuxiliaryHead)]
    left_out = set() if auxiliary else {parameter for head in heads for parameter in head.parameters()}
    return sum(parameter.numel() for parameter in network.parameters() if parameter not in left_out)


def count_multiply_adds(network: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """Multiply-adds of convolutions and matrix products for one image.

    The network runs once in evaluation mode on a blank image; its modes are restored, so nothing about it changes.

    Args:
        network: Any network; called as ``network(images)``.
        image_shape: ``(C, H, W)``.

    Differs: published counts often add two per element of a batch-norm and one per element into a ReLU or a pool, about
    3 % on ImageNet: ISTA-NAS gives 638 M for its ImageNet network, which has 621 M in convolutions and classifier.
    """
    modes = [(module, module.training) for module in network.modules()]
    parameter = next(network.parameters(), torch.empty(0))
    images = torch.zeros(1, *image_shape, dtype=parameter.dtype, device=parameter.device)
    network.eval()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(images)
    finally:
        for module, mode in modes:
            module.training = mode
    return int(counter.get_total_flops()) // 2  # the counter has two operations per multiply-add


def describe(network: nn.Module, image_shape: tuple[int, int, int]) -> Complexity:
    """Count parameters and multiply-adds.

    Args:
        network: Any network; called as ``network(images)``.
        image_shape: ``(C, H, W)``.
    """
    return Complexity(count_parameters(network), count_multiply_adds(network, image_shape), image_shape)


def _rounded(count: int) -> str:
    """Two decimals and the largest unit of which there is at least a tenth."""
    for unit, name in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= unit / 10:
            return f"{count / unit:.2f} {name}"
    return str(count)
