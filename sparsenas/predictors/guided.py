"""Search guided by a predictor: what to train next, given what was trained."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, Protocol

import numpy as np

from sparsenas.errors import BudgetError, PredictorError
from sparsenas.predictors.base import Floats, Info, Predictor
from sparsenas.spaces import Genotype, SearchSpace

#: Accuracies of the networks that were trained, in the order of their training.
Trained = Mapping[Genotype, float]
#: Draws without a new network after which a space is taken for exhausted.
PATIENCE = 200
#: Random draws until one keeps a budget.
DRAWS = 1000


class Neighbourhood(Protocol):
    """A space in which networks can be drawn and changed."""

    def sample(self, rng: np.random.Generator) -> Genotype:
        """Draw a network uniformly."""

    def mutate(self, genotype: Genotype, rng: np.random.Generator) -> Genotype:
        """Change one decision of a network."""


class Feasible:
    """The networks of a space that keep a rule, such as a budget.

    Args:
        space: The space.
        fits: Says if a network keeps the rule; it is asked once about each.
    """

    def __init__(self, space: SearchSpace, fits: Callable[[Genotype], bool]) -> None:
        self.space = space
        self._fits: dict[Genotype, bool] = {}
        self._ask = fits
        self._neighbours: dict[Genotype, tuple[Genotype, ...]] = {}

    def fits(self, genotype: Genotype) -> bool:
        """Say if a network keeps the rule."""
        if genotype not in self._fits:
            self._fits[genotype] = self._ask(genotype)
        return self._fits[genotype]

    def sample(self, rng: np.random.Generator) -> Genotype:
        """Draw a network uniformly from those that keep the rule.

        Raises:
            BudgetError: If none of many draws does.
        """
        for _ in range(DRAWS):
            genotype = self.space.sample(rng)
            if self.fits(genotype):
                return genotype
        raise BudgetError(f"none of {DRAWS} random networks of the space keeps the budget: raise it")

    def mutate(self, genotype: Genotype, rng: np.random.Generator) -> Genotype:
        """Change one decision of a network; draw one where no change keeps the rule."""
        if genotype not in self._neighbours:
            self._neighbours[genotype] = tuple(self.space.neighbours(genotype))
        neighbours = self._neighbours[genotype]
        order: list[int] = rng.permutation(len(neighbours)).tolist()
        for place in order:
            if self.fits(neighbours[place]):
                return neighbours[place]
        return self.sample(rng)


def unseen(
    candidates: Iterator[Genotype],
    known: Iterable[Genotype],
    count: int,
    same: Callable[[Genotype], Hashable],
    patience: float = math.inf,
) -> list[Genotype]:
    """Take candidates until there are ``count`` of which no two are the same, nor one known.

    Args:
        candidates: Networks in their order.
        known: Networks that are not taken.
        count: Number of networks.
        same: See :class:`SearchStrategy`.
        patience: Candidates without a new one after which no more are looked at.
    """
    keys, vain = {same(genotype) for genotype in known}, 0
    found: list[Genotype] = []
    while len(found) < count and vain < patience:
        genotype = next(candidates, None)
        if genotype is None:
            break
        key = same(genotype)
        vain = vain + 1 if key in keys else 0
        if not vain:
            keys.add(key)
            found.append(genotype)
    return found


class SearchStrategy(ABC):
    """Names networks to train next; never one that was trained, or computes the same as one.

    Args:
        space: The space.
        same: Gives the same for networks that compute the same, such as ``NasBench201Space().isomorphism``; by default
            only equal genotypes do.
    """

    def __init__(self, space: Neighbourhood, same: Callable[[Genotype], Hashable] = lambda genotype: genotype) -> None:
        self.space, self.same = space, same

    @abstractmethod
    def propose(self, trained: Trained, count: int, seed: int) -> list[Genotype]:
        """Name at most ``count`` networks, all new; fewer only if no others are found.

        Args:
            trained: What was trained; at least one network.
            count: Number of networks.
            seed: Seed of all draws.

        Raises:
            PredictorError: If a predictor cannot learn from what was trained.
        """

    def draw(self, trained: Iterable[Genotype], count: int, rng: np.random.Generator) -> list[Genotype]:
        """Draw new networks uniformly."""
        return self.new(lambda: self.space.sample(rng), trained, count)

    def new(self, draw: Callable[[], Genotype], trained: Iterable[Genotype], count: int) -> list[Genotype]:
        """Draw until there are ``count`` networks of which no two are the same, nor one trained."""
        return unseen(iter(draw, None), trained, count, self.same, PATIENCE)


class RandomStrategy(SearchStrategy):
    """Draws uniformly: what any guide has to beat."""

    def propose(self, trained: Trained, count: int, seed: int) -> list[Genotype]:
        """See :meth:`SearchStrategy.propose`."""
        return self.draw(trained, count, np.random.default_rng(seed))


class RegularizedEvolution(SearchStrategy):
    """Mutates the best of a few of those trained last.

    Args:
        space: The space.
        same: See :class:`SearchStrategy`.
        population: Number of those trained last that may be parents.
        tournament: Number of them among which a parent is the best.

    Raises:
        PredictorError: If an option is out of range.

    Source: Real et al., Regularized Evolution for Image Classifier Architecture Search (AAAI 2019); sizes as in White
        et al. (NeurIPS 2021).
    """

    def __init__(
        self,
        space: Neighbourhood,
        same: Callable[[Genotype], Hashable] = lambda genotype: genotype,
        population: int = 30,
        tournament: int = 10,
    ) -> None:
        super().__init__(space, same)
        if not 1 <= tournament <= population:
            raise PredictorError(
                f"population={population}, tournament={tournament}; need 1 <= tournament <= population"
            )
        self.population, self.tournament = population, tournament

    def propose(self, trained: Trained, count: int, seed: int) -> list[Genotype]:
        """See :meth:`SearchStrategy.propose`."""
        rng, alive = np.random.default_rng(seed), list(trained)[-self.population :]

        def child() -> Genotype:
            chosen = rng.choice(len(alive), min(self.tournament, len(alive)), replace=False)
            return self.space.mutate(max((alive[place] for place in chosen), key=trained.__getitem__), rng)

        return self.new(child, trained, count)


class GuidedStrategy(SearchStrategy):
    """Proposes the networks of which predictors, fitted to all that was trained, expect most.

    Args:
        space: The space.
        make: Makes a predictor from a seed.
        same: See :class:`SearchStrategy`.
        acquisition: ``mean`` takes the highest mean of the ensemble. ``thompson`` takes the highest of one normal draw
            for each candidate, with mean and deviation of the ensemble, so that what it does not know is tried.
        candidates: ``mutations`` of the best by one decision, and random networks where these are too few; or
            ``random`` networks only.
        ensemble: Number of predictors, which differ by their seed. With one, or where a seed changes nothing,
            ``thompson`` is the same as ``mean``.
        pool: Number of candidates.
        parents: Number of the best that are mutated.
        inform: Gives the info that the predictor requires, of networks.

    Raises:
        PredictorError: If an option is out of range.

    Source: White et al., BANANAS (AAAI 2021), for ``thompson``; Wei et al., NPENAS (2020), for ``mean`` with mutations;
        sizes as in White et al. (NeurIPS 2021).
    """

    def __init__(
        self,
        space: Neighbourhood,
        make: Callable[[int], Predictor],
        same: Callable[[Genotype], Hashable] = lambda genotype: genotype,
        acquisition: Literal["mean", "thompson"] = "mean",
        candidates: Literal["mutations", "random"] = "mutations",
        ensemble: int = 1,
        pool: int = 200,
        parents: int = 5,
        inform: Callable[[Sequence[Genotype]], Info] = lambda genotypes: {},
    ) -> None:
        super().__init__(space, same)
        if acquisition not in ("mean", "thompson") or candidates not in ("mutations", "random"):
            raise PredictorError(
                f"acquisition={acquisition!r}, candidates={candidates!r}; use mean or thompson, mutations or random"
            )
        if min(ensemble, pool, parents) < 1:
            raise PredictorError(f"ensemble={ensemble}, pool={pool}, parents={parents}; use at least 1")
        self.make, self.acquisition, self.candidates = make, acquisition, candidates
        self.ensemble, self.pool, self.parents, self.inform = ensemble, pool, parents, inform

    def propose(self, trained: Trained, count: int, seed: int) -> list[Genotype]:
        """See :meth:`SearchStrategy.propose`."""
        rng = np.random.default_rng(seed)
        pool = self._pool(trained, max(count, self.pool), rng)
        if not pool:
            return []
        known = list(trained)
        learned, asked = self.inform(known), self.inform(pool)
        targets: Floats = np.array([trained[genotype] for genotype in known])
        scores = []
        for member in range(self.ensemble):
            predictor = self.make(int(rng.integers(2**31)) + member)
            predictor.fit(known, targets, learned)
            scores.append(predictor.query(pool, asked))
        expected = np.mean(scores, axis=0)
        if self.acquisition == "thompson":
            expected = rng.normal(expected, np.std(scores, axis=0))
        return [pool[place] for place in np.argsort(-expected, kind="stable")[:count]]

    def _pool(self, trained: Trained, size: int, rng: np.random.Generator) -> list[Genotype]:
        """Draw the candidates."""
        if self.candidates == "random":
            return self.draw(trained, size, rng)
        best = sorted(trained, key=trained.__getitem__, reverse=True)[: self.parents]
        mutations = self.new(lambda: self.space.mutate(best[int(rng.integers(len(best)))], rng), trained, size)
        # the neighbours of the best are few
        return mutations + self.draw([*trained, *mutations], size - len(mutations), rng)


def guided_search(
    strategy: SearchStrategy,
    measure: Callable[[Genotype], float],
    budget: int,
    initial: int = 20,
    batch: int = 10,
    seed: int = 0,
) -> dict[Genotype, float]:
    """Train random networks, then what a strategy proposes, until a budget is spent.

    Args:
        strategy: Names what to train.
        measure: Trains a network, or looks it up; gives its accuracy.
        budget: Number of networks, the initial ones included.
        initial: Number of random networks at the start.
        batch: Number of networks that are proposed at once.
        seed: Seed of all draws.

    Returns:
        Accuracies of all networks, in the order of their training; fewer than the budget if the space has no others.

    Raises:
        PredictorError: If a number is out of range, an accuracy is no number, or a predictor cannot learn from what was
            trained.
    """
    if not 1 <= initial <= budget or batch < 1:
        raise PredictorError(
            f"initial={initial}, batch={batch}, budget={budget}; need 1 <= initial <= budget, batch >= 1"
        )
    rng = np.random.default_rng(seed)
    trained: dict[Genotype, float] = {}
    proposed = strategy.draw(trained, initial, rng)
    while proposed:
        for genotype in proposed:
            trained[genotype] = float(measure(genotype))
            if not np.isfinite(trained[genotype]):
                raise PredictorError(f"network {len(trained)} has the accuracy {trained[genotype]}; give a number")
        count = min(batch, budget - len(trained))
        proposed = strategy.propose(trained, count, int(rng.integers(2**31))) if count else []
    return trained
