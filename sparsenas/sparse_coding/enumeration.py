"""Feasible supports of a block, and the subspaces that their columns span."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsenas.errors import RecoveryError
from sparsenas.sparse_coding.constraints import Constraints

#: Most supports that are enumerated per block: 5e4 (four of 35 candidates, m = 8) take about 50 MB of bases.
MAX_SUPPORTS = 100_000


def feasible_supports(size: int, sparsity: int, constraints: Constraints, block: int) -> NDArray[np.int64]:
    """Enumerate the supports of one block that its own rules allow (most per group, forbidden candidates).

    Returns:
        Supports in lexicographic order, shape ``(P, s)``, indices ascending.

    Raises:
        RecoveryError: If there are more than ``MAX_SUPPORTS``.
    """
    allowed = constraints.allowed(block, size)
    _, groups = np.unique(constraints.groups_of(block, size), return_inverse=True)
    most = constraints.max_per_group if constraints.max_per_group is not None else sparsity
    supports = np.empty((1, 0), dtype=np.int64)
    for missing in reversed(range(sparsity)):
        grown: list[NDArray[np.int64]] = []
        for candidate in allowed[: len(allowed) - missing]:
            kept = supports[(supports < candidate).all(1)]
            kept = kept[(groups[kept] == groups[candidate]).sum(1) < most]
            grown.append(np.column_stack([kept, np.full(len(kept), candidate)]))
        if sum(map(len, grown)) > MAX_SUPPORTS:
            raise RecoveryError(
                f"block {block}: more than {MAX_SUPPORTS:,} supports of {sparsity} out of {size} candidates; "
                "use LarsSolver without constraints (it enumerates nothing), fewer candidates or tighter limits"
            )
        supports = np.concatenate(grown)
    return supports[np.lexsort(supports.T[::-1])]


def subspaces(columns: Tensor) -> tuple[Tensor, Tensor]:
    r"""Compute an orthonormal basis and the pseudo-inverse of stacks of columns, also of dependent ones.

    Singular values below ``max(m, s) * eps`` of the largest count as zero, and so do their basis vectors. So
    :math:`\|Q^\top b\|^2` is the energy of ``b`` in the span for any dimension of the span.

    Args:
        columns: ``A_S``, shape ``(..., m, s)``, float64.

    Returns:
        Basis ``Q`` of shape ``(..., m, min(m, s))`` and pseudo-inverse of shape ``(..., s, m)``.
    """
    left, values, right = torch.linalg.svd(columns, full_matrices=False)
    threshold = values[..., :1] * (max(columns.shape[-2:]) * torch.finfo(columns.dtype).eps)
    nonzero = values > threshold
    basis = left * nonzero[..., None, :]
    inverse = torch.where(nonzero, 1 / torch.where(nonzero, values, 1.0), 0.0)
    return basis, (right.mT * inverse[..., None, :]) @ left.mT
