"""OMNI: a score of the untrained network, the learning curve and the encoding, together."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsenas.errors import PredictorError
from sparsenas.predictors.base import Floats, Info, Predictor
from sparsenas.predictors.boosting import BoostedDistributions
from sparsenas.spaces import Encoding, Genotype

#: Folds in which draws of the hyper-parameters are judged.
FOLDS = 3
#: Fewest networks that a boosting step sees, if there are so many.
BATCH = 4


class Omni(Predictor):
    """Boosted distributions over three sources together (OMNI with NGBoost).

    Features are the Jacobian covariance, minus the training loss of the last known epoch (SoTL-E), both standardised
    over the networks of the fit, and the one-hot encoding. Hyper-parameters are those of the study's NGBoost, or random
    draws; the ones of least loss (minus log-likelihood) on folds that were held out are taken.

    Args:
        encoding: Encoding of the space; ``None`` leaves it out.
        zero_cost: True to use ``jacobian_covariance``.
        curve: True to use ``train_loss``.
        draws: Number of random draws.
        seed: Seeds draws, folds and trees.

    Attributes:
        options: Hyper-parameters after a fit.

    Raises:
        PredictorError: If there is no source, an option is out of range, or NGBoost is not installed.

    Source: White et al., How Powerful are Performance Predictors in Neural Architecture Search? (NeurIPS 2021).

    Differs: SoTL-E is standardised by the networks of the fit; the code takes those of the query, of which one alone
        has no deviation. Steps of boosting see at least four networks.
    """

    least = 8

    def __init__(
        self,
        encoding: Encoding | None,
        zero_cost: bool = True,
        curve: bool = True,
        draws: int = 35,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if draws < 0 or seed < 0 or not (encoding or zero_cost or curve):
            raise PredictorError(
                f"OMNI: draws={draws}, seed={seed}, zero_cost={zero_cost}, curve={curve}; use no numbers below 0, and "
                "at least one of encoding, zero_cost and curve"
            )
        self.encoding, self.draws, self.seed = encoding, draws, seed
        used = {"jacobian_covariance": zero_cost, "train_loss": curve}
        self.requires = frozenset(name for name, use in used.items() if use)
        self.options: dict[str, Any] = {}
        self._model = BoostedDistributions(seed)
        self._mean, self._scale, self._unit = np.zeros(0), np.ones(0), (0.0, 1.0)

    def _fit(self, genotypes: Sequence[Genotype], targets: Floats, info: Info) -> None:
        numbers = self._numbers(genotypes, info)
        self._mean, self._scale = numbers.mean(0), np.where(np.ptp(numbers, 0) > 0, numbers.std(0), 1.0)
        rows = self._rows(genotypes, numbers)
        mean, scale = float(targets.mean()), float(targets.std())
        self._unit = mean, scale
        goal = (targets - mean) / scale
        rng = np.random.default_rng(self.seed)
        fold = rng.permutation(len(goal)) % FOLDS
        candidates: list[dict[str, Any]] = [{}, *(_draw(rng, len(goal)) for _ in range(self.draws))]
        if self.draws:
            losses = [self._held_out(rows, goal, fold, options) for options in candidates]
            self.options = candidates[int(np.argmin(losses))]
        self._model = BoostedDistributions(self.seed, **self.options).fit(rows, goal)

    def _held_out(self, rows: Floats, goal: Floats, fold: NDArray[np.int64], options: dict[str, Any]) -> float:
        """Compute the mean loss of networks that a fit has not seen."""
        losses = [
            BoostedDistributions(self.seed, **options)
            .fit(rows[fold != part], goal[fold != part])
            .loss(rows[fold == part], goal[fold == part])
            for part in range(FOLDS)
        ]
        return float(np.mean(losses))

    def _query(self, genotypes: Sequence[Genotype], info: Info) -> Floats:
        mean, scale = self._unit
        return mean + scale * self._model.predict(self._rows(genotypes, self._numbers(genotypes, info)))

    def _numbers(self, genotypes: Sequence[Genotype], info: Info) -> Floats:
        """Collect what is known beside the encoding, shape ``(N, 0 ... 2)``."""
        columns = []
        if "jacobian_covariance" in self.requires:
            columns.append(info["jacobian_covariance"][:, 0])
        if "train_loss" in self.requires:
            columns.append(-info["train_loss"][:, -1])
        return np.stack(columns, 1) if columns else np.zeros((len(genotypes), 0))

    def _rows(self, genotypes: Sequence[Genotype], numbers: Floats) -> Floats:
        """Join standardised numbers and encodings, shape ``(N, D)``."""
        standard: Floats = (numbers - self._mean) / self._scale
        if self.encoding is None:
            return standard
        return np.concatenate([standard, self.encoding.vectors(genotypes, "one_hot")], 1)


def _draw(rng: np.random.Generator, networks: int) -> dict[str, Any]:
    """Draw hyper-parameters for a number of networks."""
    seen = networks - -(-networks // FOLDS)  # in the smallest fit of a fold
    most = max(3, min(20, networks // 3))
    return {
        "estimators": int(np.exp(rng.uniform(np.log(128), np.log(513)))),
        "rate": float(np.exp(rng.uniform(np.log(1e-3), np.log(0.1)))),
        "minibatch": float(rng.uniform(min(1.0, max(0.1, BATCH / seen)), 1)),
        "max_depth": int(rng.integers(1, 25)),
        "max_features": float(rng.uniform(0.1, 1)),
        "min_samples_leaf": int(rng.integers(2, most)),
        "min_samples_split": int(rng.integers(2, most)),
    }
