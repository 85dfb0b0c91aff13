"""The protocol of performance predictors, and checks that all of them share."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib import import_module
from time import process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsenas.errors import PredictorError, RankingError
from sparsenas.spaces import Genotype

Floats = NDArray[np.float64]
#: What is known of networks beside their genotypes, by name. Learning curves up to an epoch, ``train_loss``,
#: ``val_loss`` and ``val_accuracy``, have shape ``(N, epochs)``. Scores have shape ``(N, 1)``, more being better, such
#: as ``jacobian_covariance``, ``shared_accuracy``, ``parameters`` and ``flops``. So has ``epochs``, the length of the
#: whole training.
Info = Mapping[str, Floats]


class Predictor(ABC):
    """Predicts the final accuracy of networks, or a score that orders them alike: higher is better, always.

    Attributes:
        requires: What must be known of each network, when it is fitted and when it is queried.
        least: Fewest networks to fit it; 0 for one that needs none, whose :meth:`fit` does nothing.
        fit_seconds: Processor seconds of the last fit.
        query_seconds: Processor seconds of the last query, over all networks.

    Source: protocol of White et al., How Powerful are Performance Predictors in Neural Architecture Search? (NeurIPS
        2021), section 2.
    """

    requires: frozenset[str] = frozenset()
    least: int = 0

    def __init__(self) -> None:
        self.fit_seconds = 0.0
        self.query_seconds = 0.0
        self._fitted = False

    def fit(self, genotypes: Sequence[Genotype], targets: Floats, info: Info) -> None:
        """Learn from networks whose final accuracy is known.

        Args:
            genotypes: The networks, ``N`` of them.
            targets: Their final accuracies, shape ``(N,)``.
            info: What is known beside.

        Raises:
            PredictorError: If there are too few networks, a genotype is there twice, targets are constant or no
                numbers, or something is missing.
        """
        if not self.least:
            return
        targets = np.asarray(targets, dtype=np.float64)
        name = type(self).__name__
        if targets.shape != (len(genotypes),):
            raise PredictorError(
                f"{name}: {len(genotypes)} genotypes, and targets of shape {targets.shape}; give one each"
            )
        if len(genotypes) < self.least:
            raise PredictorError(f"{name}: {len(genotypes)} networks to learn from; it needs at least {self.least}")
        if not np.isfinite(targets).all():
            where = int(np.flatnonzero(~np.isfinite(targets))[0])
            raise PredictorError(f"{name}: target {where} is {targets[where]}; leave this network out")
        if targets.min() == targets.max():
            raise PredictorError(f"{name}: all targets are {targets[0]:g}, from which no order can be learned")
        if len(set(genotypes)) < len(genotypes):
            raise PredictorError(f"{name}: a genotype is there twice; give each network once, with its mean accuracy")
        known = self._known(info, len(genotypes))
        begin = process_time()
        try:
            self._fit(genotypes, targets, known)
        except RankingError as error:  # of relevances, where most targets are the best
            raise PredictorError(f"{name}: {error}") from error
        self.fit_seconds, self._fitted = process_time() - begin, True

    def query(self, genotypes: Sequence[Genotype], info: Info) -> Floats:
        """Score networks, shape ``(N,)``.

        Args:
            genotypes: The networks.
            info: What is known beside.

        Raises:
            PredictorError: If it has not been fitted, something is missing, or a score is no number.
        """
        name = type(self).__name__
        if self.least and not self._fitted:
            raise PredictorError(f"{name}: has learned from no network yet; fit it first")
        known = self._known(info, len(genotypes))
        if len(genotypes) == 0:  # libraries do not bear an empty matrix
            self.query_seconds = 0.0
            return np.zeros(0)
        begin = process_time()
        scores = np.asarray(self._query(genotypes, known), dtype=np.float64)
        self.query_seconds = process_time() - begin
        if not np.isfinite(scores).all():
            where = int(np.flatnonzero(~np.isfinite(scores))[0])
            raise PredictorError(f"{name}: the score of network {where} is {scores[where]}")
        return scores

    def _known(self, info: Info, networks: int) -> Info:
        """Take what it requires; raise a ``PredictorError`` if that is missing, of another shape, or no number."""
        found: dict[str, Floats] = {}
        for name in sorted(self.requires):
            if name not in info:
                raise PredictorError(f"{type(self).__name__}: needs {name} of every network; info has no such entry")
            values = np.asarray(info[name], dtype=np.float64)
            if values.ndim != 2 or len(values) != networks or not values.shape[1]:
                raise PredictorError(
                    f"{type(self).__name__}: {name} has shape {values.shape}; give ({networks}, epochs), or "
                    f"({networks}, 1) for a score"
                )
            if not np.isfinite(values).all():
                raise PredictorError(f"{type(self).__name__}: {name} holds values that are no numbers")
            found[name] = values
        return found

    def _fit(self, genotypes: Sequence[Genotype], targets: Floats, info: Info) -> None:
        """Learn from checked networks."""
        raise NotImplementedError(f"{type(self).__name__} must define _fit, or need no networks")

    @abstractmethod
    def _query(self, genotypes: Sequence[Genotype], info: Info) -> Floats:
        """Score networks, whose info is checked."""


def library(name: str, who: str) -> Any:
    """Import a library of the extra ``predictors``; nobody else waits for it, or needs it.

    Args:
        name: Module to import.
        who: Predictor that needs it, for the message.

    Raises:
        PredictorError: If it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise PredictorError(
            f"{who}: needs {name}, which cannot be imported ({error}): pip install 'sparsenas[predictors]', or leave "
            "this predictor out"
        ) from error
