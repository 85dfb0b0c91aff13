"""Codes that explain measurements. A row of the dictionary is one measured item, a column is an atom."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV

from sparsenas.errors import ConfigError, RecoveryError

Floats = NDArray[np.float64]

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
