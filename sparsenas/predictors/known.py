"""Predictors that learn nothing: a score that is known, or measured when it is asked for."""

from collections.abc import Callable, Sequence

import numpy as np

from sparsenas.errors import PredictorError
from sparsenas.predictors.base import Floats, Info, Predictor
from sparsenas.spaces import Genotype


class KnownScore(Predictor):
    """A score that is there already: of the untrained network, of shared weights, or its size.

    Args:
        name: Its name in the info, shape ``(N, 1)`` there; more is better.

    Raises:
        PredictorError: When queried, if there are several values for a network.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.requires = name, frozenset({name})

    def _query(self, genotypes: Sequence[Genotype], info: Info) -> Floats:
        scores = info[self.name]
        if scores.shape[1] != 1:
            raise PredictorError(f"KnownScore: {self.name} has shape {scores.shape}; give one score of each network")
        return scores[:, 0]


class MeasuredScore(Predictor):
    """A score that a function measures of each network that is asked for.

    So a zero-cost score or a super-net of your own becomes a predictor. Networks of score ``-inf``, which have no path
    from input to output, share a score below all finite ones of the query: lower by their range, or by 1 if that is 0.
    If all are so, their score is 0.

    Args:
        score: Measures a network, more is better; ``-inf`` for one that cannot be scored.

    Raises:
        PredictorError: When queried, if a score is NaN or infinite.
    """

    def __init__(self, score: Callable[[Genotype], float]) -> None:
        super().__init__()
        self.score = score

    def _query(self, genotypes: Sequence[Genotype], info: Info) -> Floats:
        scores = np.array([self.score(genotype) for genotype in genotypes], dtype=np.float64)
        dead = np.isneginf(scores)
        if dead.any():
            living = scores[np.isfinite(scores)]
            scores[dead] = living.min() - (np.ptp(living) or 1.0) if len(living) else 0.0
        return scores
