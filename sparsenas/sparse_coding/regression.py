"""Codes that explain measurements. A row of the dictionary is one measured item, a column is an atom."""

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeCV, lasso_path
from sklearn.model_selection import PredefinedSplit

from sparsenas.errors import ConfigError, RecoveryError

Floats = NDArray[np.float64]

#: Most passes over the atoms; where atoms are nearly equal, more passes change no prediction.
SWEEPS = 5_000
#: The smallest penalty that is tried, as a share of the smallest under which the code is zero.
SMALLEST = 1e-2


@dataclass(frozen=True, eq=False)
class SparseFit:
    """A code, and its predictions for rows that it has not seen.

    Attributes:
        code: ``z``, shape ``(N,)``.
        offset: Constant added to ``A z``.
        penalty: Weight of the penalty.
        held_out: Prediction for each row of ``A`` from other rows only, shape ``(K,)``; NaN where the penalty was given
            and nothing was held out.
    """

    code: Floats
    offset: float
    penalty: float
    held_out: Floats

    def predict(self, rows: Floats) -> Floats:
        """Predict the measurements of rows of a dictionary, shape ``(R,)``."""
        predicted: Floats = rows @ self.code + self.offset
        return predicted


class CodeRegression(ABC):
    """Recovers a code ``z`` from measurements ``b = A z + noise``; there may be fewer measurements than atoms."""

    def fit(self, A: Floats, b: Floats, penalty: float | None = None) -> SparseFit:
        """Fit a code to measurements.

        Args:
            A: Dictionary, shape ``(K, N)``; columns of similar size, as one penalty is for all.
            b: Measurements, shape ``(K,)``.
            penalty: Weight of the penalty; ``None`` chooses the one of least held-out error.

        Raises:
            RecoveryError: If shapes disagree, there are fewer than 4 measurements, a number is not finite, or all
                measurements are equal.
        """
        if A.ndim != 2 or b.shape != A.shape[:1] or not A.shape[1]:
            raise RecoveryError(f"the dictionary has shape {A.shape} and the measurements {b.shape}; give (K, N), (K,)")
        if len(b) < 4:
            raise RecoveryError(f"there are {len(b)} measurements; a code needs at least 4")
        if not (np.isfinite(A).all() and np.isfinite(b).all()):
            raise RecoveryError("the dictionary or the measurements have numbers that are not finite")
        if np.ptp(b) == 0:
            raise RecoveryError(f"all {len(b)} measurements are {b[0]:g}; they tell nothing apart")
        return self._fit(A, b, penalty)

    @abstractmethod
    def _fit(self, A: Floats, b: Floats, penalty: float | None) -> SparseFit:
        """See :meth:`fit`."""


@dataclass(frozen=True)
class LassoRegression(CodeRegression):
    r"""Few atoms explain the measurements.

    .. math:: \min_{z, c} \tfrac{1}{2K} \|A z + c - b\|_2^2 + \lambda \|z\|_1

    Attributes:
        folds: Parts of the rows, each predicted from the others to choose the penalty.
        penalties: Number of penalties tried, from the smallest under which the code is zero down to a hundredth.

    Raises:
        ConfigError: If a number is too small.

    Source: Tibshirani, Regression Shrinkage and Selection via the Lasso (1996); coordinate descent of scikit-learn.

    Differs: scikit-learn's ``LassoCV`` weights folds of unequal size equally and gives no held-out predictions.
    """

    folds: int = 10
    penalties: int = 24

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.folds < 2 or self.penalties < 2:
            raise ConfigError(f"regression: folds={self.folds}, penalties={self.penalties}; both are at least 2")

    def _fit(self, A: Floats, b: Floats, penalty: float | None) -> SparseFit:
        largest = float(np.abs((A - A.mean(0)).T @ (b - b.mean())).max()) / len(b)
        if largest == 0:  # nothing is explained at any penalty
            return SparseFit(np.zeros(A.shape[1]), float(b.mean()), penalty or 0.0, (b.sum() - b) / (len(b) - 1))
        if penalty is not None:
            code, offset = _lasso(A, b, np.array([penalty]))
            return SparseFit(code[:, 0], float(offset[0]), penalty, np.full(len(b), np.nan))
        grid = np.geomspace(largest, SMALLEST * largest, self.penalties)
        held_out = np.empty((len(b), len(grid)))
        for seen, left_out in PredefinedSplit(np.arange(len(b)) % self.folds).split():
            code, offset = _lasso(A[seen], b[seen], grid)
            held_out[left_out] = A[left_out] @ code + offset
        best = int(((held_out - b[:, None]) ** 2).mean(0).argmin())
        code, offset = _lasso(A, b, grid[: best + 1])
        return SparseFit(code[:, best], float(offset[best]), float(grid[best]), held_out[:, best])


@dataclass(frozen=True)
class RidgeRegression(CodeRegression):
    r"""Every atom explains a part.

    .. math:: \min_{z, c} \|A z + c - b\|_2^2 + \lambda \|z\|_2^2

    Held-out predictions leave out one row each, in closed form.

    Attributes:
        penalties: Number of penalties tried, over nine decades around the mean square of the dictionary's columns.

    Raises:
        ConfigError: If the number is too small.

    Source: Hoerl and Kennard, Ridge Regression (1970); ``RidgeCV`` of scikit-learn.
    """

    penalties: int = 37

    def __post_init__(self) -> None:
        """Check the number."""
        if self.penalties < 2:
            raise ConfigError(f"regression: penalties={self.penalties}; try at least 2")

    def _fit(self, A: Floats, b: Floats, penalty: float | None) -> SparseFit:
        square = float(((A - A.mean(0)) ** 2).sum())
        grid = (square / min(A.shape) or 1.0) * np.logspace(-4, 5, self.penalties)
        model = RidgeCV(
            grid if penalty is None else [penalty], scoring="neg_mean_squared_error", store_cv_results=True
        ).fit(A, b)
        held_out = model.cv_results_[:, list(model.alphas).index(model.alpha_)]
        return SparseFit(model.coef_, float(model.intercept_), float(model.alpha_), held_out)


def _lasso(A: Floats, b: Floats, penalties: Floats) -> tuple[Floats, Floats]:
    """Compute codes ``(N, P)`` and offsets ``(P,)`` at falling penalties."""
    mean, middle = A.mean(0), b.mean()
    centred = np.asfortranarray(A - mean)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        _, code, _ = lasso_path(centred, b - middle, alphas=penalties, max_iter=SWEEPS, tol=1e-5)
    return code, middle - mean @ code
