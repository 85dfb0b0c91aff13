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
    r"""How differently an untrained network reacts to different images.

    Let row :math:`i` of :math:`J` be the gradient of the sum of logits with respect to image :math:`i`, and :math:`v`
    the eigenvalues of the correlation matrix of the rows:

    .. math:: -\sum_i \left[ \log(v_i + k) + \frac{1}{v_i + k} \right]

    It is largest, about :math:`-B`, where no two rows are correlated. A property of paths, not a sum over edges.

    Attributes:
        norms: Whether batch-norms are left out (``none``), or use the statistics of the batch (``batch``), which tie
            its images together. ``auto`` uses them where the gradient does not vanish.
        k: Keeps the score finite where rows depend on each other.

    Raises:
        ConfigError: When called with ``norms="batch"`` on a network with nothing between its last cell and the pooling.
            What a batch-norm puts out has one sum over the batch, whatever the images; where one ends every path to
            the logits, as in the DARTS space, the gradient is zero and the score one of rounding.

    Source: first version of Mellor et al., Neural Architecture Search without Training (2020, arXiv:2006.04647v1),
        whose code runs untrained networks in evaluation mode, in which their batch-norms do nothing.

    Differs: the logits of all classes are summed; in that code there is one class.
    """

    norms: Literal["none", "batch", "auto"] = "none"
    k: float = 1e-5

    def __call__(self, network: DerivedNet, images: Tensor) -> float:
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
