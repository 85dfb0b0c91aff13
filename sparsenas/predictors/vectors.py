"""Regression of the accuracy on vectors of zeros and ones: trees, and linear models."""

from collections.abc import Callable, Sequence
from typing import Any

from sparsenas.predictors.base import Floats, Info, Predictor, library
from sparsenas.predictors.boosting import BoostedDistributions
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


def bayesian_linear(encoding: Encoding, seed: int = 0) -> VectorRegression:
    """Make a Bayesian linear regression, its two precisions by evidence maximisation; nothing is drawn.

    Source: MacKay, Bayesian Interpolation (1992); it begins at the precisions of the code of White et al.
    """
    from sklearn.linear_model import BayesianRidge

    return VectorRegression(encoding, lambda: BayesianRidge(alpha_init=100.0, lambda_init=1.0, compute_score=False))


def xgboost(encoding: Encoding, seed: int = 0) -> VectorRegression:
    """Make boosted trees of XGBoost with the settings of the study.

    Raises:
        PredictorError: If XGBoost is not installed.

    Source: Chen and Guestrin, XGBoost (KDD 2016); White et al. (NeurIPS 2021) and its code.
    """
    trees = library("xgboost", "xgboost")
    return VectorRegression(
        encoding,
        lambda: trees.XGBRegressor(
            n_estimators=500, max_depth=6, learning_rate=0.3, min_child_weight=1, n_jobs=1, random_state=seed
        ),
    )


class LeafTrees:
    """Boosted trees of LightGBM, whose leaves hold fewer networks where there are few.

    Args:
        seed: Seeds the networks and features that each tree sees.

    Raises:
        PredictorError: If LightGBM is not installed.
    """

    def __init__(self, seed: int) -> None:
        self._library = library("lightgbm", "lightgbm")
        self._seed = seed

    def fit(self, rows: Floats, targets: Floats) -> None:
        """Learn from rows ``(N, D)`` and targets ``(N,)``."""
        settings = {
            "learning_rate": 0.05,
            "num_leaves": 31,
            "min_data_in_leaf": min(5, max(1, len(targets) // 4)),
            "min_data_in_bin": 1,  # or zeros and ones of few networks fall into one bin
            "feature_fraction": 0.9,
            "bagging_fraction": 0.8,
            "bagging_freq": 5,
            "seed": self._seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "verbosity": -1,
        }
        self._model = self._library.train(settings, self._library.Dataset(rows, targets), num_boost_round=500)

    def predict(self, rows: Floats) -> Floats:
        """Predict the targets of rows, shape ``(N,)``."""
        predicted: Floats = self._model.predict(rows)
        return predicted


def lightgbm(encoding: Encoding, seed: int = 0) -> VectorRegression:
    """Make boosted trees of LightGBM with the settings of the study.

    Raises:
        PredictorError: If LightGBM is not installed.

    Source: Ke et al., LightGBM (NeurIPS 2017); White et al. (NeurIPS 2021) and its code.

    Differs: the code wants five networks in a leaf, so fewer than ten teach it nothing. Here a leaf of ``N`` networks
        needs ``N / 4`` of them at most.
    """
    LeafTrees(seed)  # who lacks the library hears of it now
    return VectorRegression(encoding, lambda: LeafTrees(seed), least=4)


def ngboost(encoding: Encoding, seed: int = 0) -> VectorRegression:
    """Make boosted distributions of NGBoost with the settings of the study; its means are the predictions.

    Raises:
        PredictorError: If NGBoost is not installed.

    Source: Duan et al., NGBoost (ICML 2020); White et al. (NeurIPS 2021) and its code.
    """
    BoostedDistributions(seed)  # who lacks the library hears of it now
    return VectorRegression(encoding, lambda: BoostedDistributions(seed), least=4)
