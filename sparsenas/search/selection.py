"""How a search over shared weights decides: measure architectures, keep the best."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sparsenas.errors import ConfigError
from sparsenas.spaces import SearchSpace, Support

#: Score of an architecture, more is better.
Score = Callable[[Support], float]


class Selection(ABC):
    """Chooses which architectures are measured."""

    @abstractmethod
    def measure(self, space: SearchSpace, score: Score, rng: np.random.Generator) -> dict[Support, float]:
        """Architectures and their scores, in the order in which they were measured, each once."""


@dataclass(frozen=True)
class BestOf(Selection):
    """Measure architectures drawn uniformly from the space.

    Attributes:
        count: How many; all of them where the space has fewer.

    Raises:
        ConfigError: If ``count`` is below 1.

    Source: Li and Talwalkar, Random Search and Reproducibility for NAS (UAI 2019): random search with weight sharing.
    """

    count: int = 100

    def __post_init__(self) -> None:
        """Check the number."""
        if self.count < 1:
            raise ConfigError(f"selection.count is {self.count}; measure at least 1 architecture")

    def measure(self, space: SearchSpace, score: Score, rng: np.random.Generator) -> dict[Support, float]:
        """See :class:`Selection`."""
        measured: dict[Support, float] = {}
        while len(measured) < min(self.count, space.size):
            support = space.sample_support(rng)
            if support not in measured:
                measured[support] = score(support)
        return measured


@dataclass(frozen=True)
class RegularizedEvolution(Selection):
    """Mutate the best of a random sample of the population, whose oldest member dies.

    Attributes:
        evaluations: Mutants and first members together, measured anew or not.
        population: Members.
        tournament: Members sampled for each mutation.

    Raises:
        ConfigError: If the numbers do not fit together.

    Source: Real et al., Regularized Evolution for Image Classifier Architecture Search (AAAI 2019); defaults of Yu et
        al., How to Train Your Super-Net (2020), but for the evaluations, of which their code makes up to 1,000.
    """

    evaluations: int = 200
    population: int = 50
    tournament: int = 10

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 1 <= self.tournament <= self.population <= self.evaluations:
            raise ConfigError(
                f"selection: tournament={self.tournament}, population={self.population}, evaluations="
                f"{self.evaluations}; need 1 <= tournament <= population <= evaluations"
            )

    def measure(self, space: SearchSpace, score: Score, rng: np.random.Generator) -> dict[Support, float]:
        """See :class:`Selection`."""
        measured: dict[Support, float] = {}

        def member(support: Support) -> Support:
            if support not in measured:
                measured[support] = score(support)
            return support

        members = deque((member(space.sample_support(rng)) for _ in range(self.population)), maxlen=self.population)
        for _ in range(self.evaluations - self.population):
            sampled = rng.choice(self.population, size=self.tournament, replace=False)
            parent = max((members[i] for i in sampled), key=measured.__getitem__)
            members.append(member(space.support(space.mutate(space.genotype(parent), rng))))
        return measured
