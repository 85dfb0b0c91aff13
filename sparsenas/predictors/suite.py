"""All predictors by name, as a ranking of them is configured."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from sparsenas.errors import PredictorError
from sparsenas.predictors.base import Predictor
from sparsenas.predictors.curves import EarlyStopAccuracy, EarlyStopLoss, SumOfLosses
from sparsenas.predictors.gaussian import gaussian_process, sparse_gaussian_process, variational_gaussian_process
from sparsenas.predictors.regression import CurveRegression
from sparsenas.predictors.sparse import SparseRegression
from sparsenas.predictors.vectors import bayesian_linear, lightgbm, ngboost, random_forest, xgboost
from sparsenas.predictors.weisfeiler_lehman import WeisfeilerLehman
from sparsenas.spaces import Encoding

#: Who predicts: a model of genotypes, a learning curve, a score of an untrained network, shared weights, several of
#: these together, or the size of the network.
Family = Literal["model", "curve", "zero_cost", "weight_sharing", "combined", "size"]


@dataclass(frozen=True)
class Entry:
    """A predictor of the suite.

    Attributes:
        family: What it predicts from.
        make: Makes it, from the encoding of the space and a seed.
        studied: True for the 31 of the study, and the one that its code has beside them.
    """

    family: Family
    make: Callable[[Encoding, int], Predictor]
    studied: bool = True


#: All predictors by name.
SUITE: dict[str, Entry] = {
    "bayesian_linear": Entry("model", bayesian_linear),
    "gaussian_process": Entry("model", gaussian_process),
    "lightgbm": Entry("model", lightgbm),
    "ngboost": Entry("model", ngboost),
    "random_forest": Entry("model", random_forest),
    "sparse_gaussian_process": Entry("model", sparse_gaussian_process),
    "sparse_regression": Entry("model", lambda encoding, seed: SparseRegression(encoding), studied=False),
    "variational_gaussian_process": Entry("model", variational_gaussian_process),
    "weisfeiler_lehman": Entry("model", lambda encoding, seed: WeisfeilerLehman(encoding)),
    "xgboost": Entry("model", xgboost),
    "sotl": Entry("curve", lambda encoding, seed: SumOfLosses()),
    "sotl_e": Entry("curve", lambda encoding, seed: SumOfLosses(window=1)),
    "early_stop_accuracy": Entry("curve", lambda encoding, seed: EarlyStopAccuracy()),
    "early_stop_loss": Entry("curve", lambda encoding, seed: EarlyStopLoss()),
    "lcsvr": Entry("combined", lambda encoding, seed: CurveRegression(draws=200, seed=seed)),
}


def make_predictor(name: str, encoding: Encoding, seed: int = 0) -> Predictor:
    """Make a predictor of the suite.

    Args:
        name: Its name in :data:`SUITE`.
        encoding: Encoding of the space.
        seed: Seed of all that it draws.

    Raises:
        PredictorError: If there is none of that name.
    """
    if name not in SUITE:
        raise PredictorError(f"no predictor {name!r}; known are {', '.join(SUITE)}")
    return SUITE[name].make(encoding, seed)
