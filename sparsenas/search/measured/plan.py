"""The plan of a tournament: what to measure next, decided by the history alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isfinite, log
from typing import NamedTuple

import numpy as np

from sparsenas.errors import ConfigError
from sparsenas.search.measured.governor import Governor, Verdict
from sparsenas.search.measured.history import Entrant, History, Measurement, scores
from sparsenas.search.measured.prior import SHIPPED
from sparsenas.search.measured.proposals import Expected
from sparsenas.sparse_coding import GroupRegression
from sparsenas.zero_cost import ZeroCostScore

#: Entrants that are measured in any case, if there are as many, in the order of the field.
LEAST = 3


@dataclass(frozen=True)
class Tournament:
    """Options of a tournament.

    Attributes:
        rungs: Shares of the whole length after which entrants are compared, before the winner trains to the end.
        references: Names of the references that enter, or ``all``, or ``none``.
        random: Most random draws at the start.
        rounds: Rounds of proposals.
        proposals: Most proposals of a round.
        horizon: For each rung, what a network of e times the MACs is expected to gain in the rest of a training of
            equal seconds beyond its loss there, in deviations between networks: small ones learn fast, and are
            overtaken. The last number is for further rungs, too. In trainings of equal steps it is not used.
        keep: Share of the entrants of a rung that may go on to the next one; at least one does.
        prior: ``shipped``, ``references`` (what sets them apart from random draws), ``none``, or a file: the
            ``result.json`` of an earlier tournament.
        belief: For each rung, what a deviation that a learned prior expects counts beside one that is measured, as far
            as both agree.
        governor: Decides when to stop searching.
        regression: Recovers codes.
        predictor: Name of a predictor of accuracy that proposes in the place of the code; ``None`` for the code.
        again: Trainings at the first rung with fresh seeds of what was found and of the best reference, by which alone
            one is said to be better.
        filter: Score of untrained networks by which random draws are chosen; ``None`` takes them as they come.
        filtered: Draws of which the filter chooses.
        images: Most validation images for comparisons.
        bootstraps: Number of bootstraps over these images.

    Raises:
        ConfigError: If a number is out of range.
    """

    rungs: tuple[float, ...] = (1 / 96, 1 / 24)
    references: tuple[str, ...] | str = "all"
    random: int = 4
    rounds: int = 2
    proposals: int = 3
    horizon: tuple[float, ...] = (2.3, 2.0)
    keep: float = 0.25
    prior: str = SHIPPED
    belief: tuple[float, ...] = (1.0, 0.7)
    governor: Governor = Governor()
    regression: GroupRegression = field(default_factory=GroupRegression)
    predictor: str | None = None
    again: int = 0
    filter: ZeroCostScore | None = None
    filtered: int = 64
    images: int = 1000
    bootstraps: int = 1000

    def __post_init__(self) -> None:
        """Check the numbers."""
        growing = list(self.rungs) == sorted(set(self.rungs))
        if not self.rungs or not growing or not 0 < self.rungs[0] <= self.rungs[-1] < 1:
            raise ConfigError(f"tournament.rungs is {list(self.rungs)}; give growing shares of the length in (0, 1)")
        counts = {name: getattr(self, name) for name in ("random", "rounds", "proposals", "again", "filtered")}
        if min(counts.values()) < 0 or not 0 < self.keep < 1:
            raise ConfigError(f"tournament: {counts}, keep={self.keep}; counts are at least 0, and keep lies in (0, 1)")
        if not self.random and (self.references == "none" or not self.references):
            raise ConfigError("tournament: random is 0 and references are none, so nothing would compete; raise one")
        if not self.horizon or not self.belief or min(self.belief) < 0:
            raise ConfigError(
                f"tournament: horizon={list(self.horizon)}, belief={list(self.belief)}; give a number for each rung, "
                "0 for none; belief is not below 0"
            )
        if self.images < 1 or self.bootstraps < 1:
            raise ConfigError(f"tournament: images={self.images}, bootstraps={self.bootstraps}; both are at least 1")

    def beyond(self, rung: int, macs: int, expected: float) -> tuple[float, float]:
        """Bonus of a network at a rung, and what of an expected score counts; see ``horizon`` and ``belief``."""
        horizon, belief = (numbers[min(rung, len(numbers) - 1)] for numbers in (self.horizon, self.belief))
        return horizon * log(max(macs, 1)), belief * expected

    def most_going_on(self, seeds: int) -> int:
        """Most entrants that go on from the first rung, if so many enter at the start."""
        return max(1, round(self.keep * (seeds + self.rounds * self.proposals)))


class Task(NamedTuple):
    """A training to be made."""

    entrant: Entrant
    rung: int
    repeat: int = 0


class Field(NamedTuple):
    """All that may enter.

    Attributes:
        seeds: Keys and origins of those who enter at the start, the most promising first.
        propose: Names the keys of new ones, from measurements of the first rung and the keys that have entered.
        expect: Expects scores of keys beside measurements of the first rung.
        learned: True if a learned prior names them.
    """

    seeds: Sequence[tuple[str, str]]
    propose: Callable[[Sequence[Measurement], set[str], int], Sequence[str]]
    expect: Callable[[Sequence[Measurement], Sequence[str]], Sequence[Expected]]
    learned: bool = False


@dataclass
class Plan:
    """Order of the measurements.

    First the seeds are measured at the first rung, then what a code proposes, as long as the governor finds another
    one worth its time. Then the best go on to the next rung, the most promising first, likewise. Only the history and
    the field decide, so that a tournament that was killed goes on as it would have.

    Attributes:
        options: Options.
        field: Who may enter.
        length: Whole length, in units.
        verdict: The last verdict of the governor that ended something.
    """

    options: Tournament
    field: Field
    length: float
    verdict: Verdict | None = None

    @property
    def governor(self) -> Governor:
        """The governor, who knows whether a prior was learned."""
        return self.options.governor.informed() if self.field.learned else self.options.governor

    @property
    def most(self) -> int:
        """Most networks that are compared: those who may enter, as far as the governor has time for them."""
        entrants = len(self.field.seeds) + self.options.rounds * self.options.proposals
        share = self.options.governor.most if self.options.governor.share is None else self.options.governor.share
        return max(1, min(entrants, int(share / self.options.rungs[0])))

    def next(self, history: History) -> Task | None:
        """Say what to measure next; ``None`` if the winner is to be trained."""
        task = self._enter(history)
        rung = 1
        while task is None and rung < len(self.options.rungs):
            task = self._go_on(history, rung)
            rung += 1
        return task or self._again(history)

    def _again(self, history: History) -> Task | None:
        """The next training with a fresh seed, of what was found and of the best reference beside it."""
        alive = [m.entrant for m in history.order() if isfinite(m.loss)]
        reference = next((entrant for entrant in alive if entrant.is_reference), None)
        if reference is None or alive[0] is reference:
            return None
        for repeat in range(1, self.options.again + 1):
            for entrant in (alive[0], reference):
                if len(history.repeats(entrant)) < repeat:
                    return Task(entrant, 0, repeat)
        return None

    def _enter(self, history: History) -> Task | None:
        """The next one to enter."""
        if history.highest > 0 or not self.field.seeds:
            return None  # who goes on was decided when the first one did
        entered = history.entrants
        for wave in range(self.options.rounds + 1):
            now = [entrant for entrant in entered if entrant.wave == wave]
            before = [m for m in history.at(0) if m.entrant.wave < wave]
            if wave < max((entrant.wave for entrant in entered), default=0):
                continue  # over
            keys = {entrant.key for entrant in entered}
            if wave == 0:
                open_ = [(key, origin) for key, origin in self.field.seeds if key not in keys]
            else:
                taken = {m.entrant.key for m in before}
                named = self.field.propose(before, taken, self.options.proposals)
                open_ = [(key, "proposed") for key in named if key not in keys]
                if len(now) >= self.options.proposals:
                    open_ = []
            if open_ and (wave == 0 or self.options.proposals):
                task = self._worthwhile(history, open_, wave)
                if task is not None:
                    return task
        return None

    def _worthwhile(self, history: History, open_: Sequence[tuple[str, str]], wave: int) -> Task | None:
        """The most promising of those who could enter, if it is worth its time."""
        measured, number = history.at(0), len(history.entrants)
        expected = self.field.expect(measured, [key for key, _ in open_])
        # before anything is known, in their order
        first = int(np.argmax([item.mean for item in expected])) if len(measured) >= LEAST else 0
        key, origin = open_[first]
        task = Task(Entrant(number, key, origin, wave), 0)
        if not measured:
            return task
        governor, left = self.governor, self.length - history.spent
        cost = float(np.median([m.spent for m in measured]))
        if number < LEAST and governor.allows(history, cost, left):
            return task
        verdict = governor.enters(history, expected[first], cost, left)
        return task if self._note(verdict) else None

    def _go_on(self, history: History, rung: int) -> Task | None:
        """The next one to go on to a rung."""
        ranked = [m for m in history.ranked(rung - 1) if isfinite(m.loss)]
        done = {m.entrant.number for m in history.at(rung)}
        most = max(1, round(self.options.keep * len(ranked)))
        open_ = [m for m in ranked[:most] if m.entrant.number not in done]
        if most < 2 or not open_ or history.highest > rung:
            return None
        # going on costs the leader nothing, as it would train anyway: it is worth while if it is for a second one
        other = open_[0] if done else ranked[1]
        before = history.at(rung - 1)
        values = dict(zip([m.entrant.number for m in before], scores(before), strict=True))
        behind = values[other.entrant.number] - values[ranked[0].entrant.number]
        cost = (self.options.rungs[rung] - self.options.rungs[rung - 1]) * self.length * self._charged(history)
        verdict = self.governor.overtakes(history, rung, behind, cost, self.length - history.spent)
        return Task(open_[0].entrant, rung) if self._note(verdict) else None

    def _charged(self, history: History) -> float:
        """Charge of a unit of training: a part of it where several train at the same time."""
        first = self.options.rungs[0] * self.length
        return min(1.0, float(np.median([m.spent for m in history.at(0)])) / first)

    def _note(self, verdict: Verdict) -> bool:
        """Keep a verdict that ends something; gives whether it does not."""
        if not verdict.go_on:
            self.verdict = verdict
        return verdict.go_on
