"""Jacobian covariance."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sparsenas.networks import DerivedNet, batch_statistics
from sparsenas.zero_cost.base import ZeroCostScore


@dataclass(frozen=True)
class JacobianCovariance(ZeroCostScore):
    r"""How differently an untrained network reacts to different images.

    Let row :math:`i` of :math:`J` be the gradient of the sum of logits with respect to image :math:`i`, and :math:`v`
    the eigenvalues of the correlation matrix of the rows:

    .. math:: -\sum_i \log(v_i + k) + \frac{1}{v_i + k}

    It is largest, about :math:`-B`, where no two rows are correlated. A property of paths, not a sum over edges.

    Attributes:
        k: Keeps the score finite where rows depend on each other.

    Source: first version of Mellor et al., Neural Architecture Search without Training (2020, arXiv:2006.04647v1).

    Differs: batch statistics tie the images of a batch together; as in its code, the gradient is that of the sum over
    the batch.
    """

    k: float = 1e-5

    def __call__(self, network: DerivedNet, images: Tensor) -> float:
        """See :class:`ZeroCostScore`."""
        images = images.detach().requires_grad_()
        with batch_statistics(network):
            (gradient,) = torch.autograd.grad(network(images).sum(), images)
        return correlation_score(gradient.flatten(1), self.k)


def correlation_score(rows: Tensor, k: float) -> float:
    """The score of rows, shape ``(B, D)``; ``-inf`` if one of them is constant."""
    rows = rows.double()
    centred = rows - rows.mean(1, keepdim=True)
    norms = centred.norm(dim=1, keepdim=True)
    # by the size of the row: what is left of a constant one after centring is rounding
    if not bool((norms > 1e-9 * rows.norm(dim=1, keepdim=True)).all()):
        return float("-inf")
    unit = centred / norms
    values = torch.linalg.eigvalsh(unit @ unit.T).clamp_min(0) + k
    return -float((values.log() + 1 / values).sum())
