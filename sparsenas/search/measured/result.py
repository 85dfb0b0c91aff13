"""Search result of measurements: an architecture, and how sure the choice is."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sparsenas.errors import ConfigError
from sparsenas.search.measured.features import FEATURE_KINDS, ArchitectureFeatures, FeatureKind
from sparsenas.search.measured.measurements import Measurements
from sparsenas.search.measured.reliability import (
    SAME,
    ProxyReliability,
    Trust,
    correlation,
    normal_scores,
    proxy_scores,
)
from sparsenas.search.searcher import NO_BETTER, SearchResult
from sparsenas.spaces import SearchSpace, Support
from sparsenas.sparse_coding import CodeRegression, LassoRegression, SparseFit

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Decoding:
    """Options of the way from measurements to an architecture.

    Attributes:
        features: Kinds of features that make the dictionary, see
            :class:`~sparsenas.search.measured.ArchitectureFeatures`.
        regression: Regression that recovers the code.
        choice: ``measured`` chooses the best of those measured; the code only says what else to measure. ``code``
            chooses the architecture that the code predicts to be best, measured or not.
        certainty: Share of the bootstraps in which the chosen architecture must beat the largest one; else the largest
            one is given back. 0 never gives it back.
        bootstraps: Number of bootstraps.
        trust: ``reliability`` uses proxies, and size, that prove reliable. ``all`` uses the proxies named, for whoever
            knows that they fit, or measures too little to find out.

    Raises:
        ConfigError: If a number is out of range.
    """

    features: tuple[FeatureKind, ...] = FEATURE_KINDS
    regression: CodeRegression = field(default_factory=LassoRegression)
    choice: Literal["measured", "code"] = "measured"
    certainty: float = 0.9
    bootstraps: int = 200
    trust: Trust = "reliability"

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 0.0 <= self.certainty < 1.0 or self.bootstraps < 1:
            raise ConfigError(
                f"decoding: certainty={self.certainty}, bootstraps={self.bootstraps}; the first lies in [0, 1), the "
                "second is at least 1"
            )


@dataclass(frozen=True, kw_only=True)
class MeasuredResult(SearchResult):
    """Architecture that a search found, and how sure the choice is.

    Scores are in standard deviations among the architectures that were drawn; of these, the mean is 0.

    Attributes:
        support: The architecture found.
        largest: The largest architecture that the budget allows.
        beats_largest: Share of the bootstraps in which the best is ahead of the largest; 1 if it is the largest.
        score: Score of :attr:`support`.
        best: The architecture of largest score, which :attr:`support` is unless the largest one was given back.
        runner_up: The architecture of second largest score.
        gap: Difference of score between the best and the runner-up.
        largest_score: Score of :attr:`largest`.
        chosen: Share of the bootstraps whose best architecture keeps a candidate, one row per block; 0 without
            bootstraps.
        explained: Spearman's correlation of the scores with what the code predicts of them without having seen them;
            ``None`` without a code.
        reliability: Reliability of each proxy; of size, too, where sizes and proxies are several, and some are trusted.
        measured: Number of architectures that were measured.
        considered: Number of those that were compared; 0 if nothing could be.
    """

    support: Support
    largest: Support
    beats_largest: float
    score: float
    best: Support
    runner_up: Support
    gap: float
    largest_score: float
    chosen: tuple[tuple[float, ...], ...]
    explained: float | None
    reliability: tuple[ProxyReliability, ...]
    measured: int
    considered: int

    @property
    def measured_once(self) -> bool:
        """True if it rests on one proxy that was not repeated: bootstraps then know nothing of its noise."""
        used = [item for item in self.reliability if item.trusted]
        return len(used) == 1 and used[0].stability is None

    @property
    def summary(self) -> str:
        """One sentence for people."""
        if not self.reliability:
            return (
                f"the largest of the {self.measured} networks in the size band, too few to compare: relax the budget "
                "or measuring.size_band"
            )
        trusted = ", ".join(e.proxy for e in self.reliability if e.trusted)
        dropped = "; ".join(f"{e.proxy}: {e.why}" for e in self.reliability if not e.trusted)
        if not trusted:
            return f"{NO_BETTER}, which is given back: no proxy can be trusted ({dropped})"
        by = f"by {trusted}" + (f" (not used: {dropped})" if dropped else "")
        if self.support == self.largest and self.best != self.largest:
            ahead = f"another one is ahead in {self.beats_largest:.0%} of bootstraps"
            return f"{NO_BETTER}, which is given back: {ahead}, {by}"
        if self.best == self.largest:
            return f"the largest network, {self.score:+.1f} deviations from a random one of its size, {by}"
        sure = "as measured once" if self.measured_once else f"in {self.beats_largest:.0%} of bootstraps"
        return (
            f"{self.score:+.1f} deviations from a random network of its size, ahead of the largest one "
            f"({self.largest_score:+.1f}) {sure}, {by}"
        )

    def to_plain(self, space: SearchSpace) -> dict[str, object]:
        """See :class:`SearchResult`."""

        def genotype(support: Support) -> object:
            return json.loads(space.genotype(support).to_json())

        chosen: dict[str, dict[str, dict[str, float]]] = {}
        for block, shares in zip(space.blocks, self.chosen, strict=True):
            for candidate, share in zip(block.candidates, shares, strict=True):
                edge = f"edge {candidate.source}->{candidate.target}"
                chosen.setdefault(block.cell, {}).setdefault(edge, {})[candidate.primitive] = share
        return {
            "summary": self.summary,
            "found": genotype(self.support),
            "score": self.score,
            "best": genotype(self.best),
            "runner_up": {"genotype": genotype(self.runner_up), "gap": self.gap},
            "largest": {"genotype": genotype(self.largest), "score": self.largest_score},
            "beats_largest": None if self.measured_once else self.beats_largest,
            "explained": self.explained,
            "measured": self.measured,
            "considered": self.considered,
            "reliability": [asdict(item) for item in self.reliability],
            "chosen": chosen,
        }


def make_result(
    space: SearchSpace, found: Measurements, drawn: int, open_: Sequence[Support], options: Decoding, seed: int
) -> MeasuredResult:
    """Assess the proxies, recover a code, and choose; the largest architecture, if no proxy can be trusted.

    The bootstrap draws architectures, repeats and proxies anew. So it holds the luck of the draw, the noise of
    measuring, and the doubt which proxy is right.

    Args:
        space: Search space.
        found: The measurements, of at least 4 architectures.
        drawn: Number of them, from the first on, that were drawn and not proposed. Proxies are assessed by those alone,
            and scores are deviations among them.
        open_: Architectures that may be chosen beside the measured ones; not read where the choice is ``measured``.
        options: Options of the decoding.
        seed: Seed of the bootstrap.

    Raises:
        ConfigError: If every proxy gives all architectures the same score, or the dictionary cannot tell them apart.
    """
    reliability = found.first(drawn).assess(options.trust)
    if all(item.why == SAME for item in reliability):
        raise ConfigError(
            f"no proxy ranks the {len(found.supports)} measured architectures ("
            + "; ".join(f"{item.proxy}: {item.why}" for item in reliability)
            + "); use other proxies, or more images"
        )
    if not any(item.trusted for item in reliability):
        return only(space, found.supports, reliability)
    values, measured = found.trusted(reliability), list(found.supports)
    ranks = proxy_scores(values)
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
        rows, proxies, repeats = (rng.integers(size, size=size) for size in (len(measured), *values.shape[1:]))
        again, choice = decoder.resampled(proxy_scores(values[:, proxies][:, :, repeats]), rows, fit)
        votes[choice] += 1
        ahead += float(again[best] > again[0])
    beats = 1.0 if best == 0 else ahead / options.bootstraps
    support = pool[0] if beats < options.certainty else pool[best]
    return MeasuredResult(
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
        reliability=reliability,
        measured=len(measured),
        considered=len(pool),
    )


def only(
    space: SearchSpace, supports: Sequence[Support], reliability: tuple[ProxyReliability, ...] = ()
) -> MeasuredResult:
    """Make the result where nothing can be compared: the first, largest architecture. No bootstrap is made.

    Args:
        space: Search space.
        supports: Architectures that were measured, or would have been in a size band of so few.
        reliability: Reliability of the proxies, none of them trusted.
    """
    return MeasuredResult(
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
        reliability=reliability,
        measured=len(supports),
        considered=0,
    )


class _Decoder:
    """Scores of all architectures that may be chosen, from ranks of those measured.

    Args:
        space: Search space.
        measured: Measured architectures, ``K``.
        open_: Other architectures.
        options: Options of the decoding.

    Attributes:
        pool: Architectures that may be chosen, ``P``: the measured ones, in their order, and others they tell about.
    """

    def __init__(
        self, space: SearchSpace, measured: list[Support], open_: Sequence[Support], options: Decoding
    ) -> None:
        self.regression = options.regression
        self.pool = measured
        self.rows: Floats | None = None
        if options.choice == "code":
            features = ArchitectureFeatures(space, measured, options.features)
            covered = [support for support, inside in zip(open_, features.covers(open_), strict=True) if inside]
            self.pool = list(dict.fromkeys([*measured, *covered]))
            self.rows = features.rows(self.pool)

    def scores(self, ranks: Floats) -> tuple[Floats, SparseFit | None]:
        """Compute scores ``(P,)``, and the code where there is one.

        Args:
            ranks: Ranks of the measured architectures by each proxy, shape ``(K, S)``.
        """
        target = normal_scores(ranks.sum(1))
        if self.rows is None:
            return target, None
        fit = self.regression.fit(self.rows[: len(target)], target)
        return fit.predict(self.rows), fit

    def resampled(self, ranks: Floats, rows: NDArray[np.int64], fit: SparseFit | None) -> tuple[Floats, int]:
        """Compute scores ``(P,)``, and the best, had the architectures of ``rows`` been measured, which may repeat."""
        target = normal_scores(ranks.sum(1))
        if self.rows is None or fit is None:
            return target, int(rows[target[rows].argmax()])
        if np.ptp(target[rows]) == 0:
            return np.zeros(len(self.rows)), 0
        again = self.regression.fit(self.rows[rows], target[rows], fit.penalty).predict(self.rows)
        return again, int(again.argmax())


def _shares(space: SearchSpace, pool: Sequence[Support], votes: Floats) -> tuple[tuple[float, ...], ...]:
    """Compute the share of votes of each candidate."""
    shares = [np.zeros(len(block)) for block in space.blocks]
    for index in np.flatnonzero(votes).tolist():
        for row, kept in zip(shares, pool[index], strict=True):
            row[list(kept)] += votes[index]
    return tuple(tuple((row / max(votes.sum(), 1.0)).tolist()) for row in shares)
