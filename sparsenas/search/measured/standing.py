"""Result of a tournament: what was found beside its competitors, and how sure the choice is."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf, isfinite

import numpy as np
from torch import Tensor

from sparsenas.classification import guessing
from sparsenas.complexity import Complexity
from sparsenas.search.measured.field import Entry
from sparsenas.search.measured.history import SEARCHED, History, scores
from sparsenas.search.measured.plan import Plan
from sparsenas.search.measured.prior import Prior
from sparsenas.search.searcher import SearchResult
from sparsenas.spaces import Genotype, SearchSpace

#: Deviations of chance by which an accuracy must be above it, before anything is claimed.
CLEAR = 3.0
#: Standard errors by which losses with fresh seeds must differ.
CERTAIN = 2.0


@dataclass(frozen=True)
class Competitor:
    """One who entered a tournament.

    Attributes:
        number: Place in the order of entering.
        origin: Name of the reference, ``random``, ``prior`` or ``proposed``.
        genotype: Its architecture.
        parameters: Number of parameters.
        macs: MACs of one image.
        stops: Length of its training, validation loss and validation accuracy at each rung that it reached.
        score: What decided at the highest of them, in deviations: its losses, what it is expected to gain in the rest
            of the training for its MACs, and what the prior expects.
        milliseconds: Time of one image on the device of the search; ``None`` if it was not measured.
        predicted_milliseconds: Time by the latency table of the budget; ``None`` without one.
    """

    number: int
    origin: str
    genotype: Genotype
    parameters: int
    macs: int
    stops: tuple[tuple[float, float, float], ...]
    score: float = 0.0
    milliseconds: float | None = field(default=None, compare=False)  # never twice the same
    predicted_milliseconds: float | None = None

    @property
    def name(self) -> str:
        """Name for people: that of the reference, or its origin and number."""
        return self.origin if self.is_reference else f"{self.origin} {self.number}"

    @property
    def is_reference(self) -> bool:
        """True for a network that people make by hand."""
        return self.origin not in SEARCHED


@dataclass(frozen=True, kw_only=True)
class TournamentResult(SearchResult):
    """The network that a tournament found, and everyone that it was compared with.

    Attributes:
        competitors: All who entered, the found one first, then by the rung that they reached and their score there.
        unit: Unit of lengths: ``seconds`` or ``steps``.
        length: Length of the whole run.
        spent: What searching took of it, apart from the first part of the training of the winner.
        sure: Share of bootstraps over validation images in which the found one is ahead of the best reference, at the
            highest rung that both reached; ``None`` if a reference was found, or none entered.
        governor: Sentence of the governor; empty if nothing had to be weighed.
        unfit: Names of the references that do not fit the budget.
        images: Validation images of the comparison.
        chance: Accuracy of guessing.
        again: Loss of the found one minus that of the best reference with fresh seeds; empty if it was not measured.
        prior: What was learned of decisions, for later searches; ``None`` where no code was recovered.
    """

    competitors: tuple[Competitor, ...]
    unit: str
    length: float
    spent: float
    sure: float | None
    governor: str
    unfit: tuple[str, ...]
    images: int
    chance: float
    again: tuple[float, ...] = ()
    prior: Prior | None = None

    @property
    def found(self) -> Competitor:
        """The winner."""
        return self.competitors[0]

    @property
    def reference(self) -> Competitor | None:
        """The best reference; ``None`` if none entered."""
        return next((other for other in self.competitors if other.is_reference), None)

    @property
    def at_chance(self) -> bool:
        """True if the winner could be guessing: its choice then says nothing."""
        if not self.found.stops:
            return False
        accuracy, deviation = self.found.stops[-1][2], (self.chance * (1 - self.chance) / self.images) ** 0.5
        return bool(accuracy < self.chance + CLEAR * deviation)

    @property
    def summary(self) -> str:
        """The finding and its meaning, in two or three sentences."""
        found, reference = self.found, self.reference
        if not found.stops:
            return f"{found.name}: {self.governor}" if self.governor else found.name
        unit = "s" if self.unit == "seconds" else f" {self.unit}"
        text = f"{found.name}, the most promising of {len(self.competitors)} networks"
        if self.at_chance:
            text += f"; but after {found.stops[-1][0]:.3g}{unit} all are near chance, so the choice says nothing"
        elif reference is not None and reference is not found:
            rung = min(len(found.stops), len(reference.stops)) - 1
            length, loss, accuracy = found.stops[rung]
            _, other_loss, other_accuracy = reference.stops[rung]
            text += (
                f"; after {length:.3g}{unit} of training its validation loss is {loss:.3f} ({accuracy:.1%} right), "
                f"and {other_loss:.3f} ({other_accuracy:.1%}) of the best reference, {reference.name}{self._certainty}"
            )
            if loss > other_loss:
                text += ". It was chosen for what it is expected to gain later"
        return f"{text}. {self.governor[:1].upper()}{self.governor[1:]}".rstrip() if self.governor else text

    @property
    def _certainty(self) -> str:
        if self.again:
            mean = float(np.mean(self.again))
            error = float(np.std(self.again, ddof=1)) / len(self.again) ** 0.5 if len(self.again) > 1 else inf
            if abs(mean) > CERTAIN * error:
                return f". With fresh seeds it is {'ahead' if mean < 0 else 'behind'} by {abs(mean):.3f} ± {error:.3f}"
            return ". With fresh seeds neither is surely ahead"
        if not self.sure:
            return ""
        return f". Its score leads in {self.sure:.0%} of bootstraps over these images; not tried with other seeds"

    def to_plain(self, space: SearchSpace) -> dict[str, object]:
        """See :class:`SearchResult`."""
        return {
            "summary": self.summary,
            "found": json.loads(self.found.genotype.to_json()),
            "unit": self.unit,
            "length": self.length,
            "spent": self.spent,
            "sure": self.sure,
            "governor": self.governor,
            "unfit": list(self.unfit),
            "images": self.images,
            "chance": self.chance,
            "again": list(self.again),
            "competitors": [
                {
                    "name": other.name,
                    "origin": other.origin,
                    "parameters": other.parameters,
                    "macs": other.macs,
                    "milliseconds": other.milliseconds,
                    "predicted_milliseconds": other.predicted_milliseconds,
                    "score": other.score,
                    "stops": [
                        {"length": length, "loss": loss, "accuracy": accuracy} for length, loss, accuracy in other.stops
                    ],
                    "genotype": json.loads(other.genotype.to_json()),
                }
                for other in self.competitors
            ],
            "prior": None if self.prior is None else json.loads(self.prior.to_json()),
        }


def competitors_of(
    history: History, cost: Callable[[Genotype], Complexity], timed: Callable[[str], float]
) -> tuple[Competitor, ...]:
    """All who were measured, the winner first, then by the rung that they reached and their score there."""
    found = []
    values = {
        (m.entrant.number, rung): float(score)
        for rung in range(history.highest + 1)
        for m, score in zip(history.at(rung), scores(history.at(rung)), strict=True)
    }
    for measurement in history.order():
        entrant = measurement.entrant
        genotype = Genotype.from_json(entrant.key)
        size = cost(genotype)
        stops = tuple(
            (m.length, m.loss, m.accuracy) for m in history if m.entrant.number == entrant.number and not m.repeat
        )
        score = values[entrant.number, measurement.rung]
        ms = timed(entrant.key)
        found.append(Competitor(entrant.number, entrant.origin, genotype, size.parameters, size.macs, stops, score, ms))
    return tuple(found)


def surely_ahead(history: History, one: int, other: int, bootstraps: int, seed: int) -> float | None:
    """Share of bootstraps over parts of the images in which one entrant is ahead of another at their highest rung."""
    for rung in range(history.highest, -1, -1):
        by_number = {m.entrant.number: m for m in history.at(rung)}
        if one in by_number and other in by_number:
            difference = np.array(by_number[other].losses) - np.array(by_number[one].losses)
            if not all(map(isfinite, difference)):
                return float(isfinite(by_number[one].loss))
            rows = np.random.default_rng(seed).integers(len(difference), size=(bootstraps, len(difference)))
            return float((difference[rows].mean(1) > 0).mean())
    return None


def make_standing(
    entry: Entry, plan: Plan, history: History, labels: Tensor, unit: str, timed: Callable[[str], float]
) -> TournamentResult:
    """Make the result of a tournament.

    Args:
        entry: Who could enter.
        plan: Its plan, at its end.
        history: All measurements.
        labels: Labels of the validation images.
        unit: Unit of lengths.
        timed: Measures the milliseconds of an image by the network of a key.
    """
    competitors = competitors_of(history, entry.cost, timed)
    leader, governor = history.leader(), ""
    if leader is None:  # nothing could be measured
        key, origin = entry.seeds[0]
        genotype = Genotype.from_json(key)
        size = entry.cost(genotype)
        competitors = (Competitor(0, origin, genotype, size.parameters, size.macs, ()),)
        governor = f"too short to compare anything: {origin} is trained, as the most promising"
    elif plan.verdict is not None:
        governor = plan.verdict.in_words(1 - leader.accuracy, len(history.entrants))
    competitors = tuple(replace(other, predicted_milliseconds=entry.predicted(other.genotype)) for other in competitors)
    found = competitors[0]
    reference = next((other for other in competitors if other.is_reference), None)
    sure, again = None, tuple[float, ...]()
    if reference is not None and reference is not found:
        sure = surely_ahead(history, found.number, reference.number, entry.options.bootstraps, entry.seed)
        first, second = (
            history.repeats(m.entrant)
            for number in (found.number, reference.number)
            for m in history.order()
            if m.entrant.number == number
        )
        again = tuple(one - other for one, other in zip(first, second, strict=False))
    return TournamentResult(
        competitors=competitors,
        unit=unit,
        length=plan.length,
        spent=history.spent - (0.0 if leader is None else leader.length),
        sure=sure,
        governor=governor,
        unfit=entry.unfit,
        images=len(labels),
        chance=guessing(labels, entry.num_classes),
        again=again,
        prior=entry.proposer.posterior(history.at(0)),
    )
