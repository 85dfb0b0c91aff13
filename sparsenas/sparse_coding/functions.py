"""Functions of codes and supports that training calls between recoveries."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sparsenas.errors import RecoveryError
from sparsenas.sparse_coding.enumeration import subspaces


def architecture_weights(b: Tensor, dictionary: Tensor, code: Tensor, support: Tensor) -> Tensor:
    r"""Compute the architecture weights as a differentiable function of the compressed parameter.

    .. math:: w(b) = z_S + A_S^\top (b - A_S z_S)

    It equals :math:`b^\top A_S - z_S^\top E_S` with :math:`E = A^\top A - I`, and is ``z_S`` itself for a least-squares
    fit of ``b``. The function computes in float64 whatever the type of ``b``, because ``b - A_S z_S`` cancels. It works
    for one node or for all blocks at once; nothing waits for a device.

    Args:
        b: Compressed parameter, shape ``(m,)`` or ``(B, m)``. Gradients flow to it.
        dictionary: ``A``, shape ``(m, n)`` or ``(B, m, n)``, constant.
        code: ``z``, shape ``(n,)`` or ``(B, n)``, zero outside ``support``; no gradient.
        support: Kept candidate indices, shape ``(s,)`` or ``(B, s)``, int64.

    Returns:
        Weights on the support, shape ``(s,)`` or ``(B, s)``, in its order, in the type of ``b``.

    Raises:
        RecoveryError: If shapes disagree (the message names the block and both shapes).

    Source: Yang et al., ISTA-NAS (NeurIPS 2020). The official code computes the form with ``E``.
    """
    if b.ndim == 1 and dictionary.ndim == 2:
        _check_shapes(b[None], dictionary[None], support[None], code[None])
        return architecture_weights(b[None], dictionary[None], code[None], support[None])[0]
    _check_shapes(b, dictionary, support, code)
    dictionary, code = dictionary.detach(), code.detach()
    columns = _columns(dictionary, support).to(torch.float64)
    kept = code.gather(1, support)[:, :, None].to(torch.float64)
    residual = torch.baddbmm(b.to(torch.float64)[:, :, None], columns, kept, alpha=-1)
    return torch.baddbmm(kept, columns.mT, residual)[:, :, 0].to(b.dtype)


def refit(dictionary: Tensor, b: Tensor, support: Tensor) -> Tensor:
    """Compute the least-squares code on a given support, :math:`z_S = A_S^+ b`, zero elsewhere.

    It is the code of smallest norm where columns of the support are dependent. No gradient flows.

    Args:
        dictionary: ``A``, shape ``(B, m, n)``.
        b: Compressed parameters, shape ``(B, m)``.
        support: Kept candidate indices, shape ``(B, s)``, int64.

    Returns:
        Codes, shape ``(B, n)``, float64.

    Raises:
        RecoveryError: If shapes disagree (the message names the block and both shapes).
    """
    _check_shapes(b, dictionary, support)
    dictionary, b = dictionary.detach().to(torch.float64), b.detach().to(torch.float64)
    _, inverse = subspaces(_columns(dictionary, support))
    code = b.new_zeros(dictionary.shape[0], dictionary.shape[2])
    return code.scatter_(1, support, (inverse @ b[:, :, None])[:, :, 0])


def support_churn(old: Sequence[Sequence[int]], new: Sequence[Sequence[int]]) -> float:
    """Compute the share of kept candidates that were replaced, in [0, 1].

    Args:
        old: Kept candidate indices per block, in any order.
        new: The same number of indices for the same blocks.

    Raises:
        RecoveryError: If the supports do not have the same blocks.
    """
    if [len(block) for block in old] != [len(block) for block in new]:
        raise RecoveryError(
            f"supports keep {[len(block) for block in old]} and {[len(block) for block in new]} candidates per block; "
            "churn compares supports of the same blocks"
        )
    kept = sum(len(block) for block in new)
    replaced = sum(len(set(after) - set(before)) for before, after in zip(old, new, strict=True))
    return replaced / kept if kept else 0.0


def _columns(dictionary: Tensor, support: Tensor) -> Tensor:
    """Gather the columns of every block on its support, shape ``(B, m, s)``."""
    return dictionary.gather(2, support[:, None, :].expand(-1, dictionary.shape[1], -1))


def _check_shapes(b: Tensor, dictionary: Tensor, support: Tensor, code: Tensor | None = None) -> None:
    """Compare shapes only: values would have to be fetched from the device."""
    if dictionary.ndim != 3:
        raise RecoveryError(f"dictionary has shape {tuple(dictionary.shape)}; expected (m, n) or (blocks, m, n)")
    blocks, rows, columns = dictionary.shape
    named: list[tuple[str, Tensor, int | None]] = [("b", b, rows), ("support", support, None)]
    if code is not None:
        named.append(("code", code, columns))
    for name, tensor, width in named:
        fits = tensor.ndim == 2 and tensor.shape[0] == blocks and (width is None or tensor.shape[1] == width)
        if not fits:
            block = min(tensor.shape[0], blocks - 1) if tensor.ndim == 2 and tensor.shape[0] != blocks else 0
            raise RecoveryError(
                f"block {block}: {name} has shape {tuple(tensor.shape)}, the dictionary {tuple(dictionary.shape)}; "
                f"expected {name} of shape ({blocks}, {'s' if width is None else width})"
            )
