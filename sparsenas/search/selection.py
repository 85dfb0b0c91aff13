"""Decisions of a search over shared weights: measure architectures, keep the best."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sparsenas.errors import ConfigError
from sparsenas.networks import SuperNet
from sparsenas.search.held_out import best_measured
from sparsenas.search.searcher import ImageBatch
from sparsenas.spaces import SearchSpace, Support
from sparsenas.sparse_coding import Constraints

#: Score of an architecture, more is better.
Score = Callable[[Support], float]


@dataclass(frozen=True)
class TrainedSuperNet:
    """A super-net whose training is over, and the images that compare its architectures.

    Attributes:
        network: The super-net in evaluation mode.
        score: Score of an architecture with the shared weights on the held-out images; more is better.
        batches: These images, in the order in which they came.
        final_score: The same on all validation images; ``None`` where there are none.
    """

    network: SuperNet
    score: Score
    batches: Sequence[ImageBatch]
    final_score: Score | None = None


@dataclass(frozen=True)
class Selected:
    """The architecture that a selection decided for.

    Attributes:
        support: The architecture.
        scores: Architectures and their scores, in the order in which they were measured.
    """

    support: Support
    scores: Mapping[Support, float]


class Selection(ABC):
    """Chooses which architectures are measured, and which of them is kept."""

    @property
    def validates(self) -> bool:
        """True if it asks for the ``final_score``, on validation images."""
        return False

    @abstractmethod
    def measure(self, space: SearchSpace, score: Score, rng: np.random.Generator) -> dict[Support, float]:
        """Measure architectures; returns their scores in the order of measuring, each once."""

    def select(
        self,
        trained: TrainedSuperNet,
        constraints: Constraints,
        measured: Mapping[Support, float],
        rng: np.random.Generator,
    ) -> Selected:
        """Decide for an architecture: the best of those that are measured.

        Args:
            trained: The super-net.
            constraints: Rules of what may be kept.
            measured: Scores that an earlier call gave; if there are any, nothing is measured again.
            rng: Source of all draws.

        Raises:
            ConfigError: If nothing can be measured yet, or the constraints allow none of the measured architectures.
        """
        if not measured and not trained.batches:
            raise ConfigError("nothing has been measured yet: let the search run to its end")
        measured = measured or self.measure(trained.network.space, trained.score, rng)
        return Selected(best_measured(measured, constraints), measured)


@dataclass(frozen=True)
class BestOf(Selection):
    """Measure architectures drawn uniformly from the space, and the best of them again on all validation images.

    Scores on few images differ by chance: the best of many is among those that were lucky.

    Attributes:
        count: Number of architectures; all of them where the space has fewer.
        finalists: Number of those that are measured again; the best of these is kept, and 0 keeps the best of all.

    Raises:
        ConfigError: If ``count`` is below 1, or ``finalists`` below 0 or above ``count``.

    Source: Li and Talwalkar, Random Search and Reproducibility for NAS (UAI 2019): random search with weight sharing;
        with 10 finalists of 1,000 that of its code, and of Zhang et al., EN2AS (IJCAI 2020).

    Differs: their codes repeat both steps, up to three times, and list the winners.
    """

    count: int = 100
    finalists: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.count < 1:
            raise ConfigError(f"selection.count is {self.count}; measure at least 1 architecture")
        if not 0 <= self.finalists <= self.count:
            raise ConfigError(
                f"selection: finalists={self.finalists}, count={self.count}; need 0 <= finalists <= count"
            )

    @property
    def validates(self) -> bool:
        """See :class:`Selection`."""
        return self.finalists > 0

    def select(
        self,
        trained: TrainedSuperNet,
        constraints: Constraints,
        measured: Mapping[Support, float],
        rng: np.random.Generator,
    ) -> Selected:
        """See :class:`Selection`; scores of finalists are those by which they became it.

        A search that was read from a checkpoint has no images: it decides by these.
        """
        selected = super().select(trained, constraints, measured, rng)
        if not self.finalists or trained.final_score is None:
            return selected
        allowed = filter(constraints.allows, selected.scores)
        finalists = sorted(allowed, key=selected.scores.__getitem__, reverse=True)[: self.finalists]
        return Selected(max(finalists, key=trained.final_score), selected.scores)

    def measure(self, space: SearchSpace, score: Score, rng: np.random.Generator) -> dict[Support, float]:
        """See :meth:`Selection.measure`."""
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
        """See :meth:`Selection.measure`."""
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
