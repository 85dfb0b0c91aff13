"""Proposals by a predictor of accuracy, in the place of the code's."""

from collections.abc import Callable, Sequence

import numpy as np

from sparsenas.errors import ConfigError, GenotypeError
from sparsenas.predictors import SUITE, Feasible, GuidedStrategy, make_predictor
from sparsenas.search.measured.history import Measurement, scores
from sparsenas.search.measured.proposals import identity
from sparsenas.spaces import Genotype, SearchSpace, encoding_of


class PredictedProposals:
    """Proposes the neighbours of the best measured networks of which a predictor expects most.

    It learns from the scores of one rung, of networks of the space only: its encoding describes no others.

    Args:
        space: Search space.
        fits: Says if an architecture fits the budget.
        predictor: Name of a predictor that learns from genotypes alone.
        seed: Seeds draws, and the predictor.

    Raises:
        ConfigError: If there is no such predictor.
    """

    def __init__(self, space: SearchSpace, fits: Callable[[Genotype], bool], predictor: str, seed: int) -> None:
        known = [name for name, entry in SUITE.items() if entry.family == "model"]
        if predictor not in known:
            raise ConfigError(f"tournament.predictor is {predictor!r}; use null, or one of {', '.join(known)}")
        self.space, self.seed = space, seed
        encoding = encoding_of(space)
        self._strategy = GuidedStrategy(
            Feasible(space, fits),
            lambda seed: make_predictor(predictor, encoding, seed),
            lambda genotype: identity(genotype.to_json()),
        )
        self._least = make_predictor(predictor, encoding).least
        self._proposed: dict[tuple[tuple[Measurement, ...], frozenset[str], int], list[Genotype]] = {}

    def propose(self, measured: Sequence[Measurement], taken: set[str], count: int) -> list[Genotype]:
        """Name new architectures that fit; random ones while too few were measured to learn from.

        Args:
            measured: Measurements of one rung.
            taken: Keys of all that have entered.
            count: Most architectures.
        """
        asked = tuple(measured), frozenset(taken), count
        if asked not in self._proposed:  # the plan asks again and again
            self._proposed[asked] = self._propose(measured, taken, count)
        return self._proposed[asked]

    def _propose(self, measured: Sequence[Measurement], taken: set[str], count: int) -> list[Genotype]:
        values = scores(measured, believing=False)
        trained: dict[Genotype, float] = {}
        for measurement, score in zip(measured, values.tolist(), strict=True):
            genotype = Genotype.from_json(measurement.entrant.key)
            if self._is_described(genotype):
                trained[genotype] = score
        seed = int(np.random.default_rng((self.seed, len(measured))).integers(2**31))
        if len(trained) < self._least or len(set(trained.values())) < 2:
            return self._strategy.draw(map(Genotype.from_json, taken), count, np.random.default_rng(seed))
        known = {identity(key) for key in taken}
        proposed = self._strategy.propose(trained, count + len(taken), seed)
        return [genotype for genotype in proposed if identity(genotype.to_json()) not in known][:count]

    def _is_described(self, genotype: Genotype) -> bool:
        try:
            self.space.validate(genotype)
        except GenotypeError:
            return False
        return True
