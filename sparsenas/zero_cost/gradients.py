"""Scores by the gradient of the loss: its norm, SNIP, GraSP, Fisher."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparsenas.classification import log_loss
from sparsenas.errors import ConfigError
from sparsenas.networks import DerivedNet, batch_statistics
from sparsenas.zero_cost.base import ZeroCostScore


class LossScore(ZeroCostScore):
    """Base of the scores that differentiate the mean cross-entropy, by the weights of convolutions and linear layers.

    Batch-norms use batch statistics. Biases, batch-norms, and layers that the logits do not depend on, count for
    nothing.
    """

    @torch.enable_grad()
    def __call__(self, network: DerivedNet, images: Tensor, labels: Tensor | None = None) -> float:
        """See :class:`ZeroCostScore`."""
        if labels is None:
            raise ConfigError(f"{type(self).__name__} needs the labels of the images: give them as third argument")
        layers = [module for module in network.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
        outputs: dict[nn.Module, Tensor] = {}

        def keep(layer: nn.Module, inputs: Any, output: Tensor) -> Tensor:
            outputs[layer] = output
            return output.clone()  # a rectifier behind it may write in place

        hooks = [layer.register_forward_hook(keep) for layer in layers]
        try:
            with batch_statistics(network):
                logits = network(images)
        finally:
            for hook in hooks:
                hook.remove()
        if bool((logits == logits[:1]).all()):
            return float("-inf")
        loss = log_loss(logits, labels).mean()
        ran = [layer for layer in layers if layer in outputs]
        terms = self._terms(loss, [layer.weight for layer in ran], [outputs[layer] for layer in ran])
        return float(torch.stack(terms).sum())

    @abstractmethod
    def _terms(self, loss: Tensor, weights: Sequence[Tensor], outputs: Sequence[Tensor]) -> list[Tensor]:
        """Compute the terms of the score, 0-d and in double precision.

        Args:
            loss: Loss of the batch, 0-d.
            weights: Weight of each layer that ran, shape ``(D, ...)``.
            outputs: Output of each of them, shape ``(B, D)`` or ``(B, D, H, W)``.
        """


@dataclass(frozen=True)
class GradNorm(LossScore):
    r"""Size of the gradient: :math:`\sum_l \lVert \partial L / \partial W_l \rVert_2` over the layers.

    Source: Abdelfattah et al., Zero-Cost Proxies for Lightweight NAS (ICLR 2021).
    """

    def _terms(self, loss: Tensor, weights: Sequence[Tensor], outputs: Sequence[Tensor]) -> list[Tensor]:
        return [gradient.double().norm() for gradient in _gradients(loss, weights)]


@dataclass(frozen=True)
class Snip(LossScore):
    r"""Change of the loss where weights are masked: :math:`\sum_w | w\, \partial L / \partial w |`.

    A factor on a weight before a batch-norm does not change it.

    Source: Lee et al., SNIP: Single-shot Network Pruning (ICLR 2019); as a score, Abdelfattah et al. (ICLR 2021).

    Differs: SNIP divides by the sum, which would be the same for all networks.
    """

    def _terms(self, loss: Tensor, weights: Sequence[Tensor], outputs: Sequence[Tensor]) -> list[Tensor]:
        gradients = _gradients(loss, weights)
        return [(w.detach() * g).double().abs().sum() for w, g in zip(weights, gradients, strict=True)]


@dataclass(frozen=True)
class Grasp(LossScore):
    r"""Gradient flow that the weights hold: :math:`-w^\top H g`, with the gradient :math:`g` and Hessian :math:`H`.

    Source: Wang et al., Picking Winning Tickets Before Training by Preserving Gradient Flow (ICLR 2020); as a score,
    Abdelfattah et al. (ICLR 2021).

    Differs: GraSP divides the logits by a temperature of 200. It is 1 here, as in the code of the second source.
    """

    def _terms(self, loss: Tensor, weights: Sequence[Tensor], outputs: Sequence[Tensor]) -> list[Tensor]:
        gradients = _gradients(loss, weights, differentiable=True)
        flow = torch.stack([(g.detach() * g).sum() for g in gradients]).sum()
        products = _gradients(flow, weights)
        return [-(w.detach() * p).double().sum() for w, p in zip(weights, products, strict=True)]


@dataclass(frozen=True)
class Fisher(LossScore):
    r"""Fisher information of the channels that convolutions and linear layers put out.

    .. math:: \sum_l n_l \sum_c \frac{1}{2B} \sum_i \Big( \sum_p a_{icp}\, \partial L / \partial a_{icp} \Big)^2

    :math:`a_{icp}` is the output of layer :math:`l` for image :math:`i` in channel :math:`c` at position :math:`p`.
    :math:`n_l` is the number of weights of a channel, because each of them gets its channel's information.

    Source: Turner et al., BlockSwap (ICLR 2020); as a score, Abdelfattah et al. (ICLR 2021), and its code.
    """

    def _terms(self, loss: Tensor, weights: Sequence[Tensor], outputs: Sequence[Tensor]) -> list[Tensor]:
        gradients = _gradients(loss, outputs)
        products = [
            (a.detach() * g).double().reshape(*a.shape[:2], -1) for a, g in zip(outputs, gradients, strict=True)
        ]
        return [
            weight[0].numel() * 0.5 * product.sum(2).square().mean(0).sum()
            for weight, product in zip(weights, products, strict=True)
        ]


def _gradients(value: Tensor, sources: Sequence[Tensor], differentiable: bool = False) -> list[Tensor]:
    """Gradients of a value, zeros where it does not depend on a source."""
    return list(
        torch.autograd.grad(
            value, sources, retain_graph=True, create_graph=differentiable, allow_unused=True, materialize_grads=True
        )
    )
