"""Regression of the final accuracy on features of the learning curve."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from scipy import stats

from sparsenas.errors import PredictorError
from sparsenas.predictors.base import Floats, Info, Predictor
from sparsenas.spaces import Genotype

#: ``summary``: mean and deviation of the curve, of its first, and of its second differences. ``curve``: all of their
#: values, with mean and deviation of the curve.
Features = Literal["summary", "curve"]
#: Shortest curve: the first that has a second difference.
SHORTEST = 3
#: Folds of the choice of hyper-parameters, and of the residuals by which errors are known.
FOLDS, RESIDUAL_FOLDS = 3, 5


def curve_features(curves: Floats, kind: Features) -> Floats:
    """Compute the features of learning curves.

    Args:
        curves: Shape ``(N, epochs)``.
        kind: See :data:`Features`.

    Returns:
        Shape ``(N, 6)``, or ``(N, 3 * epochs - 1)``.

    Raises:
        PredictorError: If curves are too short.
    """
    if curves.shape[1] < SHORTEST:
        raise PredictorError(f"learning curves have {curves.shape[1]} epochs; their features need at least {SHORTEST}")
    parts = [curves, np.diff(curves, 1, 1), np.diff(curves, 2, 1)]
    if kind == "summary":
        return np.stack([figure for part in parts for figure in (part.mean(1), part.std(1))], 1)
    return np.concatenate([*parts, curves.mean(1, keepdims=True), curves.std(1, keepdims=True)], 1)


class CurveRegression(Predictor):
    """nu-SVR on features of the validation accuracies so far (LcSVR).

    Args:
        features: Features of a curve.
        draws: Random draws of the hyper-parameters, of which the one with the best R² in cross-validation is taken.
        seed: Seeds draws and folds.

    Attributes:
        sigma: Deviation of the residuals of networks that a fit had not seen, in the unit of the targets: the error to
            expect. Residuals of networks that it has seen would be far too small.

    Raises:
        PredictorError: If an option is out of range.

    Source: Baker et al., Accelerating Neural Architecture Search using Performance Prediction (2017); hyper-parameters
        as in the code of White et al. (NeurIPS 2021).

    Differs: features and targets are standardised; with few networks, raw ones give a constant.
    """

    requires = frozenset({"val_accuracy"})
    least = 8

    def __init__(self, features: Features = "summary", draws: int = 1000, seed: int = 0) -> None:
        super().__init__()
        if features not in ("summary", "curve"):
            raise PredictorError(f"features is {features!r}; use summary or curve")
        if draws < 1 or seed < 0:
            raise PredictorError(f"draws={draws}, seed={seed}; use at least 1 draw, and a seed not below 0")
        self.features, self.draws, self.seed = features, draws, seed
        self.sigma = float("nan")
        self._model: Any = None
        self._epochs = 0

    def _fit(self, genotypes: Sequence[Genotype], targets: Floats, info: Info) -> None:
        self.fit_curves(info["val_accuracy"], targets)

    def _query(self, genotypes: Sequence[Genotype], info: Info) -> Floats:
        return self.query_curves(info["val_accuracy"])

    def fit_curves(self, curves: Floats, targets: Floats) -> None:
        """Learn from checked curves ``(N, epochs)`` of any networks, and their final accuracies ``(N,)``."""
        # who only reads tables does not wait for it
        from sklearn.compose import TransformedTargetRegressor
        from sklearn.model_selection import KFold, RandomizedSearchCV, cross_val_predict
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import NuSVR

        self._epochs = curves.shape[1]
        rows = curve_features(curves, self.features)
        regressor = TransformedTargetRegressor(make_pipeline(StandardScaler(), NuSVR()), transformer=StandardScaler())
        prefix = "regressor__nusvr__"
        search = RandomizedSearchCV(
            regressor,
            {
                f"{prefix}C": stats.loguniform(1e-5, 10),
                f"{prefix}nu": stats.uniform(1e-6, 1 - 1e-6),
                f"{prefix}gamma": stats.loguniform(1e-5, 10),
            },
            n_iter=self.draws,
            cv=KFold(FOLDS, shuffle=True, random_state=self.seed),
            random_state=self.seed,
        )
        folds = KFold(min(RESIDUAL_FOLDS, len(targets)), shuffle=True, random_state=self.seed)
        state = np.random.get_state()  # NuSVR draws a seed that it does not use
        try:
            search.fit(rows, targets)
            self._model = search.best_estimator_
            unseen = cross_val_predict(self._model, rows, targets, cv=folds)
        finally:
            np.random.set_state(state)
        self.sigma = float(np.std(targets - unseen, ddof=1))

    def query_curves(self, curves: Floats) -> Floats:
        """Predict the final accuracies of curves ``(N, epochs)``, shape ``(N,)``.

        Raises:
            PredictorError: If they are longer or shorter than those it has learned from.
        """
        if curves.shape[1] != self._epochs:
            raise PredictorError(
                f"learning curves have {curves.shape[1]} epochs, and those of the fit {self._epochs}; fit one "
                "predictor for each length"
            )
        found: Floats = self._model.predict(curve_features(curves, self.features))
        return found
