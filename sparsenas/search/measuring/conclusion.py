"""From measurements to an architecture, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sparsenas.errors import ConfigError
from sparsenas.search.measuring.atoms import LEVELS, Atoms, Level
from sparsenas.search.measuring.evidence import (
    SAME,
    Evidence,
    Trust,
    correlation,
    normal_scores,
    signal_scores,
    weigh,
    weigh_size,
)
from sparsenas.spaces import SearchSpace, Support
from sparsenas.sparse_coding import CodeRegression, LassoRegression, SparseFit

Floats = NDArray[np.float64]

#: What a search says when it gives back the largest cell.
NO_BETTER = "no better than the largest cell at this budget"


@dataclass(frozen=True)
class Decoding:
    """How measurements become an architecture.

    Attributes:
        levels: Of the dictionary, see :class:`~sparsenas.search.measuring.atoms.Atoms`.
        regression: Recovers the code.
        choice: ``measured``: the best of those measured; the code only says what else to measure. ``code``: the
            architecture that the code predicts to be best, measured or not.
        certainty: Share of the bootstraps in which the chosen architecture must beat the largest one; else the largest
            one is given back. 0 never gives it back.
        bootstraps: How many there are.
        trust: ``evidence``: signals have to prove themselves, and so has size. ``all``: the signals named are used, for
            whoever knows that they fit, or measures too little to find out.

    Raises:
        ConfigError: If a number is out of range.
    """

    levels: tuple[Level, ...] = LEVELS
    regression: CodeRegression = field(default_factory=LassoRegression)
    choice: Literal["measured", "code"] = "measured"
    certainty: float = 0.9
    bootstraps: int = 200
    trust: Trust = "evidence"

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 0.0 <= self.certainty < 1.0 or self.bootstraps < 1:
            raise ConfigError(
                f"decoding: certainty={self.certainty}, bootstraps={self.bootstraps}; the first lies in [0, 1), the "
                "second is at least 1"
            )


@dataclass(frozen=True)
class Measurements:
    """What was measured under one set of rules.

    Attributes:
        names: Of the signals.
        repeatable: Of each, whether repeats are independent.
        supports: The measured architectures, ``K``; the first one is the largest of the band.
        values: Shape ``(K, S, R)``, more is better.
        trained: Minus the loss of short trainings, shape ``(K,)``; NaN for architectures that were not trained.
        sizes: Live costs, shape ``(K,)``.
    """

    names: tuple[str, ...]
    repeatable: tuple[bool, ...]
    supports: tuple[Support, ...]
    values: Floats
    trained: Floats
    sizes: Floats

    def first(self, count: int) -> "Measurements":
        """Of the first architectures only."""
        return Measurements(
            names=self.names,
            repeatable=self.repeatable,
            supports=self.supports[:count],
            values=self.values[:count],
            trained=self.trained[:count],
            sizes=self.sizes[:count],
        )

    def weigh(self, trust: Trust = "evidence") -> tuple[Evidence, ...]:
        """The evidence for each signal; for size, too, where sizes and signals are several, and some are trusted.

        Args:
            trust: See :class:`Decoding`.
        """
        evidence = weigh(self.names, self.values, self.repeatable, self.trained, self.sizes, trust)
        if (
            trust == "all"
            or len(evidence) == 1
            or not any(item.trusted for item in evidence)
            or np.ptp(self.sizes) == 0
        ):
            return evidence
        return *evidence, weigh_size(evidence, self.values, self.trained, self.sizes)

    def trusted(self, evidence: Sequence[Evidence]) -> Floats:
        """Values of what is trusted, shape ``(K, T, R)``; sizes are the same in every repeat.

        Args:
            evidence: From :meth:`weigh`, of these measurements or of the first of them.
        """
        sizes = np.broadcast_to(self.sizes[:, None, None], (len(self.sizes), 1, self.values.shape[2]))
        voices = np.concatenate([self.values, sizes], axis=1)[:, : len(evidence)]
        return voices[:, [item.trusted for item in evidence]]


@dataclass(frozen=True)
class Conclusion:
    """What a search found, and how sure it is.

    Scores are in standard deviations among the architectures that were drawn; of these, the mean is 0.

    Attributes:
        support: The architecture.
        score: Its score.
        best: The architecture of largest score, which :attr:`support` is unless the largest one was given back.
        runner_up: The architecture of second largest score.
        gap: By how much the best is ahead of the runner-up.
        largest: The largest architecture of the band.
        largest_score: Its score.
        beats_largest: Share of the bootstraps in which the best is ahead of the largest; 1 if it is the largest.
        chosen: How often each candidate was kept by the best architecture of a bootstrap, one row per block; 0 where
            there was none.
        explained: Spearman's correlation of the scores with what the code predicts of them without having seen them;
            ``None`` without a code.
        evidence: For each signal; for size, too, where sizes and signals are several, and some are trusted.
        measured: How many architectures were measured.
        considered: How many were compared; 0 if nothing could be.
    """

    support: Support
    score: float
    best: Support
    runner_up: Support
    gap: float
    largest: Support
    largest_score: float
    beats_largest: float
    chosen: tuple[tuple[float, ...], ...]
    explained: float | None
    evidence: tuple[Evidence, ...]
    measured: int
    considered: int

    @property
    def measured_once(self) -> bool:
        """Whether it rests on one signal that was not repeated: bootstraps then know nothing of its noise."""
        used = [item for item in self.evidence if item.trusted]
        return len(used) == 1 and used[0].stability is None

    @property
    def verdict(self) -> str:
        """One sentence for people."""
        if not self.evidence:
            return (
                f"the largest of the {self.measured} cells in the band, too few to compare: relax the rules or the band"
            )
        trusted = ", ".join(e.signal for e in self.evidence if e.trusted)
        dropped = "; ".join(f"{e.signal}: {e.why}" for e in self.evidence if not e.trusted)
        if not trusted:
            return f"{NO_BETTER}, which is given back: no signal can be trusted ({dropped})"
        by = f"by {trusted}" + (f" (not used: {dropped})" if dropped else "")
        if self.support == self.largest and self.best != self.largest:
            ahead = f"another one is ahead in {self.beats_largest:.0%} of bootstraps"
            return f"{NO_BETTER}, which is given back: {ahead}, {by}"
        if self.best == self.largest:
            return f"the largest cell, {self.score:+.1f} deviations from a random one of its size, {by}"
        sure = "as measured once" if self.measured_once else f"in {self.beats_largest:.0%} of bootstraps"
        return (
            f"{self.score:+.1f} deviations from a random cell of its size, ahead of the largest one "
            f"({self.largest_score:+.1f}) {sure}, {by}"
        )


def conclude(
    space: SearchSpace, found: Measurements, drawn: int, open_: Sequence[Support], options: Decoding, seed: int
) -> Conclusion:
    """Weigh the signals, recover a code, and choose; the largest architecture, if no signal can be trusted.

    The bootstrap draws architectures, repeats and signals anew, so that it holds the luck of the draw, the noise of
    measuring, and the doubt which signal is right.

    Args:
        space: Search space.
        found: The measurements, of at least 4 architectures.
        drawn: How many of them, from the first on, were drawn and not chosen; signals are weighed by those alone, and
            scores are deviations among them.
        open_: What may be chosen beside the measured architectures; not read where the choice is ``measured``.
        options: How.
        seed: Of the bootstrap.

    Raises:
        ConfigError: If every signal gives all architectures the same score, or the dictionary cannot tell them apart.
    """
    evidence = found.first(drawn).weigh(options.trust)
    if all(item.why == SAME for item in evidence):
        raise ConfigError(
            f"no signal ranks the {len(found.supports)} measured architectures ("
            + "; ".join(f"{item.signal}: {item.why}" for item in evidence)
            + "); use other signals, or more images"
        )
    if not any(item.trusted for item in evidence):
        return only(space, found.supports, evidence)
    values, measured = found.trusted(evidence), list(found.supports)
    ranks = signal_scores(values)
    decoder = _Decoder(space, measured, open_, options)
    pool = decoder.pool
    predicted, fit = decoder.scores(ranks)
    usual = predicted[:drawn]
    predicted = (predicted - usual.mean()) / (usual.std() or 1.0)
    order = np.argsort(-predicted, kind="stable")
    best, runner_up = int(order[0]), int(order[min(1, len(order) - 1)])
    rng = np.random.default_rng(seed)
    votes, ahead = np.zeros(len(pool)), 0.0
    for _ in range(options.bootstraps):
        rows, signals, repeats = (rng.integers(size, size=size) for size in (len(measured), *values.shape[1:]))
        again, choice = decoder.resampled(signal_scores(values[:, signals][:, :, repeats]), rows, fit)
        votes[choice] += 1
        ahead += float(again[best] > again[0])
    beats = 1.0 if best == 0 else ahead / options.bootstraps
    support = pool[0] if beats < options.certainty else pool[best]
    return Conclusion(
        support=support,
        score=float(predicted[pool.index(support)]),
        best=pool[best],
        runner_up=pool[runner_up],
        gap=float(predicted[best] - predicted[runner_up]),
        largest=pool[0],
        largest_score=float(predicted[0]),
        beats_largest=beats,
        chosen=_shares(space, pool, votes),
        explained=None if fit is None else correlation(fit.held_out, normal_scores(ranks.sum(1))),
        evidence=evidence,
        measured=len(measured),
        considered=len(pool),
    )


def only(space: SearchSpace, supports: Sequence[Support], evidence: tuple[Evidence, ...] = ()) -> Conclusion:
    """The conclusion where nothing can be compared: the first, largest architecture. No bootstrap is made.

    Args:
        space: Search space.
        supports: What was measured, or would have been in a band of so few.
        evidence: Against the signals.
    """
    return Conclusion(
        support=supports[0],
        score=0.0,
        best=supports[0],
        runner_up=supports[-1],
        gap=0.0,
        largest=supports[0],
        largest_score=0.0,
        beats_largest=1.0,
        chosen=_shares(space, supports, np.zeros(len(supports))),
        explained=None,
        evidence=evidence,
        measured=len(supports),
        considered=0,
    )


class _Decoder:
    """Scores of all architectures that may be chosen, from ranks of those measured.

    Args:
        space: Search space.
        measured: Measured architectures, ``K``.
        open_: Others.
        options: How.

    Attributes:
        pool: What may be chosen, ``P``: the measured ones, in their order, and of the others those they tell about.
    """

    def __init__(
        self, space: SearchSpace, measured: list[Support], open_: Sequence[Support], options: Decoding
    ) -> None:
        self.regression = options.regression
        self.pool = measured
        self.rows: Floats | None = None
        if options.choice == "code":
            atoms = Atoms(space, measured, options.levels)
            covered = [support for support, inside in zip(open_, atoms.covers(open_), strict=True) if inside]
            self.pool = list(dict.fromkeys([*measured, *covered]))
            self.rows = atoms.rows(self.pool)

    def scores(self, ranks: Floats) -> tuple[Floats, SparseFit | None]:
        """Scores ``(P,)``, and the code where there is one.

        Args:
            ranks: Of the measured architectures by each signal, shape ``(K, S)``.
        """
        target = normal_scores(ranks.sum(1))
        if self.rows is None:
            return target, None
        fit = self.regression.fit(self.rows[: len(target)], target)
        return fit.predict(self.rows), fit

    def resampled(self, ranks: Floats, rows: NDArray[np.int64], fit: SparseFit | None) -> tuple[Floats, int]:
        """Scores ``(P,)`` had other architectures been measured, those of ``rows``, which may repeat; and the best."""
        target = normal_scores(ranks.sum(1))
        if self.rows is None or fit is None:
            return target, int(rows[target[rows].argmax()])
        if np.ptp(target[rows]) == 0:
            return np.zeros(len(self.rows)), 0
        again = self.regression.fit(self.rows[rows], target[rows], fit.penalty).predict(self.rows)
        return again, int(again.argmax())


def _shares(space: SearchSpace, pool: Sequence[Support], votes: Floats) -> tuple[tuple[float, ...], ...]:
    """How often each candidate was in the chosen architecture."""
    shares = [np.zeros(len(block)) for block in space.blocks]
    for index in np.flatnonzero(votes).tolist():
        for row, kept in zip(shares, pool[index], strict=True):
            row[list(kept)] += votes[index]
    return tuple(tuple((row / max(votes.sum(), 1.0)).tolist()) for row in shares)
