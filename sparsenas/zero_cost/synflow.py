"""Synaptic flow."""

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsenas.networks import DerivedNet
from sparsenas.zero_cost.base import ZeroCostScore, without_norms


@dataclass(frozen=True)
class SynFlow(ZeroCostScore):
    r"""Flow through an untrained network without batch-norms, all weights positive.

    :math:`\log \sum_w w\, \partial R / \partial w`, where :math:`R` is the sum of the logits of an image of ones. Every
    weight is replaced by its absolute value, every bias by 0. Only the shape of the images is read.

    Source: Tanaka et al., Pruning Neural Networks without any Data by Iteratively Conserving Synaptic Flow (NeurIPS
    2020); as a score, Abdelfattah et al., Zero-Cost Proxies for Lightweight NAS (ICLR 2021). As in their code, it is
    the logarithm in double precision, because the sum grows exponentially with depth.
    """

    def __call__(self, network: DerivedNet, images: Tensor, labels: Tensor | None = None) -> float:
        """See :class:`ZeroCostScore`."""
        positive = without_norms(copy.deepcopy(network).double().eval())
        positive.auxiliary = None
        with torch.no_grad():
            for parameter in positive.parameters():
                if parameter.ndim > 1:
                    parameter.abs_()
                else:
                    parameter.zero_()
        weights = list(positive.parameters())
        flow = positive(torch.ones_like(images[:1], dtype=torch.float64)).sum()
        gradients = torch.autograd.grad(flow, weights, allow_unused=True)
        total = sum(float((w.detach() * g).sum()) for w, g in zip(weights, gradients, strict=True) if g is not None)
        return math.log(total) if total > 0 else float("-inf")
