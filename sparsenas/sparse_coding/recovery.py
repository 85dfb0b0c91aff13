"""The result of a solver, and the base of all solvers."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from sparsenas.sparse_coding.functions import refit
from sparsenas.sparse_coding.problem import RecoveryProblem

#: Unit of ``Certificate.optimality``.
Kind = Literal["exact", "kkt", "duality_gap"]


@dataclass(frozen=True, eq=False)
class Certificate:
    r"""Quality of a recovery; one number per block, shapes ``(B,)``.

    Attributes:
        residual: :math:`\|A z_S - b\| / \|b\|` of the returned code; 0 where ``b`` is 0.
        optimality: Distance of the solver from the optimum of its own problem: 0 (``"exact"``); the largest violation
            of the optimality conditions relative to :math:`\|A^\top b\|_\infty` (``"kkt"``); the duality gap relative
            to the objective (``"duality_gap"``).
        kind: Unit of ``optimality``, one of these three.
        nonzeros: Non-zero entries of the code before truncation, int64.
        l1_share: Share of the absolute sum of the code before truncation that lies on the support; 1 where it is 0.
        iterations: Iterations or path steps, int64; 0 for closed forms.
    """

    residual: Tensor
    optimality: Tensor
    kind: Kind
    nonzeros: Tensor
    l1_share: Tensor
    iterations: Tensor


@dataclass(frozen=True, eq=False)
class Recovery:
    """A sparse code for every block.

    Attributes:
        code: ``z``, shape ``(B, n_max)``, float64, zero outside the support.
        support: ``S``, shape ``(B, s)``, int64, ascending.
        certificate: Quality of the code.
        dense_code: The code before truncation to the support, shape ``(B, n_max)``; ``code`` itself for exact solvers.
    """

    code: Tensor
    support: Tensor
    certificate: Certificate
    dense_code: Tensor

    @cached_property
    def indices(self) -> tuple[tuple[int, ...], ...]:
        """Support as integers on the host, one ascending tuple per block."""
        return tuple(tuple(row) for row in self.support.tolist())


class Solver(ABC):
    """Base of the solvers; immutable, without state."""

    @abstractmethod
    def solve(self, problem: RecoveryProblem, b: Tensor, start: Tensor | None = None) -> Recovery:
        """Recover the code of every block.

        Args:
            problem: Dictionary, sparsity and rules.
            b: Compressed parameters, shape ``(B, m)``, any floating type and device; no gradient flows.
            start: Dense codes to start from, shape ``(B, n_max)``; solvers that need no start do not read it.

        Returns:
            Codes on the dictionary's device, the same for the same arguments.

        Raises:
            RecoveryError: If a shape is wrong, ``b`` is not finite, or the rules need too many supports.
        """


def truncate(problem: RecoveryProblem, dense: Tensor) -> Tensor:
    r"""Find the feasible support with the largest absolute sum of a dense code.

    Without constraints these are the ``s`` largest entries, and nothing is enumerated. With them it is the best
    enumerated support. With caps or limits the selection has the largest sum over blocks of :math:`\|z_S\|_1 /
    \|z\|_1`.

    Args:
        problem: Sparsity and rules.
        dense: Codes, shape ``(B, n_max)``, zero in the padding.

    Returns:
        Support, shape ``(B, s)``, int64, ascending; among equals the lower indices.
    """
    magnitude = dense.abs()
    if problem.constraints.trivial:
        # A stable sort, because topk may break ties differently from run to run.
        ranked = magnitude.masked_fill(~problem.mask, -1.0).sort(dim=1, descending=True, stable=True).indices
        return ranked[:, : problem.sparsity].sort(dim=1).values
    supports = problem.supports
    share = magnitude / magnitude.sum(1, keepdim=True).clamp_min(torch.finfo(dense.dtype).tiny)
    mass = share.gather(1, supports.flatten(1)).view(supports.shape).sum(2) * problem.feasible
    chosen = torch.from_numpy(problem.select(mass.cpu().numpy())).to(supports.device)
    return supports[torch.arange(problem.blocks, device=supports.device), chosen]


def relative_residual(problem: RecoveryProblem, code: Tensor, b: Tensor) -> Tensor:
    r"""Compute :math:`\|A z - b\| / \|b\|` per block, shape ``(B,)``; 0 where ``b`` is 0 (its code is 0 as well)."""
    difference = torch.baddbmm(b[:, :, None], problem.dictionary, code[:, :, None], beta=-1)[:, :, 0]
    norm = torch.linalg.vector_norm(b, dim=1)
    residual: Tensor = torch.linalg.vector_norm(difference, dim=1) / norm.clamp_min(torch.finfo(b.dtype).tiny)
    return residual


def from_dense(
    problem: RecoveryProblem,
    b: Tensor,
    dense: Tensor,
    *,
    optimality: Tensor,
    kind: Kind,
    iterations: Tensor,
    refitted: bool,
) -> Recovery:
    """Truncate the LASSO codes ``dense``, shape ``(B, n_max)``, and certify them; ``b`` is checked.

    ``refitted`` replaces the truncated code by the least-squares fit on its support.
    """
    support = truncate(problem, dense)
    kept = dense.gather(1, support)
    code = refit(problem.dictionary, b, support) if refitted else torch.zeros_like(dense).scatter(1, support, kept)
    total = dense.abs().sum(1)
    certificate = Certificate(
        residual=relative_residual(problem, code, b),
        optimality=optimality,
        kind=kind,
        nonzeros=dense.count_nonzero(dim=1),
        l1_share=torch.where(total > 0, kept.abs().sum(1) / torch.where(total > 0, total, 1.0), 1.0),
        iterations=iterations,
    )
    return Recovery(code, support, certificate, dense)
