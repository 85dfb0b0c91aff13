"""Measure architectures, recover a code, measure what it proposes: sparse coding over measurements."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from sparsenas.errors import ConfigError
from sparsenas.search.band import Band
from sparsenas.search.measuring.atoms import Atoms, Level
from sparsenas.search.measuring.bench import Bench
from sparsenas.search.measuring.conclusion import Conclusion, Decoding, Measurements, conclude, only
from sparsenas.search.measuring.evidence import LEAST_TRAINED, correlation, normal_scores, signal_scores
from sparsenas.search.measuring.measurements import Measurement, Untrained
from sparsenas.search.measuring.training import ShortTraining
from sparsenas.spaces import Support
from sparsenas.zero_cost import JacobianCovariance, Naswot, SynFlow, Trainability

Floats = NDArray[np.float64]

#: Levels of which a prediction is a sum over candidates, so that the best architecture is found without enumeration.
SUMS: tuple[Level, ...] = ("counts", "candidates")
#: From fewer measurements nothing is concluded.
LEAST = 4


def default_signals() -> list[Measurement]:
    """Training-free scores of different descent: how images pull apart, where kinks lie, what flows forth and back."""
    scores = JacobianCovariance(norms="auto"), Naswot(), SynFlow(), Trainability()
    return [Untrained(score) for score in scores]


@dataclass(frozen=True)
class Measuring:
    """What is measured, of how many architectures, and what is made of it.

    Attributes:
        signals: What is measured of every architecture; ``None`` for :func:`default_signals`.
        repeats: How often, with new weights and other images; at least 2 tell noise from meaning.
        training: Short training of some architectures, as a witness for or against signals; ``None`` for none.
        trained: Of how many.
        count: Architectures drawn from the band.
        rounds: How often a code is recovered from what has been measured, and asked for more.
        proposals: Architectures that each of these codes names: the best ones not yet measured, of those it can tell
            about. In a space too large to be enumerated, the best ones by codes of measurements drawn anew.
        band: Least live cost of an architecture as a share of the largest feasible one, see
            :class:`~sparsenas.search.band.Band`.
        decoding: How measurements become an architecture.

    Raises:
        ConfigError: If numbers contradict each other.
    """

    signals: list[Measurement] | None = None
    repeats: int = 2
    training: ShortTraining | None = None
    trained: int = 12
    count: int = 48
    rounds: int = 4
    proposals: int = 4
    band: float = 0.7
    decoding: Decoding = field(default_factory=Decoding)

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not self.measurements or self.repeats < 1 or self.rounds < 0 or self.proposals < 1:
            raise ConfigError(
                f"measuring: {len(self.measurements)} signals, repeats={self.repeats}, rounds={self.rounds}, proposals="
                f"{self.proposals}; need at least 1 signal, 1 repeat and 1 proposal, and rounds not below 0"
            )
        names = [signal.name for signal in self.measurements]
        if len(set(names)) < len(names):
            raise ConfigError(f"measuring.signals names a signal twice ({', '.join(names)}); it would count double")
        if self.count < LEAST:
            raise ConfigError(
                f"measuring.count is {self.count}: too few to recover a code, or to tell how sure it is; measure at "
                f"least {LEAST} architectures, better 40"
            )
        if self.training is not None and not LEAST_TRAINED <= self.trained <= self.count:
            raise ConfigError(
                f"measuring.trained is {self.trained}; train at least {LEAST_TRAINED} architectures, at most count="
                f"{self.count}, or set training to null"
            )

    @property
    def measurements(self) -> list[Measurement]:
        """The signals, those of the default included."""
        return default_signals() if self.signals is None else self.signals

    @property
    def total(self) -> int:
        """Architectures that are measured, at most."""
        return self.count + self.rounds * self.proposals

    @property
    def batches(self) -> int:
        """Training batches that the measurements read, if there are as many."""
        repeats = [signal.batches * (self.repeats if signal.repeatable else 1) for signal in self.measurements]
        return max(*repeats, 1 if self.training is None else self.training.batches)


@dataclass(frozen=True)
class Measured:
    """What is known of an architecture.

    Attributes:
        values: Of every signal by repeat.
        trained: Minus the loss of its short training; ``None`` without one.
    """

    values: tuple[tuple[float, ...], ...]
    trained: float | None = None


class Survey:
    """Says what to measure next under one set of rules, and what follows from it. It measures nothing itself.

    Everything follows from the measurements and the seed, so that a survey can be made again at any time.

    Args:
        band: What may be found.
        options: How.
        seed: Of the draws.
    """

    def __init__(self, band: Band, options: Measuring, seed: int) -> None:
        self.band, self.options, self.seed = band, options, seed
        rng = np.random.default_rng(seed)
        drawn = [support for support in band.draw(options.count, rng) if support != band.largest]
        #: What is measured, in order: the largest first, as all others have to beat it.
        self.planned: list[Support] = [band.largest, *drawn[: options.count - 1]]
        self._drawn = len(self.planned)
        self._members: list[Support] | None = None
        self._rounds = 0

    def trains(self, support: Support) -> bool:
        """Whether an architecture is one of those that are trained."""
        return self.options.training is not None and support in self.planned[: self.options.trained]

    def next(self, known: Mapping[Support, Measured]) -> Support | None:
        """What to measure next; ``None`` if nothing.

        Args:
            known: What has been measured so far.
        """
        while True:
            for support in self.planned:
                if support not in known or (self.trains(support) and known[support].trained is None):
                    return support
            if self._rounds == self.options.rounds:
                return None
            self._rounds += 1
            proposed = self._propose(known)
            if not proposed:
                self._rounds = self.options.rounds
            self.planned += proposed

    def leader(self, known: Mapping[Support, Measured]) -> Support:
        """The best so far by all signals, trusted or not: cheap, for whoever watches."""
        measured = [support for support in self.planned if support in known]
        values = np.array([known[support].values for support in measured], dtype=np.float64)
        return measured[int(signal_scores(values).sum(1).argmax())]

    def conclude(self, known: Mapping[Support, Measured]) -> Conclusion:
        """What follows from the measurements of what was planned, so far.

        Raises:
            ConfigError: If fewer than 4 have been measured, or no signal ranks them.
        """
        if len(self.planned) < LEAST and self.next(known) is None:
            return only(self.band.space, self.planned)
        found, others = self._found(known, self.planned), list[Support]()
        if self.options.decoding.choice == "code":
            target = self._target(found)
            others = [] if target is None else self._others(found, target)
        conclusion = conclude(self.band.space, found, self._drawn, others, self.options.decoding, self.seed)
        if conclusion.explained is None and self._rounds:
            conclusion = replace(conclusion, explained=self._explained(found))
        return conclusion

    def scores(self, known: Mapping[Support, Measured], conclusion: Conclusion) -> dict[Support, float]:
        """How the measured architectures compare by the trusted signals, if any: normal scores of rank sums."""
        if not any(item.trusted for item in conclusion.evidence):
            return {}
        found = self._found(known, self.planned)
        target = normal_scores(signal_scores(found.trusted(conclusion.evidence)).sum(1))
        return dict(zip(found.supports, target.tolist(), strict=True))

    def _propose(self, known: Mapping[Support, Measured]) -> list[Support]:
        """The best architectures by a code, of those not yet measured that it can tell about."""
        if len(self.planned) < LEAST:
            return []
        found = self._found(known, self.planned)
        target = self._target(found)
        others = [] if target is None else [s for s in self._others(found, target) if s not in self.planned]
        if target is None or not others:
            return []
        if self.band.enumerable:
            decoding = self.options.decoding
            atoms = Atoms(self.band.space, found.supports, decoding.levels)
            others = [support for support, inside in zip(others, atoms.covers(others), strict=True) if inside]
            if others:
                predicted = decoding.regression.fit(atoms.rows(found.supports), target).predict(atoms.rows(others))
                others = [others[index] for index in np.argsort(-predicted, kind="stable")]
        return others[: self.options.proposals]

    def _explained(self, found: Measurements) -> float | None:
        """See :attr:`Conclusion.explained`."""
        target = self._target(found)
        if target is None:
            return None
        atoms = Atoms(self.band.space, found.supports, self.options.decoding.levels)
        fit = self.options.decoding.regression.fit(atoms.rows(found.supports), target)
        return correlation(fit.held_out, target)

    def _target(self, found: Measurements) -> Floats | None:
        """Normal scores of the measured architectures by the trusted signals; ``None`` if there is nothing to trust."""
        evidence = found.first(self._drawn).weigh(self.options.decoding.trust)
        if not any(item.trusted for item in evidence):
            return None
        target = normal_scores(signal_scores(found.trusted(evidence)).sum(1))
        return target if np.ptp(target) > 0 else None

    def _others(self, found: Measurements, target: Floats) -> list[Support]:
        """What else there is: the whole band or, in a space too large for that, what codes name the best.

        The first is that of all measurements, the others are those of measurements drawn anew from them.
        """
        if self.band.enumerable:
            if self._members is None:
                self._members = self.band.members()
            return self._members
        regression, levels = self.options.decoding.regression, self.options.decoding.levels
        sums = [level for level in levels if level in SUMS] or SUMS
        atoms = Atoms(self.band.space, found.supports, sums)
        rows, rng = atoms.rows(found.supports), np.random.default_rng((self.seed, len(target)))
        fit = regression.fit(rows, target)
        named = {self.band.strongest(atoms.strengths(fit.code)): None}
        for _ in range(2 * self.options.proposals):  # some name what is known
            again = rng.integers(len(target), size=len(target))
            if np.ptp(target[again]) > 0:
                code = regression.fit(rows[again], target[again], fit.penalty).code
                named.setdefault(self.band.strongest(atoms.strengths(code)))
        return list(named)

    def _found(self, known: Mapping[Support, Measured], supports: list[Support]) -> Measurements:
        measured = [support for support in supports if support in known]
        if len(measured) < LEAST:
            raise ConfigError(
                f"{len(measured)} architectures of the band have been measured, too few to conclude anything: let the "
                "search run longer, or widen measuring.band"
            )
        # an architecture may have been trained under other rules
        trained = [known[support].trained if self.trains(support) else None for support in measured]
        return Measurements(
            names=tuple(signal.name for signal in self.options.measurements),
            repeatable=tuple(signal.repeatable for signal in self.options.measurements),
            supports=tuple(measured),
            values=np.array([known[support].values for support in measured], dtype=np.float64),
            trained=np.array([np.nan if loss is None else loss for loss in trained], dtype=np.float64),
            sizes=np.array([self.band.live_cost(support) for support in measured], dtype=np.float64),
        )


def measure(support: Support, bench: Bench, options: Measuring, train: bool) -> Measured:
    """Measure an architecture.

    Args:
        support: The architecture.
        bench: What it is measured with.
        options: What is measured.
        train: Whether it is trained as well.

    Raises:
        ConfigError: If a signal gives NaN, which no rank can be made of.
    """
    values = []
    for signal in options.measurements:
        once = [signal(support, bench, repeat) for repeat in range(options.repeats if signal.repeatable else 1)]
        if any(np.isnan(value) for value in once):
            genotype = bench.space.genotype(support)
            raise ConfigError(f"{signal.name} gives NaN for the architecture {genotype}; scores are numbers or -inf")
        values.append(tuple(once if signal.repeatable else once * options.repeats))
    trained = options.training(support, bench, 0) if train and options.training is not None else None
    return Measured(tuple(values), trained)
