"""Boosted distributions of NGBoost: trees for mean and deviation of a normal distribution."""

from typing import Any

import numpy as np

from sparsenas.predictors.base import Floats, library


class SharedState(np.random.RandomState):
    """Random state that copies of an estimator share, so that one tree after another draws anew, from one seed."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "SharedState":
        return self


class BoostedDistributions:
    """A regressor of NGBoost with the settings of the study, or others.

    Args:
        seed: Seeds all draws.
        estimators: Number of boosting steps.
        rate: Learning rate.
        minibatch: Share of the networks that each step sees.
        tree: Options of scikit-learn's trees; by default those of the study.

    Raises:
        PredictorError: If NGBoost is not installed.

    Source: Duan et al., NGBoost (ICML 2020); White et al. (NeurIPS 2021) and its code.
    """

    def __init__(
        self, seed: int, estimators: int = 505, rate: float = 0.0812705, minibatch: float = 0.5, **tree: float
    ) -> None:
        from sklearn.tree import DecisionTreeRegressor

        boosting = library("ngboost", "ngboost")
        options: dict[str, Any] = {"max_depth": 6, "max_features": 0.7920456318712875, **tree}
        self.model = boosting.NGBRegressor(
            Dist=_plain_normal(),
            Base=DecisionTreeRegressor(random_state=SharedState(seed), **options),
            n_estimators=estimators,
            learning_rate=rate,
            minibatch_frac=minibatch,
            random_state=seed,
            verbose=False,
        )

    def fit(self, rows: Floats, targets: Floats) -> "BoostedDistributions":
        """Learn from rows ``(N, D)`` and targets ``(N,)``."""
        with _unchecked():
            self.model.fit(rows, targets)
        return self

    def predict(self, rows: Floats) -> Floats:
        """Predict the means of rows, shape ``(N,)``."""
        with _unchecked():
            predicted: Floats = self.model.predict(rows)
        return predicted

    def loss(self, rows: Floats, targets: Floats) -> float:
        """Compute the mean of minus the logarithm of the likelihood; infinite where it overflows."""
        with _unchecked(), np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            loss = float(self.model.score(rows, targets))
        return loss if np.isfinite(loss) else np.inf


def _unchecked() -> Any:
    """Leave out scikit-learn's checks of options and numbers, half of the time of a thousand small trees."""
    import sklearn

    return sklearn.config_context(assume_finite=True, skip_parameter_validation=True)


def _plain_normal() -> Any:
    """Make NGBoost's normal distribution without SciPy's object behind it, which takes most of the time."""
    normal, scores = library("ngboost.distns.normal", "ngboost"), library("ngboost.scores", "ngboost")

    class PlainScore(normal.NormalLogScore, scores.LogScore):  # type: ignore[misc,name-defined]  # no type hints
        def score(self, targets: Floats) -> Floats:
            squares = ((targets - self.loc) / self.scale) ** 2
            losses: Floats = np.log(self.scale) + 0.5 * squares + 0.5 * np.log(2 * np.pi)
            return losses

    class PlainNormal(normal.Normal):  # type: ignore[misc,name-defined]  # no type hints
        scores = (PlainScore,)

        def __init__(self, params: Floats) -> None:
            self._params, self.dist = params, None
            self.loc, self.scale = params[0], np.exp(params[1])
            self.var = self.scale**2

        def predict(self) -> Floats:
            mean: Floats = self.loc
            return mean

    return PlainNormal
