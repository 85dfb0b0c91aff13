"""All predictors by name, as a ranking of them is configured."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from sparsenas.errors import PredictorError
from sparsenas.predictors.acenas import AceNasRanker
from sparsenas.predictors.base import Predictor
from sparsenas.predictors.bayesian import bohamiann, dngo
from sparsenas.predictors.curves import EarlyStopAccuracy, EarlyStopLoss, SumOfLosses
from sparsenas.predictors.extrapolation import CurveExtrapolation
from sparsenas.predictors.feedforward import bananas, mlp
from sparsenas.predictors.gaussian import gaussian_process, sparse_gaussian_process, variational_gaussian_process
from sparsenas.predictors.graphs import bonas, gcn
from sparsenas.predictors.known import KnownScore
from sparsenas.predictors.omni import Omni
from sparsenas.predictors.omni_sequences import omni_seminas
from sparsenas.predictors.regression import CurveRegression
from sparsenas.predictors.sequences import nao, seminas
from sparsenas.predictors.sparse import SparseRegression
from sparsenas.predictors.vectors import bayesian_linear, lightgbm, ngboost, random_forest, xgboost
from sparsenas.predictors.weisfeiler_lehman import WeisfeilerLehman
from sparsenas.spaces import Encoding

#: Who predicts: a model of genotypes, a learning curve, a score of an untrained network, shared weights, several of
#: these together, or the size of the network.
Family = Literal["model", "curve", "zero_cost", "weight_sharing", "combined", "size"]
#: Draws of OMNI's hyper-parameters: the study takes 35, or 25 inside of a search, and as many times longer.
OMNI_DRAWS = 4


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


def _known(family: Family, name: str, studied: bool = True) -> Entry:
    """Make the entry of a score that is known."""
    return Entry(family, lambda encoding, seed: KnownScore(name), studied)


#: All predictors by name.
SUITE: dict[str, Entry] = {
    "acenas": Entry("model", lambda encoding, seed: AceNasRanker(encoding, seed=seed), studied=False),
    "bananas": Entry("model", bananas),
    "bayesian_linear": Entry("model", bayesian_linear),
    "bohamiann": Entry("model", bohamiann),
    "bonas": Entry("model", bonas),
    "dngo": Entry("model", dngo),
    "gaussian_process": Entry("model", gaussian_process),
    "gcn": Entry("model", gcn),
    "lightgbm": Entry("model", lightgbm),
    "mlp": Entry("model", mlp),
    "nao": Entry("model", nao),
    "ngboost": Entry("model", ngboost),
    "random_forest": Entry("model", random_forest),
    "seminas": Entry("model", seminas),
    "sparse_gaussian_process": Entry("model", sparse_gaussian_process),
    "sparse_regression": Entry("model", lambda encoding, seed: SparseRegression(encoding), studied=False),
    "variational_gaussian_process": Entry("model", variational_gaussian_process),
    "weisfeiler_lehman": Entry("model", lambda encoding, seed: WeisfeilerLehman(encoding)),
    "xgboost": Entry("model", xgboost),
    "sotl": Entry("curve", lambda encoding, seed: SumOfLosses()),
    "sotl_e": Entry("curve", lambda encoding, seed: SumOfLosses(window=1)),
    "early_stop_accuracy": Entry("curve", lambda encoding, seed: EarlyStopAccuracy()),
    "early_stop_loss": Entry("curve", lambda encoding, seed: EarlyStopLoss()),
    "lce": Entry("curve", lambda encoding, seed: CurveExtrapolation(seed=seed)),
    "lce_m": Entry("curve", lambda encoding, seed: CurveExtrapolation("ensemble", 800, 500, seed=seed)),
    "lcsvr": Entry("combined", lambda encoding, seed: CurveRegression(draws=200, seed=seed)),
    "omni_ngboost": Entry("combined", lambda encoding, seed: Omni(encoding, draws=OMNI_DRAWS, seed=seed), False),
    "omni_ngboost_no_curve": Entry(
        "combined", lambda encoding, seed: Omni(encoding, curve=False, draws=OMNI_DRAWS, seed=seed), False
    ),
    "omni_seminas": Entry("combined", omni_seminas, studied=False),
    "fisher": _known("zero_cost", "fisher"),
    "grad_norm": _known("zero_cost", "grad_norm"),
    "grasp": _known("zero_cost", "grasp"),
    "jacobian_covariance": _known("zero_cost", "jacobian_covariance"),
    "naswot": _known("zero_cost", "naswot", studied=False),
    "snip": _known("zero_cost", "snip"),
    "synflow": _known("zero_cost", "synflow"),
    "zen": _known("zero_cost", "zen", studied=False),
    "shared_accuracy": _known("weight_sharing", "shared_accuracy"),
    "flops": _known("size", "flops", studied=False),
    "parameters": _known("size", "parameters", studied=False),
}

#: Names of scores that are known of a network before it is trained; each is a predictor too.
SCORES = tuple(name for name, entry in SUITE.items() if entry.family in ("zero_cost", "weight_sharing", "size"))


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
