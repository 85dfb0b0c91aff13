"""A code that is sparse by groups of atoms, around a prior mean."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsenas.errors import ConfigError, RecoveryError
from sparsenas.sparse_coding.regression import SMALLEST, CodeRegression, SparseFit

Floats = NDArray[np.float64]
#: Iterations between two looks at the duality gap.
CHECK_EVERY = 20


@dataclass(frozen=True, eq=False)
class GroupFit(SparseFit):
    """A code that is sparse by groups.

    Attributes:
        gap: Relative duality gap of the code.
        iterations: Iterations that it took.
    """

    gap: float
    iterations: int


@dataclass(frozen=True)
class GroupRegression(CodeRegression):
    r"""Few groups of atoms differ from what is expected of them: FISTA with block-wise soft-thresholding.

    .. math::
        \min_{z, c} \tfrac{1}{2K} \|A z + c - b\|_2^2 + \lambda \sum_g w_g \|z_g - \mu_g\|_2

    A group is all that belongs to one decision, so a decision matters as a whole or is as expected. The offset ``c``
    is free. The penalty is the one of least held-out error, between the smallest at which the code equals the prior
    mean and a hundredth of it.

    Attributes:
        folds: Parts of the rows, each predicted from the others to choose the penalty.
        penalties: Number of penalties tried.
        tolerance: Relative duality gap at which iterations stop.
        iterations: Most iterations for one penalty.

    Raises:
        ConfigError: If a number is out of range.

    Source: Yuan and Lin, Model selection with grouped variables (2006); Beck and Teboulle, FISTA (2009).
    """

    folds: int = 5
    penalties: int = 12
    tolerance: float = 1e-4
    iterations: int = 2000

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.folds < 2 or self.penalties < 2 or self.iterations < 1 or not self.tolerance > 0:
            raise ConfigError(
                f"regression: folds={self.folds}, penalties={self.penalties}, iterations={self.iterations}, tolerance="
                f"{self.tolerance}; need at least 2 folds and penalties, 1 iteration, and a positive tolerance"
            )

    def _fit(self, A: Floats, b: Floats, penalty: float | None) -> GroupFit:
        """Fit with one group per atom, around zero; see :meth:`CodeRegression.fit`."""
        return self.fit_groups(A, b, range(A.shape[1]), np.ones(A.shape[1]), penalty=penalty)

    def fit_groups(
        self,
        A: Floats,
        b: Floats,
        groups: Sequence[int] | NDArray[np.int64],
        weights: Floats,
        mean: Floats | None = None,
        penalty: float | None = None,
    ) -> GroupFit:
        """Fit a code to measurements.

        Args:
            A: Dictionary, shape ``(K, N)``.
            b: Measurements, shape ``(K,)``, at least 4.
            groups: Number of the group of each atom, ``0 ... G - 1``.
            weights: Positive weight of each group, shape ``(G,)``.
            mean: Prior mean of the code, shape ``(N,)``; ``None`` for zero.
            penalty: Weight of the penalty; ``None`` chooses it.

        Raises:
            RecoveryError: If shapes disagree, there are too few measurements, or a number is not finite.
        """
        prior, index = np.zeros(A.shape[-1]) if mean is None else mean, np.asarray(groups, dtype=np.int64)
        if A.ndim != 2 or b.shape != A.shape[:1] or index.shape != A.shape[1:] or prior.shape != A.shape[1:]:
            raise RecoveryError(
                f"the dictionary has shape {A.shape}, the measurements {b.shape}, groups {index.shape} and the prior "
                f"mean {prior.shape}; give (K, N), (K,), (N,), (N,)"
            )
        if len(b) < 4:
            raise RecoveryError(f"there are {len(b)} measurements; a code needs at least 4")
        if weights.shape != (index.max(initial=-1) + 1,) or not (weights > 0).all():
            raise RecoveryError(f"weights has shape {weights.shape}; give a positive one for each group")
        if not all(np.isfinite(numbers).all() for numbers in (A, b, prior)):
            raise RecoveryError("the dictionary, the measurements or the prior mean have numbers that are not finite")
        left = b - A @ prior  # what the prior mean does not explain
        largest = _Problem.of(A, left, index, weights).largest
        if penalty is not None or largest == 0:
            path = [penalty if penalty is not None else 1.0]
            held_out = np.full(len(b), np.nan) if largest else (left.sum() - left) / (len(b) - 1) + A @ prior
        else:
            grid = np.geomspace(largest, SMALLEST * largest, self.penalties).tolist()
            path, held_out = self._chosen(A, left, index, weights, grid)
            held_out = held_out + A @ prior
        problem = _Problem.of(A, left, index, weights)
        code, gap, taken = np.zeros(A.shape[1]), 0.0, 0
        for value in path:
            code, gap, iterations = problem.solve(value, code, self.iterations, self.tolerance)
            taken += iterations
        offset = float((left - A @ code).mean())
        return GroupFit(code + prior, offset, path[-1], held_out, gap, taken)

    def _chosen(
        self, A: Floats, b: Floats, groups: NDArray[np.int64], weights: Floats, grid: list[float]
    ) -> tuple[list[float], Floats]:
        """Choose the penalty of least held-out error; gives the path down to it, and the held-out predictions."""
        held_out = np.empty((len(b), len(grid)))
        fold = np.arange(len(b)) % self.folds
        for number in range(min(self.folds, len(b))):
            seen, out = fold != number, fold == number
            problem, code = _Problem.of(A[seen], b[seen], groups, weights), np.zeros(A.shape[1])
            for column, value in enumerate(grid):
                code, _, _ = problem.solve(value, code, self.iterations // 4 + 1, 10 * self.tolerance)
                held_out[out, column] = A[out] @ code + (b[seen] - A[seen] @ code).mean()
        best = int(((held_out - b[:, None]) ** 2).mean(0).argmin())
        return grid[: best + 1], held_out[:, best]


@dataclass(frozen=True, eq=False)
class _Problem:
    """The group LASSO of centred data; ``gram`` is ``A^T A / K`` and ``pull`` is ``A^T b / K``."""

    gram: Floats
    pull: Floats
    square: float
    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    groups: NDArray[np.int64]
    weights: Floats
    lipschitz: float

    @classmethod
    def of(cls, A: Floats, b: Floats, groups: NDArray[np.int64], weights: Floats) -> "_Problem":
        """Centre the data, which frees the offset."""
        centred, target = A - A.mean(0), b - b.mean()
        gram = centred.T @ centred / len(b)
        order = np.argsort(groups, kind="stable")
        starts = np.searchsorted(groups[order], np.arange(len(weights)))
        lipschitz = float(np.linalg.eigvalsh(gram)[-1]) if gram.size else 0.0
        pull = centred.T @ target / len(b)
        return cls(gram, pull, float(target @ target) / len(b), order, starts, groups, weights, max(lipschitz, 1e-12))

    def norms(self, code: Floats) -> Floats:
        """Euclidean norm of each group."""
        norms: Floats = np.sqrt(np.add.reduceat(np.square(code)[self.order], self.starts))
        return norms

    @property
    def largest(self) -> float:
        """Smallest penalty at which the code is zero."""
        return float((self.norms(self.pull) / self.weights).max(initial=0.0))

    def shrink(self, code: Floats, threshold: Floats) -> Floats:
        """Shorten each group by its threshold."""
        norms = self.norms(code)
        factor = np.maximum(1 - threshold / np.maximum(norms, 1e-300), 0.0)
        return code * factor[self.groups]

    def gap(self, code: Floats, penalty: float) -> float:
        r"""Compute the duality gap over the objective.

        The dual point is the residual, shrunk until :math:`\|A_g^\top \theta\| / K \le \lambda w_g` for each group.
        """
        correlation = self.pull - self.gram @ code
        residual = self.square - float(code @ (self.pull + correlation))  # |b - A z|^2 / K
        shrink = min(1.0, penalty / max(float((self.norms(correlation) / self.weights).max()), 1e-300))
        norm = float((self.weights * self.norms(code)).sum()) * penalty
        objective = 0.5 * residual + norm
        gap = 0.5 * (1 - shrink) ** 2 * residual + norm - shrink * float(code @ correlation)
        return max(gap / objective, 0.0) if objective > 0 else 0.0

    def solve(self, penalty: float, start: Floats, most: int, tolerance: float) -> tuple[Floats, float, int]:
        """Minimise by FISTA with restarts; gives the code, its gap, and the iterations."""
        code, extrapolated, momentum = start, start, 1.0
        threshold, gap, taken = penalty * self.weights / self.lipschitz, self.gap(start, penalty), 0
        while taken < most and gap > tolerance:
            for _ in range(min(CHECK_EVERY, most - taken)):
                moved = extrapolated + (self.pull - self.gram @ extrapolated) / self.lipschitz
                new = self.shrink(moved, threshold)
                grown = 0.5 * (1 + np.sqrt(1 + 4 * momentum**2))
                factor = (momentum - 1) / grown
                if (extrapolated - new) @ (new - code) > 0:  # momentum points uphill
                    factor, grown = 0.0, 1.0
                extrapolated, momentum, code = new + factor * (new - code), grown, new
                taken += 1
            gap = self.gap(code, penalty)
        return code, gap, taken
