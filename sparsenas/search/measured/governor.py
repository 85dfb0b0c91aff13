"""The governor: is searching further worth more than training longer?"""

from dataclasses import dataclass, replace
from math import exp, inf, isfinite, log
from typing import NamedTuple

import numpy as np
from scipy.stats import norm, spearmanr

from sparsenas.errors import ConfigError
from sparsenas.search.measured.history import History, scores
from sparsenas.search.measured.proposals import Expected

#: What a learned prior leaves of the spread: those that it names first differ less, see studies/tournament.
INFORMED = 0.5
#: What it leaves of the correlation of rungs with the end: among good ones that is small, see studies/tournament.
RESTRICTED = 0.8
#: Least that a rung tells about the end beyond the one before, as a share of the variance.
LEARNED = 0.03
#: Networks that expected numbers count as, beside those measured.
DOUBT = 8


@dataclass(frozen=True)
class Governor:
    r"""Weighs the gain of one more measurement against that of the training time which it takes.

    Errors are compared by their logarithm, so that points of an easy and of a hard problem mean the same. One more
    candidate of expected score :math:`\mu \pm s` beside a best one of :math:`b` gains

    .. math:: \rho\, \sigma\, \mathrm{E}\max(0, \mu + s \epsilon - b)

    with :math:`\sigma` the spread of final log errors between architectures, and :math:`\rho` the correlation of a
    rung with the end. Training for the seconds :math:`c` that it takes, of :math:`L` left, gains
    :math:`a \ln(L / (L - c))`, where :math:`a` is the slope of log errors over log seconds.

    Attributes:
        spread: Spread of final log errors between architectures.
        slope: Slope of final log errors over log seconds of training.
        reliability: Correlation of each rung with the end; the last number is for further rungs, too.
        share: Share of the length for searching, whatever it brings; ``None`` weighs.
        most: Most of the length for searching, in any case.
        narrowed: Spread of final log errors as a share of that of log losses at the first rung.

    Raises:
        ConfigError: If a number is out of range.
    """

    spread: float = 0.12
    slope: float = 0.12
    reliability: tuple[float, ...] = (0.65, 0.75, 0.85)
    share: float | None = None
    most: float = 0.5
    narrowed: float = 0.45

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not min(self.spread, self.slope, self.narrowed) > 0:
            raise ConfigError(
                f"governor: spread={self.spread}, slope={self.slope}, narrowed={self.narrowed}; all are positive"
            )
        if not self.reliability or not all(0 < value <= 1 for value in self.reliability):
            raise ConfigError(f"governor.reliability is {list(self.reliability)}; give correlations in (0, 1]")
        for name, value in (("share", self.share), ("most", self.most)):
            if value is not None and not 0 <= value < 1:
                raise ConfigError(f"governor.{name} is {value}; a share of the length lies in [0, 1)")

    def informed(self) -> "Governor":
        """Return the governor of a tournament with a learned prior, in which less is left to be found."""
        reliability = tuple(RESTRICTED * value for value in self.reliability)
        return replace(self, spread=INFORMED * self.spread, narrowed=INFORMED * self.narrowed, reliability=reliability)

    def enters(self, history: History, expected: Expected, cost: float, left: float) -> "Verdict":
        """Weigh the measurement of a new one at the first rung.

        Args:
            history: Measurements so far.
            expected: Its expected score beside those measured at that rung.
            cost: Units that it takes.
            left: Units that are left.
        """
        best = max((score for score in scores(history.at(0))), default=-inf)
        gain = expected_gain(expected.mean - best, expected.deviation)
        return self._weigh(history, self.reliable(history, 0) * gain, cost, left)

    def overtakes(self, history: History, rung: int, behind: float, cost: float, left: float) -> "Verdict":
        """Weigh whether another one may overtake the leader of the rung before, if it goes on to a rung.

        Args:
            history: Measurements so far.
            rung: The rung.
            behind: Score of the other one minus that of the leader, at the rung before.
            cost: Units that it takes.
            left: Units that are left.
        """
        before, after = self.reliable(history, rung - 1), self._expected(rung)
        learned = (2 * max(after**2 - before**2, LEARNED)) ** 0.5
        return self._weigh(history, expected_gain(before * behind, learned), cost, left)

    def allows(self, history: History, cost: float, left: float) -> bool:
        """Say if a measurement keeps ``most``, whatever it is worth."""
        spent = history.spent
        return spent + cost <= self.most * (left + spent) and cost < left

    def _weigh(self, history: History, gain: float, cost: float, left: float) -> "Verdict":
        """Compare a gain, in deviations between architectures, with that of training for the cost."""
        spent = history.spent
        if not self.allows(history, cost, left):
            return Verdict(0.0, inf)
        if self.share is not None:
            return Verdict(inf if spent + cost <= self.share * (left + spent) else 0.0, 0.0)
        return Verdict(self.spread_of(history) * gain, self.slope * log(left / (left - cost)))

    def _expected(self, rung: int) -> float:
        return self.reliability[min(rung, len(self.reliability) - 1)]

    def spread_of(self, history: History) -> float:
        """Spread of final log errors: the expected one, and half of that of first losses, which later ones narrow."""
        first = np.log([m.loss for m in history.at(0) if np.isfinite(m.loss) and m.loss > 0])
        if len(first) < 2:
            return self.spread
        seen = (self.narrowed * first.std(ddof=1)) ** 2
        return float(np.sqrt((DOUBT * self.spread**2 + len(first) * seen) / (DOUBT + len(first))))

    def reliable(self, history: History, rung: int) -> float:
        """Correlation of a rung with the end: the expected one, and that with the next rung where it is known."""
        expected = self._expected(rung)
        later = {m.entrant.number: m for m in history.at(rung + 1)}
        both = [m for m in history.at(rung) if m.entrant.number in later]
        first, second = scores(both), scores([later[m.entrant.number] for m in both])
        if len(both) < 3 or not np.ptp(first) or not np.ptp(second):  # equal ones have no order
            return expected
        found = float(spearmanr(first, second).statistic)
        return (DOUBT * expected + len(both) * max(found, 0.0)) / (DOUBT + len(both))


class Verdict(NamedTuple):
    """Gains in log error: of one more measurement, and of training for as long."""

    search: float
    train: float

    @property
    def go_on(self) -> bool:
        """True if the measurement is worth it."""
        return self.search > self.train

    def in_words(self, error: float, networks: int) -> str:
        """Say what was decided.

        Args:
            error: Error of the leader, in [0, 1], which gains are shares of.
            networks: Number of networks measured.
        """
        if not isfinite(self.search) or not isfinite(self.train):
            return f"the share of the time for searching is used up after {networks} networks"
        points = [f"{100 * error * (1 - exp(-gain)):+.1f}" for gain in self]
        return (
            f"one more network is worth {points[0]} points of accuracy, training for as long {points[1]}: stopped "
            f"after {networks} networks"
        )


def expected_gain(lead: float, deviation: float) -> float:
    """Compute the mean of what is positive of a normal variable of mean ``lead``."""
    if not deviation > 0:
        return max(lead, 0.0)
    u = lead / deviation
    return float(deviation * (norm.pdf(u) + u * norm.cdf(u)))
