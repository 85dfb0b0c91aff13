"""Paths unlike those that were trained before: novelty search on the super-net, after EN2AS."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sparsenas.errors import ConfigError
from sparsenas.networks import SuperNet
from sparsenas.search.baselines.decision_draws import DecisionDraws, connected
from sparsenas.search.baselines.distances import Described, describe, distances, nearest
from sparsenas.search.baselines.paths import PathDraws, PathSampling, UniformPaths
from sparsenas.search.moves import redraw_each
from sparsenas.spaces import SearchSpace, Support

Floats = NDArray[np.float64]

#: Where the candidates of a draw come from.
Proposal = Literal["best_of", "evolution_strategy", "genetic"]
#: Step of the logits, and the least entropy of a decision as a share of its largest: with larger steps or less entropy,
#: distributions ran ahead of the archive, and paths were more alike than uniform draws.
STEP, ENTROPY = 0.02, 0.95
#: Probability with which a decision of the parent is drawn anew: with less, mutants crowd around their parents, and
#: were more alike than uniform draws, too.
MUTATION = 0.5


@dataclass(frozen=True)
class NoveltyPaths(PathSampling):
    r"""One path per batch, the one of some candidates that is least like those trained last.

    The novelty of an architecture is its mean distance to the nearest of those. The distance is the share of decisions
    that differ, and 0 between architectures that the space knows to be equivalent. Networks that are cut off are never
    candidates.

    Attributes:
        archive: Trained architectures that count, the last ones.
        neighbours: Nearest ones over which distances are averaged; the first paths of a run are uniform, until there
            are so many.
        proposal: ``best_of``: candidates are uniform draws. ``evolution_strategy``: they are drawn from one categorical
            distribution per decision, whose logits follow :math:`\nabla \log p` times standardised novelty, as far as
            their entropy allows. ``genetic``: they are mutants of the most novel of as many members of the archive.
        candidates: Candidates of a draw.
        uniform: Probability of a uniform draw instead, so that nothing starves.
        novelty: Weight of the novelty, standardised over the candidates; the rest is that of a low expected loss, the
            mean of the losses of the nearest ones without their trend. Below 1 every step waits for its loss.

    Raises:
        ConfigError: If an option is out of range.

    Source: Zhang et al., One-Shot Neural Architecture Search via Novelty Driven Sampling (IJCAI 2020), "EN2AS".

    Differs: in the released code the architectures are rounded numbers, which steps this small never move, the distance
        sees half of the nodes, and an error would add to the fitness. Here all decisions count, distributions move, and
        a low loss adds.
    """

    archive: int = 1000
    neighbours: int = 10
    proposal: Proposal = "best_of"
    candidates: int = 8
    uniform: float = 0.1
    novelty: float = 1.0

    def __post_init__(self) -> None:
        """Check the options."""
        if not 1 <= self.neighbours < self.archive:
            raise ConfigError(
                f"paths: neighbours={self.neighbours}, archive={self.archive}; need 1 <= neighbours < archive"
            )
        if self.proposal not in get_args(Proposal):
            raise ConfigError(f"paths.proposal is {self.proposal!r}; use {', '.join(get_args(Proposal))}")
        if self.candidates < 2:
            raise ConfigError(f"paths.candidates is {self.candidates}; of at least 2 one can be the most novel")
        for name, share in (("uniform", self.uniform), ("novelty", self.novelty)):
            if not 0.0 <= share <= 1.0:
                raise ConfigError(f"paths.{name} is {share}; it lies in [0, 1]")

    def begin(self, network: SuperNet, rng: np.random.Generator) -> "NoveltyDraws":
        """See :class:`PathSampling`.

        Raises:
            ConfigError: If the sampling does not fit the space, which also has to be larger than the archive.
        """
        space = network.space
        UniformPaths(self.untrained).begin(network, rng)  # raises where there is nothing to draw
        if self.archive > space.size:
            raise ConfigError(
                f"paths.archive is {self.archive}, but the space {space.name} has {space.size} architectures, so that "
                "none would stay new; use a smaller archive"
            )
        return NoveltyDraws(self, space)


class NoveltyDraws(PathDraws):
    """The draws of :class:`NoveltyPaths`, and the archive: a ring of the architectures trained last.

    Args:
        options: Options.
        space: Search space.

    Raises:
        ConfigError: If all networks of trained primitives are cut off.
    """

    def __init__(self, options: NoveltyPaths, space: SearchSpace) -> None:
        self.options, self.space = options, space
        self.hears = options.novelty < 1
        self._decisions = DecisionDraws(space, options.untrained)
        self._logits = self._decisions.uniform
        self._drawn = 0
        self._supports: list[Support] = []
        self._described = Described(
            np.zeros((options.archive, len(self._logits)), dtype=np.float32), np.zeros(options.archive, dtype=np.int64)
        )
        self._losses: Floats = np.zeros(options.archive)
        self._uniform(np.random.default_rng(0))

    def draw(self, rng: np.random.Generator) -> tuple[Support, ...]:
        """See :class:`PathDraws`."""
        propose = {
            "best_of": self._best_of,
            "evolution_strategy": self._evolution_strategy,
            "genetic": self._genetic,
        }[self.options.proposal]
        first = len(self._supports) <= self.options.neighbours  # one more than a member has neighbours
        path = self._uniform(rng) if first or rng.random() < self.options.uniform else propose(rng)
        slot = self._drawn % self.options.archive
        self._supports[slot : slot + 1] = [path]
        self._remember(slot, [path])
        self._drawn += 1
        return (path,)

    def heard(self, losses: Sequence[float]) -> None:
        """See :class:`PathDraws`; a loss that is no number counts as the worst."""
        (loss,) = losses
        known = self._losses[: len(self._supports)]
        self._losses[(self._drawn - 1) % self.options.archive] = loss if isfinite(loss) else known.max()

    def state_dict(self) -> dict[str, Any]:
        """See :class:`PathDraws`."""
        return {
            "drawn": self._drawn,
            "supports": list(self._supports),
            "losses": self._losses[: len(self._supports)].tolist(),
            "logits": self._logits.tolist(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :class:`PathDraws`."""
        self._drawn, self._supports = state["drawn"], list(state["supports"])
        self._logits = np.array(state["logits"])
        self._losses[: len(self._supports)] = state["losses"]
        self._remember(0, self._supports)

    def scores(self, supports: Sequence[Support], members: Sequence[int] | None = None) -> Floats:
        """Score candidates, shape ``(n,)``: more is better.

        Args:
            supports: Candidates.
            members: Their places in the archive if they are members of it, which do not count as their own neighbours.
        """
        count = len(self._supports)
        archive = Described(self._described.kept[:count], self._described.classes[:count])
        between = distances(describe(self.space, supports), archive)
        if members is not None:
            between[np.arange(len(members)), members] = np.inf
        places = nearest(between, self.options.neighbours)
        novelty: Floats = np.take_along_axis(between, places, 1).mean(1)
        if not self.hears:
            return novelty
        expected: Floats = self._expected_losses()[places].mean(1)
        weight = self.options.novelty
        return weight * _standardised(novelty) - (1 - weight) * _standardised(expected)

    def _remember(self, slot: int, supports: Sequence[Support]) -> None:
        """Describe members of the archive from a slot on."""
        described, places = describe(self.space, supports), slice(slot, slot + len(supports))
        self._described.kept[places], self._described.classes[places] = described

    def _expected_losses(self) -> Floats:
        """Losses of the archive without their trend: all fall while the super-net learns, and old ones are no worse."""
        count = len(self._supports)
        ages = (self._drawn - 1 - np.arange(count)) % self.options.archive
        losses = self._losses[:count]
        expected: Floats = losses - np.polyval(np.polyfit(ages, losses, 1), ages)
        return expected

    def _uniform(self, rng: np.random.Generator) -> Support:
        (path,), _ = self._decisions.draw(self._decisions.uniform, 1, rng)
        return path

    def _best_of(self, rng: np.random.Generator) -> Support:
        supports, _ = self._decisions.draw(self._decisions.uniform, self.options.candidates, rng)
        return supports[int(self.scores(supports).argmax())]

    def _evolution_strategy(self, rng: np.random.Generator) -> Support:
        supports, gradients = self._decisions.draw(self._logits, self.options.candidates, rng)
        scores = self.scores(supports)
        step = STEP * (_standardised(scores)[:, None] * gradients).mean(0)
        self._logits = self._decisions.spread(self._logits + step, ENTROPY)
        return supports[int(scores.argmax())]

    def _genetic(self, rng: np.random.Generator) -> Support:
        count = self.options.candidates
        members = rng.choice(len(self._supports), size=min(count, len(self._supports)), replace=False).tolist()
        scores = self.scores([self._supports[place] for place in members], members)
        parent = self._supports[members[int(scores.argmax())]]
        mutants = [redraw_each(self.space, parent, MUTATION, rng, self._decisions.left_out) for _ in range(count)]
        mutants = [mutant for mutant in mutants if connected(self.space, mutant)] or [parent]
        return mutants[int(self.scores(mutants).argmax())]


def _standardised(values: Floats) -> Floats:
    deviation = float(values.std())
    standardised: Floats = (values - values.mean()) / (deviation if deviation > 0 else 1.0)
    return standardised
