"""Search by neural architecture optimization."""

from collections.abc import Callable, Hashable

import numpy as np

from sparsenas.errors import PredictorError
from sparsenas.predictors.fitting import Fitting
from sparsenas.predictors.guided import Feasible, SearchStrategy, Trained
from sparsenas.predictors.nao import FITTING, PRETRAINING, NeuralArchitectureOptimizer
from sparsenas.spaces import DecisionSequence, Genotype, SearchSpace


class NaoStrategy(SearchStrategy):
    """Proposes networks to which a :class:`NeuralArchitectureOptimizer` improves the best of those trained.

    Args:
        space: The space, or the networks of it that keep a budget.
        same: See :class:`SearchStrategy`.
        seeds: Number of the best that are improved.
        fitting: Options of the training.
        pretraining: Options of the training on random networks.

    Raises:
        ConfigError: If the space is not made of blocks.
        PredictorError: If an option is out of range.

    Source: Luo et al., Neural Architecture Optimization (NeurIPS 2018).

    Differs: each proposal fits a new optimizer, so that it depends on nothing but its arguments.
    """

    def __init__(
        self,
        space: SearchSpace | Feasible,
        same: Callable[[Genotype], Hashable] = lambda genotype: genotype,
        seeds: int = 20,
        fitting: Fitting = FITTING,
        pretraining: Fitting = PRETRAINING,
    ) -> None:
        self.feasible = space if isinstance(space, Feasible) else Feasible(space, lambda genotype: True)
        super().__init__(self.feasible, same)
        if seeds < 1:
            raise PredictorError(f"seeds={seeds}; use at least 1")
        self.sequence, self.seeds = DecisionSequence(self.feasible.space), seeds
        self.fitting, self.pretraining = fitting, pretraining

    def propose(self, trained: Trained, count: int, seed: int) -> list[Genotype]:
        """See :meth:`SearchStrategy.propose`."""
        known = list(trained)
        optimizer = NeuralArchitectureOptimizer(self.sequence, self.fitting, self.pretraining, seed)
        optimizer.fit(known, np.array(list(trained.values())), {})
        best = sorted(known, key=trained.__getitem__, reverse=True)[: self.seeds]
        rng = np.random.default_rng(seed)
        return list(optimizer.propose(best, known, count, rng, self.feasible.fits, self.same).genotypes)
