"""Measure architectures, recover a code, measure what it proposes: sparse coding over measurements."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from sparsenas.errors import ConfigError
from sparsenas.search.measured.bench import Bench
from sparsenas.search.measured.features import ArchitectureFeatures, FeatureKind
from sparsenas.search.measured.measurements import Measurements
from sparsenas.search.measured.proxies import Proxy, ZeroCost
from sparsenas.search.measured.reliability import LEAST_TRAINED, correlation, normal_scores, proxy_scores
from sparsenas.search.measured.result import Decoding, MeasuredResult, make_result, only
from sparsenas.search.measured.training_proxies import ShortTraining
from sparsenas.search.size_band import SizeBand
from sparsenas.spaces import Support
from sparsenas.zero_cost import JacobianCovariance, Naswot, SynFlow, Trainability

Floats = NDArray[np.float64]

#: Kinds of features whose predictions are sums over candidates, so that the best is found without enumeration.
SUMS: tuple[FeatureKind, ...] = ("counts", "candidates")
#: Fewer measurements than this decide nothing.
LEAST = 4


def default_proxies() -> list[Proxy]:
    """Make the default proxies: training-free scores of different descent.

    They look at how images pull apart, where kinks lie, and what flows forth and back.
    """
    scores = JacobianCovariance(norms="auto"), Naswot(), SynFlow(), Trainability()
    return [ZeroCost(score) for score in scores]


@dataclass(frozen=True)
class Measuring:
    """Options of measuring: the proxies, the number of architectures, and the way to a search result.

    Attributes:
        proxies: Proxies measured of every architecture; ``None`` for :func:`default_proxies`.
        repeats: Measurements of each proxy, with new weights and other images; at least 2 tell noise from meaning.
        training: Short training of some architectures, which speaks for or against proxies; ``None`` for none.
        trained: Number of architectures with a short training.
        count: Architectures drawn from the size band.
        rounds: Number of times a code is recovered from all measurements, and asked for more architectures.
        proposals: Architectures that each of these codes names: the best ones not yet measured, of those it can tell
            about. In a space too large to be enumerated, the best ones by codes of measurements drawn anew.
        size_band: Least effective cost of an architecture as a share of the largest feasible one, see
            :class:`~sparsenas.search.size_band.SizeBand`.
        seconds: Longest time; what has been measured by then decides. ``None`` for no limit.
        decoding: Way from measurements to an architecture.

    Raises:
        ConfigError: If numbers contradict each other.
    """

    proxies: list[Proxy] | None = None
    repeats: int = 2
    training: ShortTraining | None = None
    trained: int = 12
    count: int = 48
    rounds: int = 4
    proposals: int = 4
    size_band: float = 0.7
    seconds: float | None = None
    decoding: Decoding = field(default_factory=Decoding)

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not self.measurements or self.repeats < 1 or self.rounds < 0 or self.proposals < 1:
            raise ConfigError(
                f"measuring: {len(self.measurements)} proxies, repeats={self.repeats}, rounds={self.rounds}, proposals="
                f"{self.proposals}; need at least 1 proxy, 1 repeat and 1 proposal, and rounds not below 0"
            )
        if self.seconds is not None and not self.seconds > 0:
            raise ConfigError(f"measuring.seconds is {self.seconds}; use a positive number, or null for no limit")
        names = [proxy.name for proxy in self.measurements]
        if len(set(names)) < len(names):
            raise ConfigError(f"measuring.proxies names a proxy twice ({', '.join(names)}); it would count double")
        if self.count < LEAST:
            raise ConfigError(
                f"measuring.count is {self.count}: too few to recover a code, or to tell how sure it is; measure at "
                f"least {LEAST} architectures, better 40"
            )
        if not 0.0 <= self.size_band <= 1.0:
            raise ConfigError(f"measuring.size_band is {self.size_band}; use a share of the largest cost, in [0, 1]")
        if self.training is not None and not LEAST_TRAINED <= self.trained <= self.count:
            raise ConfigError(
                f"measuring.trained is {self.trained}; train at least {LEAST_TRAINED} architectures, at most count="
                f"{self.count}, or set training to null"
            )

    @property
    def measurements(self) -> list[Proxy]:
        """The proxies, those of the default included."""
        return default_proxies() if self.proxies is None else self.proxies

    @property
    def total(self) -> int:
        """Architectures that are measured, at most."""
        return self.count + self.rounds * self.proposals

    @property
    def batches(self) -> int:
        """Training batches that the measurements read, if there are as many."""
        repeats = [proxy.batches * (self.repeats if proxy.repeatable else 1) for proxy in self.measurements]
        return max(*repeats, 1 if self.training is None else self.training.batches)


@dataclass(frozen=True)
class Measured:
    """Measurements of one architecture.

    Attributes:
        values: Values of every proxy by repeat.
        trained: Minus the loss of its short training; ``None`` without one.
    """

    values: tuple[tuple[float, ...], ...]
    trained: float | None = None


class Survey:
    """Say what to measure next under one set of constraints, and what follows from it. It measures nothing itself.

    Everything follows from the measurements and the seed, so that a survey can be made again at any time.

    Args:
        band: Size band of what may be found.
        options: Options of the measuring.
        seed: Seed of the draws.
    """

    def __init__(self, band: SizeBand, options: Measuring, seed: int) -> None:
        self.band, self.options, self.seed = band, options, seed
        rng = np.random.default_rng(seed)
        drawn = [support for support in band.draw(options.count, rng) if support != band.largest]
        #: What is measured, in order: the largest first, as all others have to beat it.
        self.planned: list[Support] = [band.largest, *drawn[: options.count - 1]]
        self._drawn = len(self.planned)
        self._members: list[Support] | None = None
        self._rounds = 0

    def trains(self, support: Support) -> bool:
        """Return True for an architecture that gets a short training."""
        return self.options.training is not None and support in self.planned[: self.options.trained]

    def next(self, known: Mapping[Support, Measured]) -> Support | None:
        """Return the architecture to measure next; ``None`` if there is none.

        Args:
            known: Measurements so far.
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

    def make_result(self, known: Mapping[Support, Measured]) -> MeasuredResult:
        """Make the search result of what was planned and has been measured so far.

        Raises:
            ConfigError: If fewer than 4 have been measured, or no proxy ranks them.
        """
        if len(self.planned) < LEAST and self.next(known) is None:
            return only(self.band.space, self.planned)
        found, others = self._found(known, self.planned), list[Support]()
        if self.options.decoding.choice == "code":
            target = self._target(found)
            others = [] if target is None else self._others(found, target)
        result = make_result(self.band.space, found, self._drawn, others, self.options.decoding, self.seed)
        if result.explained is None and self._rounds:
            result = replace(result, explained=self._explained(found))
        return result

    def scores(self, known: Mapping[Support, Measured], result: MeasuredResult) -> dict[Support, float]:
        """Score the measured architectures by the trusted proxies, if any: normal scores of rank sums."""
        if not any(item.trusted for item in result.reliability):
            return {}
        found = self._found(known, self.planned)
        target = normal_scores(proxy_scores(found.trusted(result.reliability)).sum(1))
        return dict(zip(found.supports, target.tolist(), strict=True))

    def _propose(self, known: Mapping[Support, Measured]) -> list[Support]:
        """Name the best architectures by a code, of those not yet measured that it can tell about."""
        if len(self.planned) < LEAST:
            return []
        found = self._found(known, self.planned)
        target = self._target(found)
        others = [] if target is None else [s for s in self._others(found, target) if s not in self.planned]
        if target is None or not others:
            return []
        if self.band.enumerable:
            decoding = self.options.decoding
            features = ArchitectureFeatures(self.band.space, found.supports, decoding.features)
            others = [support for support, inside in zip(others, features.covers(others), strict=True) if inside]
            if others:
                predicted = decoding.regression.fit(features.rows(found.supports), target).predict(
                    features.rows(others)
                )
                others = [others[index] for index in np.argsort(-predicted, kind="stable")]
        return others[: self.options.proposals]

    def _explained(self, found: Measurements) -> float | None:
        """Compute :attr:`MeasuredResult.explained`."""
        target = self._target(found)
        if target is None:
            return None
        features = ArchitectureFeatures(self.band.space, found.supports, self.options.decoding.features)
        fit = self.options.decoding.regression.fit(features.rows(found.supports), target)
        return correlation(fit.held_out, target)

    def _target(self, found: Measurements) -> Floats | None:
        """Compute normal scores by the trusted proxies; ``None`` if no proxy is trusted."""
        reliability = found.first(self._drawn).assess(self.options.decoding.trust)
        if not any(item.trusted for item in reliability):
            return None
        target = normal_scores(proxy_scores(found.trusted(reliability)).sum(1))
        return target if np.ptp(target) > 0 else None

    def _others(self, found: Measurements, target: Floats) -> list[Support]:
        """List other architectures: the whole size band or, in a space too large for that, the best by codes.

        The first code is that of all measurements, the others are those of measurements drawn anew from them.
        """
        if self.band.enumerable:
            if self._members is None:
                self._members = self.band.members()
            return self._members
        regression, kinds = self.options.decoding.regression, self.options.decoding.features
        sums = [kind for kind in kinds if kind in SUMS] or SUMS
        features = ArchitectureFeatures(self.band.space, found.supports, sums)
        rows, rng = features.rows(found.supports), np.random.default_rng((self.seed, len(target)))
        fit = regression.fit(rows, target)
        named = {self.band.strongest(features.strengths(fit.code)): None}
        for _ in range(2 * self.options.proposals):  # some name what is known
            again = rng.integers(len(target), size=len(target))
            if np.ptp(target[again]) > 0:
                code = regression.fit(rows[again], target[again], fit.penalty).code
                named.setdefault(self.band.strongest(features.strengths(code)))
        return list(named)

    def _found(self, known: Mapping[Support, Measured], supports: list[Support]) -> Measurements:
        measured = [support for support in supports if support in known]
        if len(measured) < LEAST:
            raise ConfigError(
                f"{len(measured)} architectures of the size band have been measured, too few to decide: let "
                "the search run longer, or widen measuring.size_band"
            )
        # an architecture may have been trained under other rules
        trained = [known[support].trained if self.trains(support) else None for support in measured]
        return Measurements(
            names=tuple(proxy.name for proxy in self.options.measurements),
            repeatable=tuple(proxy.repeatable for proxy in self.options.measurements),
            supports=tuple(measured),
            values=np.array([known[support].values for support in measured], dtype=np.float64),
            trained=np.array([np.nan if loss is None else loss for loss in trained], dtype=np.float64),
            sizes=np.array([self.band.effective_cost(support) for support in measured], dtype=np.float64),
        )


def measure(support: Support, bench: Bench, options: Measuring, train: bool) -> Measured:
    """Measure an architecture.

    Args:
        support: The architecture.
        bench: Images and networks to measure with.
        options: Options of the measuring.
        train: True for a short training as well.

    Raises:
        ConfigError: If a proxy gives NaN, which no rank can be made of.
    """
    values = []
    for proxy in options.measurements:
        once = [proxy(support, bench, repeat) for repeat in range(options.repeats if proxy.repeatable else 1)]
        if any(np.isnan(value) for value in once):
            genotype = bench.space.genotype(support)
            raise ConfigError(f"{proxy.name} gives NaN for the architecture {genotype}; scores are numbers or -inf")
        values.append(tuple(once if proxy.repeatable else once * options.repeats))
    trained = options.training(support, bench, 0) if train and options.training is not None else None
    return Measured(tuple(values), trained)
