"""LASSO by proximal gradient steps, all blocks at once: ISTA and FISTA."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsenas.errors import ConfigError, RecoveryError
from sparsenas.sparse_coding.lars import check_penalty
from sparsenas.sparse_coding.problem import RecoveryProblem
from sparsenas.sparse_coding.recovery import Recovery, Solver, from_dense

#: Iterations between two looks at the duality gap: on a GPU reading it waits for the device.
CHECK_EVERY = 10


@dataclass(frozen=True)
class IstaSolver(Solver):
    r"""The LASSO by iterative soft-thresholding, then truncation to the ``s`` largest entries.

    .. math:: z \leftarrow \operatorname{soft}_{\lambda/L}\!\left(z - \tfrac1L A^\top (A z - b)\right)

    with :math:`L` the largest eigenvalue of :math:`A^\top A` of the block. It starts at ``start``, else at zero, and
    stops when the relative duality gap of every block is at most ``tolerance``. The certificate holds the gap and the
    iterations, whether or not it got there. With ``iterations=1`` a recovery is one proximal gradient step.

    Use it with unit-norm dictionaries and large penalties. At :math:`0.05\,\lambda_{max}` one block in ten needs more
    than 10,000 iterations for a gap of 1e-6; :class:`FistaSolver` needs fewer than 3,000 for all. At smaller penalties
    take :class:`LarsSolver`, which is exact.

    Args:
        lam: Weight of the l1 norm (lambda is a keyword in Python).
        relative: Take ``lam`` as a share of :math:`\lambda_{max} = \|A^\top b\|_\infty` of the block.
        iterations: Most iterations.
        tolerance: Relative duality gap at which to stop; 0 runs all iterations.
        refit: Refit the truncated code by least squares.

    Raises:
        ConfigError: If an option is out of range.

    Source: Daubechies et al., An iterative thresholding algorithm (2004); the method that gave ISTA-NAS its name,
    though its official code never runs it.
    """

    lam: float = 0.05
    relative: bool = True
    iterations: int = 10_000
    tolerance: float = 1e-6
    refit: bool = False

    def __post_init__(self) -> None:
        """Check the options."""
        name = type(self).__name__
        check_penalty(name, self.lam)
        if self.iterations < 1:
            raise ConfigError(f"{name}.iterations is {self.iterations}; take at least 1")
        if not self.tolerance >= 0:
            raise ConfigError(f"{name}.tolerance is {self.tolerance}; the relative duality gap is at least 0")

    def solve(self, problem: RecoveryProblem, b: Tensor, start: Tensor | None = None) -> Recovery:
        """Recover the code of every block; see :meth:`Solver.solve`."""
        b = problem.check_target(b)
        lasso = _lasso(problem, b, self.lam, self.relative)
        code = _starting_code(problem, start)
        codes = self._codes(lasso, code)
        gap, taken = lasso.relative_gap(code), 0
        while taken < self.iterations and (taken == 0 or not bool((gap <= self.tolerance).all())):
            for _ in range(min(CHECK_EVERY, self.iterations - taken)):
                code = next(codes)
                taken += 1
            gap = lasso.relative_gap(code)
        return from_dense(
            problem,
            b,
            code[:, :, 0],
            optimality=gap,
            kind="duality_gap",
            iterations=torch.full_like(gap, taken, dtype=torch.int64),
            refitted=self.refit,
        )

    def _codes(self, lasso: "_Lasso", code: Tensor) -> Iterator[Tensor]:
        """Yield the code after every iteration, without end."""
        while True:
            code = lasso.proximal_step(code)
            yield code


@dataclass(frozen=True)
class FistaSolver(IstaSolver):
    r"""The LASSO by accelerated proximal gradient steps, then truncation to the ``s`` largest entries.

    As :class:`IstaSolver`, with the step taken from an extrapolated point. A block forgets its momentum whenever it
    points uphill, :math:`(y - z^+)^\top (z^+ - z) > 0`.

    Args:
        restart: Forget momentum that points uphill; without it this is the textbook method.

    Source: Beck and Teboulle, FISTA (SIAM J. Imaging Sciences 2009); restart by the gradient scheme of O'Donoghue and
    Candes, Adaptive restart for accelerated gradient schemes (2015).
    """

    restart: bool = True

    def _codes(self, lasso: "_Lasso", code: Tensor) -> Iterator[Tensor]:
        """Yield the code after every iteration, without end."""
        extrapolated, momentum = code, torch.ones_like(lasso.lam)
        while True:
            new = lasso.proximal_step(extrapolated)
            grown = 0.5 * (1 + torch.sqrt(1 + 4 * momentum.square()))
            factor = (momentum - 1) / grown
            if self.restart:
                uphill = ((extrapolated - new) * (new - code)).sum(1, keepdim=True) > 0
                factor, grown = factor.masked_fill(uphill, 0.0), grown.masked_fill(uphill, 1.0)
            extrapolated, momentum, code = new + factor * (new - code), grown, new
            yield code


@dataclass(frozen=True, eq=False)
class _Lasso:
    r"""The LASSO of every block; vectors are columns ``(B, m, 1)``, ``(B, n_max, 1)``, numbers ``(B, 1, 1)``.

    A gradient step of length 1/L on the squares is affine, :math:`z \mapsto (I - A^\top A / L) z + A^\top b / L`. Its
    parts ``contraction`` and ``pull`` are kept: an iteration is then three operations, and their number sets its cost.
    ``threshold`` is :math:`\lambda / L`.
    """

    dictionary: Tensor
    target: Tensor
    lam: Tensor
    contraction: Tensor
    pull: Tensor
    threshold: Tensor

    def proximal_step(self, code: Tensor) -> Tensor:
        """Take one gradient step of length 1/L on the squares, then soft-threshold."""
        moved = torch.baddbmm(self.pull, self.contraction, code)
        return moved - moved.clamp(-self.threshold, self.threshold)

    def relative_gap(self, code: Tensor) -> Tensor:
        r"""Compute the duality gap over the objective, shape ``(B,)``; 0 where the objective is 0.

        The dual point is the residual ``r``, shrunk until :math:`\|A^\top \theta\|_\infty \le \lambda`. The gap is
        summed from two non-negative parts, so that the cancellation of the objectives does not hide it:

        .. math:: \tfrac12 \|r - \theta\|^2 + \lambda \|z\|_1 - z^\top A^\top \theta
        """
        residual = torch.baddbmm(self.target, self.dictionary, code, alpha=-1)
        correlation = self.dictionary.mT @ residual
        tiny = torch.finfo(code.dtype).tiny
        shrink = (self.lam / correlation.abs().amax(1, keepdim=True).clamp_min(tiny)).clamp(max=1.0)
        penalty = self.lam * code.abs()
        gap = 0.5 * ((1 - shrink) * residual).square().sum(1) + (penalty - code * shrink * correlation).sum(1)
        objective = 0.5 * residual.square().sum(1) + penalty.sum(1)
        return (gap / objective.clamp_min(tiny)).clamp_min(0.0)[:, 0]


def _lasso(problem: RecoveryProblem, b: Tensor, lam: float, relative: bool) -> _Lasso:
    dictionary, target = problem.dictionary, b[:, :, None]
    correlation = dictionary.mT @ target
    penalty = lam * (correlation.abs().amax(1, keepdim=True) if relative else torch.ones_like(target[:, :1]))
    # A block whose dictionary is zero may take any step.
    step = 1 / problem.lipschitz.clamp_min(torch.finfo(b.dtype).tiny)[:, None, None]
    contraction = torch.eye(dictionary.shape[2]).to(dictionary) - step * (dictionary.mT @ dictionary)
    return _Lasso(dictionary, target, penalty, contraction, step * correlation, step * penalty)


def _starting_code(problem: RecoveryProblem, start: Tensor | None) -> Tensor:
    if start is None:
        return problem.dictionary.new_zeros((*problem.mask.shape, 1))
    if start.shape != problem.mask.shape:
        raise RecoveryError(
            f"start has shape {tuple(start.shape)}; expected one dense code per block, {tuple(problem.mask.shape)}"
        )
    return torch.where(problem.mask, start.detach().to(problem.dictionary), 0.0)[:, :, None]
