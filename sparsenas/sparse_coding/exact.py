"""Best support of a given size by enumeration, in closed form."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sparsenas.sparse_coding.problem import RecoveryProblem
from sparsenas.sparse_coding.recovery import Certificate, Recovery, Solver, pick, relative_residual


@dataclass(frozen=True)
class ExactSolver(Solver):
    r"""The best code with exactly ``s`` kept candidates, under any constraints.

    .. math:: \min_{S \text{ feasible}} \min_{z_S} \|A_S z_S - b\|^2
              = \|b\|^2 - \max_{S \text{ feasible}} \|Q_S^\top b\|^2

    with an orthonormal basis ``Q_S`` of the columns on ``S``. Bases and pseudo-inverses of all feasible supports belong
    to the problem; a recovery is one product with all bases, one argmax, and one product with the pseudo-inverse of the
    winner, so the code is the least-squares fit and architecture weights equal it.

    With caps or budgets the sum over blocks of the *relative* explained energy :math:`\|Q_S^\top b\|^2 / \|b\|^2` is
    maximised, so that a block does not lose its say because its ``b`` is short.

    Supports that explain equally much are taken in lexicographic order, first one wins. No ``start`` is needed.

    Attributes:
        nonnegative: Keep only candidates with positive weights. Weights of either sign explain ``b`` equally well, so
            a candidate whose increase *raises* the loss most is otherwise kept with a negative weight. A block of which
            no feasible support has a positive code keeps the best one regardless of sign; with caps or budgets as few
            blocks as possible are left to that, before energies are compared.

    Differs: ISTA-NAS (Yang et al., NeurIPS 2020) solves a LASSO and keeps the ``s`` largest entries, which finds the
    right support of an exact 2-sparse code in 60 to 87 % of cases only, and leaves a code that does not fit ``b``.
    """

    nonnegative: bool = False

    def solve(self, problem: RecoveryProblem, b: Tensor, start: Tensor | None = None) -> Recovery:
        """Recover the code of every block; see :meth:`Solver.solve`."""
        del start  # part of the protocol; a closed form needs none
        b = problem.check_target(b)
        basis = problem.basis
        projected = torch.bmm(b[:, None, :], basis.flatten(2)).view(problem.blocks, *basis.shape[2:])
        energy = projected.square_().sum(1)
        if problem.constraints.joint or self.nonnegative:
            energy /= b.square().sum(1, keepdim=True).clamp_min(torch.finfo(b.dtype).tiny)
        if self.nonnegative:
            energy[_positive(problem, b)] += problem.blocks + 1  # more than all relative energies together
        best = problem.select(energy)
        support = pick(problem.supports, best)
        fitted = torch.bmm(pick(problem.pseudo_inverse, best), b[:, :, None])[:, :, 0]
        code = b.new_zeros(problem.mask.shape).scatter_(1, support, fitted)
        nothing = torch.zeros_like(best)
        certificate = Certificate(
            residual=relative_residual(problem, code, b),
            optimality=nothing.to(b.dtype),
            kind="exact",
            nonzeros=code.count_nonzero(dim=1),
            l1_share=torch.ones_like(b[:, 0]),
            iterations=nothing,
        )
        return Recovery(code, support, certificate, code)


def _positive(problem: RecoveryProblem, b: Tensor) -> Tensor:
    """Feasible supports whose least-squares code is positive on every kept candidate, shape ``(B, P)``."""
    inverse = problem.pseudo_inverse
    codes = torch.bmm(inverse.flatten(1, 2), b[:, :, None]).view(inverse.shape[:3])
    return (codes.amin(2) > 0) & problem.feasible
