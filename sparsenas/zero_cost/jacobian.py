"""Jacobian covariance."""

import copy
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sparsenas.errors import ConfigError
from sparsenas.networks import DerivedNet, batch_statistics
from sparsenas.zero_cost.base import ZeroCostScore, without_norms


@dataclass(frozen=True)
class JacobianCovariance(ZeroCostScore):
    r"""Difference of the reactions of an untrained network to different images.

    Row :math:`i` of :math:`J` is the gradient of the sum of logits by image :math:`i`. With :math:`v` the
    eigenvalues of the correlation matrix of the rows, the score is

    .. math:: -\sum_i \left[ \log(v_i + k) + \frac{1}{v_i + k} \right]

    It is largest, about :math:`-B`, where no two rows are correlated. It is a property of paths, not a sum over edges.

    Attributes:
        norms: ``none`` leaves batch-norms out; ``batch`` uses the statistics of the batch, which tie its images
            together. ``auto`` uses them where the gradient does not vanish.
        k: Keeps the score finite where rows depend on each other.

    Raises:
        ConfigError: For ``norms="batch"`` on a network with nothing between its last cell and the pooling. The output
            of a batch-norm has one sum over the batch for any images. Where one ends every path to the logits, as in
            the DARTS space, the gradient is zero up to rounding.

    Source: first version of Mellor et al., Neural Architecture Search without Training (2020, arXiv:2006.04647v1),
    whose code runs untrained networks in evaluation mode, where their batch-norms do nothing.

    Differs: the logits of all classes are summed; in that code there is one class.
    """

    norms: Literal["none", "batch", "auto"] = "none"
    k: float = 1e-5

    def __call__(self, network: DerivedNet, images: Tensor, labels: Tensor | None = None) -> float:
        """See :class:`ZeroCostScore`."""
        images = images.detach().requires_grad_()
        if self.norms == "none" or (self.norms == "auto" and network.neck is None):
            logits = without_norms(copy.deepcopy(network).eval())(images)
        elif network.neck is None:
            raise ConfigError(
                "norms is 'batch', but batch-norms end all paths of this network, so that the gradient is zero: use "
                "'none'"
            )
        else:
            with batch_statistics(network):
                logits = network(images)
        (gradient,) = torch.autograd.grad(logits.sum(), images)
        return correlation_score(gradient.flatten(1), self.k)


def correlation_score(rows: Tensor, k: float) -> float:
    """Score rows of shape ``(B, D)``; ``-inf`` if one of them is constant."""
    rows = rows.double()
    centred = rows - rows.mean(1, keepdim=True)
    norms = centred.norm(dim=1, keepdim=True)
    # relative to the row: centring leaves only rounding of a constant one
    if not bool((norms > 1e-9 * rows.norm(dim=1, keepdim=True)).all()):
        return float("-inf")
    unit = centred / norms
    values = torch.linalg.eigvalsh(unit @ unit.T).clamp_min(0) + k
    return -float((values.log() + 1 / values).sum())
