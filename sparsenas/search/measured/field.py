"""References and architectures that may enter a tournament under a budget."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache

import numpy as np

from sparsenas.complexity import Complexity, network_cost
from sparsenas.errors import BudgetError, ConfigError
from sparsenas.limits import smaller
from sparsenas.networks import CHANNEL_GRID, NetworkConfig
from sparsenas.search.budget import Budget
from sparsenas.search.measured.history import Measurement
from sparsenas.search.measured.plan import LEAST, Field, Plan, Tournament
from sparsenas.search.measured.predicted import PredictedProposals
from sparsenas.search.measured.prior import Prior, prior_of, read_prior
from sparsenas.search.measured.proposals import Proposer
from sparsenas.spaces import REFERENCES, Genotype, SearchSpace, StageSpace
from sparsenas.spaces.features import describe

#: Random draws that references are compared with, where a prior is made of these.
DRAWS = 64


class Entry:
    """References and architectures of a space that fit a budget.

    Args:
        space: Search space.
        image_shape: ``(C, H, W)`` of the images.
        num_classes: Number of classes.
        network: Size of the networks; without ``channels``, the width fills the budget.
        budget: Limits of the networks.
        options: Options of the tournament.
        seed: Seeds draws.

    Attributes:
        zero_cost: Score of untrained networks by which draws are chosen; ``None`` for none.

    Raises:
        ConfigError: If an option is wrong; a ``BudgetError`` if nothing fits.
    """

    def __init__(
        self,
        space: SearchSpace,
        image_shape: tuple[int, int, int],
        num_classes: int,
        network: NetworkConfig,
        budget: Budget,
        options: Tournament,
        seed: int,
    ) -> None:
        self.space, self.image_shape, self.num_classes = space, image_shape, num_classes
        self.network, self.budget, self.options, self.seed = network, budget, options, seed
        self.zero_cost: Callable[[Genotype], float] | None = None
        self.sized = lru_cache(maxsize=4096)(self._sized)
        names = self._reference_names()
        self._references = {name: REFERENCES[name].genotype for name in names}
        self.prior = self._prior()
        self.proposer = Proposer(space, self.side, self.fits, self.prior, options.regression, seed)
        self._guide = PredictedProposals(space, self.fits, options.predictor, seed) if options.predictor else None

    @property
    def learned(self) -> bool:
        """True if the prior was learned from results, so that it can be believed."""
        return self.prior is not None and bool(self.prior.width)

    @property
    def side(self) -> int:
        """Smaller side of the images in pixels."""
        return min(self.image_shape[1:])

    def fits(self, genotype: Genotype) -> bool:
        """Say if a network keeps the budget; without a width of its own, at some width."""
        counts = {cell: Counter(candidate.primitive for candidate in kept) for cell, kept in genotype.cells}
        if any(name in counted for counted in counts.values() for name in self.budget.forbidden):
            return False
        for cell, limits in self.budget.max_per_cell.items():
            if any(counts.get(cell, Counter())[name] > most for name, most in limits.items()):
                return False
        try:
            self.sized(genotype)
        except ConfigError:
            return False
        return True

    def cost(self, genotype: Genotype) -> Complexity:
        """Parameters and MACs of the network of a genotype."""
        config = self.sized(genotype)
        return network_cost(genotype, self.image_shape, self.num_classes, config.channels or 0, config)

    def predicted(self, genotype: Genotype) -> float | None:
        """Milliseconds of the network of a genotype by the latency table; ``None`` without one."""
        if self.budget.latency_table is None:
            return None
        _, ms = self.budget.cost(genotype, self.image_shape, self.num_classes, self.sized(genotype))
        return ms

    @cached_property
    def unfit(self) -> tuple[str, ...]:
        """Names of the references that do not fit."""
        return tuple(name for name, genotype in self._references.items() if not self.fits(genotype))

    @cached_property
    def seeds(self) -> list[tuple[str, str]]:
        """Keys and origins of those who enter at the start, the most promising first.

        Raises:
            ConfigError: If there is no network for such images; a ``BudgetError`` if none keeps the budget.
        """
        found = [(genotype.to_json(), name) for name, genotype in self._references.items() if name not in self.unfit]
        rng, taken = np.random.default_rng(self.seed), {key for key, _ in found}
        drawn: list[Genotype] = []
        for number in range(self.options.random if self.zero_cost is None else self.options.filtered):
            genotype = self.proposer.draw(rng, taken, first=number == 0)
            if genotype is None:
                break
            taken.add(genotype.to_json())
            drawn.append(genotype)
        if self.zero_cost is not None:
            drawn.sort(key=self.zero_cost, reverse=True)
        for genotype in drawn[: self.options.random]:
            found.append((genotype.to_json(), "prior" if self.learned else "random"))
        if not found:
            raise self._why_none()
        if self.learned:  # what sets references apart does not order them
            expected = self.proposer.expect([], [key for key, _ in found])
            found = [found[index] for index in np.argsort([-item.mean for item in expected], kind="stable")]
            first = next((place for place, (_, origin) in enumerate(found) if origin in REFERENCES), 0)
            if first >= LEAST:  # whoever asks how a network made by hand did is told
                found.insert(LEAST - 1, found.pop(first))
        return found

    @property
    def field(self) -> Field:
        """All that may enter, for the plan."""
        return Field(self.seeds, self._propose, self.proposer.expect, self.learned)

    def announcement(self, plan: Plan, unit: str) -> str:
        """Say how the length will be spent."""
        stops = " and ".join(f"{rung * plan.length:.3g}{unit}" for rung in self.options.rungs)
        names = [origin for _, origin in self.seeds]
        references = sum(name in REFERENCES for name in names)
        least = (1 - self.options.governor.most) * plan.length
        left_out = f" (too large for the budget: {', '.join(self.unfit)})" if self.unfit else ""
        return (
            f"{plan.length:.3g}{unit} in all: at most {plan.most} networks are compared after {stops} of training "
            f"each, the most promising first, of {references} made by hand{left_out} and {len(names) - references} "
            f"others; what is chosen trains on for {least:.3g}{unit} or more"
        )

    def _propose(self, measured: Sequence[Measurement], taken: set[str], count: int) -> list[str]:
        proposals = self._guide or self.proposer
        return [genotype.to_json() for genotype in proposals.propose(measured, taken, count)]

    def _why_none(self) -> ConfigError:
        """Say why nothing fits: by the budget, unless not even the narrowest networks can be built, or timed."""
        drawn = self.space.sample(np.random.default_rng(self.seed))
        reasons: list[ConfigError] = []
        genotypes = [*self._references.values(), drawn]
        for genotype in genotypes:
            narrowest = replace(self._config(genotype), channels=CHANNEL_GRID)
            made = genotype, self.image_shape, self.num_classes
            try:
                network_cost(*made, CHANNEL_GRID, narrowest)
            except ConfigError as error:
                reasons.append(error)
                continue
            try:
                self.budget.cost(*made, narrowest)
            except ConfigError as error:  # of the latency table
                return error
        if len(reasons) == len(genotypes):
            return reasons[-1]
        width = self.network.channels
        ways = f"raise the budget, or {smaller(self.space.name)}"
        return BudgetError(
            f"budget: neither a reference nor a network of the space keeps {self.budget}, "
            + (f"at any width: {ways}" if width is None else f"with network.channels {width}: set it to null, {ways}")
        )

    def _config(self, genotype: Genotype) -> NetworkConfig:
        """Return the size of the network of a genotype apart from the width; that of stages says the depth itself."""
        stages = genotype.space == StageSpace.name
        return replace(self.network, cells=None) if stages else self.network

    def _sized(self, genotype: Genotype) -> NetworkConfig:
        """See :meth:`sparsenas.limits.Limits.sized`."""
        return self.budget.sized(genotype, self.image_shape, self.num_classes, self._config(genotype))

    def _reference_names(self) -> list[str]:
        given = self.options.references
        if given == "none" or (given == "all" and self.space.name != StageSpace.name):
            return []
        names = list(REFERENCES) if given == "all" else [given] if isinstance(given, str) else list(given)
        for name in names:
            if name not in REFERENCES:
                raise ConfigError(
                    f"tournament.references names {name!r}; use all, none, or a list of {', '.join(REFERENCES)}"
                )
        return names

    def _prior(self) -> Prior | None:
        name = self.options.prior
        if name == "none" or (name == "shipped" and self.space.name != StageSpace.name):
            return None
        if name != "references":
            return read_prior(name, self.space.name)
        if not self._references:
            raise ConfigError("tournament.prior is references, but none enter: name some, or use none")
        rng = np.random.default_rng(self.seed)
        random = [describe(self.space.sample(rng), self.side) for _ in range(DRAWS)]
        references = [describe(genotype, self.side) for genotype in self._references.values()]
        return prior_of(references, random, self.space.name)
