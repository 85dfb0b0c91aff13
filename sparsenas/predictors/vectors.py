"""Regression of the accuracy on vectors of zeros and ones: trees, and linear models."""

from collections.abc import Callable, Sequence
from typing import Any

from sparsenas.predictors.base import Floats, Info, Predictor
from sparsenas.spaces import Encoding, Genotype
from sparsenas.spaces.encodings import VectorEncoding


class VectorRegression(Predictor):
    """A regression of scikit-learn's form on encoded genotypes; targets are standardised while it learns.

    Args:
        encoding: Encoding of the space.
        regression: Makes an object with ``fit(X, y)`` and ``predict(X)``; it is called once a fit.
        kind: Which vector of the encoding.
        least: Fewest networks to learn from.
    """

    def __init__(
        self,
        encoding: Encoding,
        regression: Callable[[], Any],
        kind: VectorEncoding = "one_hot",
        least: int = 2,
    ) -> None:
        super().__init__()
        self.encoding, self.regression, self.kind, self.least = encoding, regression, kind, least
        self._model: Any = None
        self._mean, self._scale = 0.0, 1.0

    def _fit(self, genotypes: Sequence[Genotype], targets: Floats, info: Info) -> None:
        self._mean, self._scale = float(targets.mean()), float(targets.std())
        self._model = self.regression()
        self._model.fit(self.encoding.vectors(genotypes, self.kind), (targets - self._mean) / self._scale)

    def _query(self, genotypes: Sequence[Genotype], info: Info) -> Floats:
        predicted: Floats = self._model.predict(self.encoding.vectors(genotypes, self.kind))
        return self._mean + self._scale * predicted


def random_forest(encoding: Encoding, seed: int = 0) -> VectorRegression:
    """Make a random forest with the settings of the study.

    Source: Breiman, Random Forests (2001); White et al. (NeurIPS 2021) and its code.
    """
    from sklearn.ensemble import RandomForestRegressor

    return VectorRegression(
        encoding,
        lambda: RandomForestRegressor(
            n_estimators=116, max_features=0.1706, min_samples_leaf=2, bootstrap=False, random_state=seed
        ),
    )
