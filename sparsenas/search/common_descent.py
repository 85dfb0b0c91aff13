"""Multiple-gradient descent: the direction that lowers several objectives at once."""

from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor


class CommonDescent(NamedTuple):
    """Weights of several gradients, and their sum.

    Attributes:
        weights: Shape ``(K,)``; none is negative, and they add up to 1 unless all gradients are zero.
        direction: The weighted sum of the gradients, of the shape of each.
    """

    weights: Tensor
    direction: Tensor


def common_descent(gradients: Tensor, normalise: bool = True) -> CommonDescent:
    r"""Find the shortest vector of the convex hull of gradients; a small step against it lowers all objectives.

    .. math:: \min_{c \ge 0,\ \sum_k c_k = 1} \Big\| \sum_k c_k g_k \Big\|^2

    Gradients that are zero are left out: their objectives are satisfied, and would make the shortest vector zero.
    The result has a product with each of the others that is not negative. Nothing waits for the device of one or two
    gradients; more are solved on the CPU.

    Args:
        gradients: Shape ``(K, ...)``; no gradient flows through the result.
        normalise: Divide each by its norm first, as else a long one gets little weight or none. Two of them then always
            weigh one half each.

    Source: Désidéri, Multiple-gradient descent algorithm (2012); Sener and Koltun, Multi-Task Learning as
        Multi-Objective Optimization (NeurIPS 2018).

    Differs: the exact solution by non-negative least squares, not Frank-Wolfe steps.
    """
    rows = gradients.detach().flatten(1).double()
    norms = torch.linalg.vector_norm(rows, dim=1)
    present = norms > 0
    if normalise:
        rows = rows / torch.where(present, norms, 1.0)[:, None]
    gram = rows @ rows.T
    if len(rows) == 1:
        weights = torch.ones_like(norms)
    elif len(rows) == 2:
        weights = _of_two(gram)
    else:
        weights = _of_several(gram.cpu().numpy(), present.cpu().numpy()).to(gram)
    if len(rows) < 3:
        weights = torch.where(present.all(), weights, present.double())  # none, or the one that is not zero
    weights = torch.where(present, weights, 0.0)
    direction = (weights[:, None] * rows).sum(0).reshape(gradients.shape[1:])
    return CommonDescent(weights.to(gradients.dtype), direction.to(gradients.dtype))


def _of_two(gram: Tensor) -> Tensor:
    """Weights of two gradients by their products, shape ``(2,)``."""
    between = gram[0, 0] + gram[1, 1] - 2 * gram[0, 1]  # squared distance; 0 of equal ones, where any weights do
    first = torch.where(between > 0, (gram[1, 1] - gram[0, 1]) / torch.where(between > 0, between, 1.0), 0.5)
    first = first.clamp(0.0, 1.0)
    return torch.stack([first, 1 - first])


def _of_several(gram: np.ndarray, present: np.ndarray) -> Tensor:
    r"""Weights of several gradients by their products, shape ``(K,)``.

    For :math:`u = tc` with :math:`c` in the simplex, :math:`\|Gu\|^2 + (\sum u - 1)^2` is smallest in :math:`t` at
    :math:`\|Gc\|^2 / (1 + \|Gc\|^2)`, which grows with :math:`\|Gc\|`: the non-negative minimum, scaled, is the
    shortest vector.
    """
    weights = np.zeros(len(gram))
    if not present.any():
        return torch.from_numpy(weights)
    part = gram[np.ix_(present, present)]
    if not np.isfinite(part).all():  # a run that has diverged ends by its own check
        return torch.full((len(gram),), torch.nan)
    values, vectors = np.linalg.eigh(part / np.diag(part).max())
    root = np.sqrt(values.clip(min=0))[:, None] * vectors.T
    solution, _ = nnls(np.vstack([root, np.ones(len(part))]), np.append(np.zeros(len(part)), 1.0))
    weights[present] = solution / solution.sum()
    return torch.from_numpy(weights)
