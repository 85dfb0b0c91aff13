"""Selection by a genetic algorithm: crossover and mutation of the best, with shared weights."""

from dataclasses import dataclass

import numpy as np

from sparsenas.errors import ConfigError
from sparsenas.search.moves import cross, redraw_each
from sparsenas.search.selection import Score, Selection
from sparsenas.spaces import SearchSpace, Support


@dataclass(frozen=True)
class Genetic(Selection):
    """Cross and mutate the best, generation by generation; of parents and children the best survive.

    Attributes:
        population: Members, and children of a generation; each is measured once in the whole search.
        generations: Generations of children.
        crossover: Share of the children that two parents have. Parents are the best of the population, as many as there
            are such children, paired at random. The other children are mutants of the best, one of each.
        mutation: Probability with which each decision of a mutant is drawn anew.

    Raises:
        ConfigError: If an option is out of range.

    Source: Zhang et al., EN2AS (IJCAI 2020), numbers of its code.

    Differs: there, two parents exchange a stretch of genes, and by a slip one child of each pair is a parent as it was;
        here each child draws every decision from either parent. Equal members are one here.
    """

    population: int = 100
    generations: int = 60
    crossover: float = 0.6
    mutation: float = 0.2

    def __post_init__(self) -> None:
        """Check the options."""
        if self.population < 2 or self.generations < 0:
            raise ConfigError(
                f"selection: population={self.population}, generations={self.generations}; need a population of at "
                "least 2, and 0 or more generations"
            )
        for name, share in (("crossover", self.crossover), ("mutation", self.mutation)):
            if not 0.0 <= share <= 1.0:
                raise ConfigError(f"selection.{name} is {share}; it lies in [0, 1]")

    def measure(self, space: SearchSpace, score: Score, rng: np.random.Generator) -> dict[Support, float]:
        """See :meth:`Selection.measure`."""
        measured: dict[Support, float] = {}

        def survivors(members: list[Support]) -> list[Support]:
            for member in members:
                if member not in measured:
                    measured[member] = score(member)
            return sorted(dict.fromkeys(members), key=measured.__getitem__, reverse=True)[: self.population]

        members = survivors([space.sample_support(rng) for _ in range(self.population)])
        for _ in range(self.generations):
            members = survivors([*members, *self._children(space, members, rng)])
        return measured

    def _children(self, space: SearchSpace, members: list[Support], rng: np.random.Generator) -> list[Support]:
        """Make the children of members, of which the best comes first."""
        crossed = round(self.crossover * self.population)
        parents, mutants = members[:crossed], members[: self.population - crossed]
        pairs = rng.integers(len(parents), size=(crossed, 2)).tolist() if crossed else []
        return [
            *(cross(space, parents[first], parents[second], rng) for first, second in pairs),
            *(redraw_each(space, mutant, self.mutation, rng) for mutant in mutants),
        ]
