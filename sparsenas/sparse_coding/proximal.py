"""LASSO by proximal gradient steps, all blocks at once: ISTA and FISTA."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsenas.errors import ConfigError, RecoveryError
from sparsenas.sparse_coding.lars import check_penalty
from sparsenas.sparse_coding.problem import RecoveryProblem
from sparsenas.sparse_coding.recovery import Recovery, Solver, from_dense

#: The duality gap is looked at every so many iterations: on a GPU reading it waits for the device.
CHECK_EVERY = 10


@dataclass(frozen=True)
class IstaSolver(Solver):
    r"""The LASSO by iterative soft-thresholding, then truncation to the ``s`` largest entries.

    .. math:: z \leftarrow \operatorname{soft}_{\lambda/L}\!\left(z - \tfrac1L A^\top (A z - b)\right)

    with :math:`L` the largest eigenvalue of :math:`A^\top A` of the block. Starts at ``start``, else at zero; with
    ``iterations=1`` a recovery is exactly one proximal gradient step. Stops when the relative duality gap of every
    block is at most ``tolerance``; gap and iterations are in the certificate, whether or not it got there.

    Use it with unit-norm dictionaries and large penalties: at :math:`0.05\,\lambda_{max}` one block in ten still needs
    more than 10,000 iterations for a gap of 1e-6 (:class:`FistaSolver`: fewer than 3,000 for all). At smaller penalties
    take :class:`LarsSolver`, which is exact.

    Args:
        lam: Weight of the l1 norm (lambda is a keyword in Python).
        relative: Whether ``lam`` is a share of :math:`\lambda_{max} = \|A^\top b\|_\infty` of the block.
        iterations: Most iterations.
        tolerance: Relative duality gap at which to stop; 0 runs all iterations.
        refit: Whether the truncated code is refitted by least squares.

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
        """Validate the options."""
        _check_options(self)

    def solve(self, problem: RecoveryProblem, b: Tensor, start: Tensor | None = None) -> Recovery:
        """Recover the code of every block; see :meth:`Solver.solve`."""
        return _solve(self, _ista, problem, b, start)


@dataclass(frozen=True)
class FistaSolver(Solver):
    r"""The LASSO by accelerated proximal gradient steps, then truncation to the ``s`` largest entries.

    As :class:`IstaSolver`, with the step taken from an extrapolated point. A block forgets its momentum whenever it
    points uphill, :math:`(y - z^+)^\top (z^+ - z) > 0`.

    Args:
        lam: Weight of the l1 norm (lambda is a keyword in Python).
        relative: Whether ``lam`` is a share of :math:`\lambda_{max} = \|A^\top b\|_\infty` of the block.
        iterations: Most iterations.
        tolerance: Relative duality gap at which to stop; 0 runs all iterations.
        refit: Whether the truncated code is refitted by least squares.
        restart: Whether momentum is forgotten when it points uphill; without it this is the textbook method.

    Raises:
        ConfigError: If an option is out of range.

    Source: Beck and Teboulle, FISTA (SIAM J. Imaging Sciences 2009); restart by the gradient scheme of O'Donoghue and
    Candes, Adaptive restart for accelerated gradient schemes (2015).
    """

    lam: float = 0.05
    relative: bool = True
    iterations: int = 10_000
    tolerance: float = 1e-6
    refit: bool = False
    restart: bool = True

    def __post_init__(self) -> None:
        """Validate the options."""
        _check_options(self)

    def solve(self, problem: RecoveryProblem, b: Tensor, start: Tensor | None = None) -> Recovery:
        """Recover the code of every block; see :meth:`Solver.solve`."""
        return _solve(self, _fista if self.restart else _textbook_fista, problem, b, start)


@dataclass(frozen=True, eq=False)
class _Lasso:
    r"""The LASSO of every block; vectors are columns ``(B, m, 1)``, ``(B, n_max, 1)``, numbers ``(B, 1, 1)``.

    A gradient step of length 1/L on the squares is affine, :math:`z \mapsto (I - A^\top A / L) z + A^\top b / L`. Its
    parts are kept: an iteration is then three operations, and what it costs is their number, not their size.

    Attributes:
        dictionary: ``A``.
        target: ``b``.
        lam: Penalty.
        contraction: :math:`I - A^\top A / L`, shape ``(B, n_max, n_max)``.
        pull: :math:`A^\top b / L`.
        threshold: :math:`\lambda / L`.
    """

    dictionary: Tensor
    target: Tensor
    lam: Tensor
    contraction: Tensor
    pull: Tensor
    threshold: Tensor

    def proximal_step(self, code: Tensor) -> Tensor:
        """One gradient step of length 1/L on the squares, then soft-thresholding."""
        moved = torch.baddbmm(self.pull, self.contraction, code)
        return moved - moved.clamp(-self.threshold, self.threshold)

    def relative_gap(self, code: Tensor) -> Tensor:
        r"""Duality gap over objective, shape ``(B,)``; 0 where the objective is 0.

        The dual point is the residual ``r``, shrunk until :math:`\|A^\top \theta\|_\infty \le \lambda`. The gap is
        summed from its two non-negative parts, so that it does not drown in the cancellation of the objectives:

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


#: Turns a LASSO and a starting code into the function that makes the next code.
_Method = Callable[[_Lasso, Tensor], Callable[[], Tensor]]


def _ista(lasso: _Lasso, code: Tensor) -> Callable[[], Tensor]:
    def advance() -> Tensor:
        nonlocal code
        code = lasso.proximal_step(code)
        return code

    return advance


def _fista(lasso: _Lasso, code: Tensor, restart: bool = True) -> Callable[[], Tensor]:
    extrapolated, momentum = code, torch.ones_like(lasso.lam)

    def advance() -> Tensor:
        nonlocal code, extrapolated, momentum
        new = lasso.proximal_step(extrapolated)
        grown = 0.5 * (1 + torch.sqrt(1 + 4 * momentum.square()))
        factor = (momentum - 1) / grown
        if restart:
            uphill = ((extrapolated - new) * (new - code)).sum(1, keepdim=True) > 0
            factor, grown = factor.masked_fill(uphill, 0.0), grown.masked_fill(uphill, 1.0)
        extrapolated, momentum, code = new + factor * (new - code), grown, new
        return code

    return advance


def _textbook_fista(lasso: _Lasso, code: Tensor) -> Callable[[], Tensor]:
    return _fista(lasso, code, restart=False)


def _solve(
    solver: IstaSolver | FistaSolver, method: _Method, problem: RecoveryProblem, b: Tensor, start: Tensor | None
) -> Recovery:
    """Iterate until the gap closes, then truncate and certify."""
    b = problem.check_target(b)
    lasso = _lasso(problem, b, solver.lam, solver.relative)
    code = _starting_code(problem, start)
    advance = method(lasso, code)
    gap, taken = lasso.relative_gap(code), 0
    while taken < solver.iterations and (taken == 0 or not bool((gap <= solver.tolerance).all())):
        for _ in range(min(CHECK_EVERY, solver.iterations - taken)):
            code = advance()
            taken += 1
        gap = lasso.relative_gap(code)
    return from_dense(
        problem,
        b,
        code[:, :, 0],
        optimality=gap,
        kind="duality_gap",
        iterations=torch.full_like(gap, taken, dtype=torch.int64),
        refitted=solver.refit,
    )


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


def _check_options(solver: IstaSolver | FistaSolver) -> None:
    name = type(solver).__name__
    check_penalty(name, solver.lam)
    if solver.iterations < 1:
        raise ConfigError(f"{name}.iterations is {solver.iterations}; take at least 1")
    if not solver.tolerance >= 0:
        raise ConfigError(f"{name}.tolerance is {solver.tolerance}; the relative duality gap is at least 0")
