"""Measurements of a tournament so far: they alone decide what comes next, so a resumed one goes the same way."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

Floats = NDArray[np.float64]

#: Origins that are no references.
SEARCHED = ("random", "prior", "proposed")
#: Correlation of measurements with what was expected, as it should be, and the networks as which that counts.
AGREES, DOUBT = 0.5, 8


@dataclass(frozen=True)
class Entrant:
    """An architecture that competes.

    Attributes:
        number: Its place in the order of entering, from 0.
        key: Text of the architecture.
        origin: The name of a reference, ``random``, ``prior``, or ``proposed``.
        wave: 0 for what was there at the start, then the number of the round that proposed it.
    """

    number: int
    key: str
    origin: str
    wave: int = 0

    @property
    def is_reference(self) -> bool:
        """True for a network that people make by hand."""
        return self.origin not in SEARCHED


@dataclass(frozen=True)
class Measurement:
    """The outcome of one training of an entrant, from one rung to the next.

    Attributes:
        entrant: The entrant.
        rung: Number of the rung, from 0.
        losses: Validation loss on each part of the images, the same parts for all; infinite after a divergence.
        accuracy: Validation accuracy in [0, 1].
        length: Length of its whole training so far, in units of the tournament (seconds, steps or epochs).
        spent: Units that this measurement took, evaluation included.
        bonus: What the rest of the training is expected to add beyond this loss, in deviations between networks.
        expected: What is expected of the network before it is measured, likewise, times how much that is believed.
        repeat: 0, or the number of a training at the first rung with a fresh seed, made when all was decided.
    """

    entrant: Entrant
    rung: int
    losses: tuple[float, ...]
    accuracy: float
    length: float
    spent: float
    bonus: float = 0.0
    expected: float = 0.0
    repeat: int = 0

    @property
    def loss(self) -> float:
        """Mean loss."""
        return float(np.mean(self.losses))


@dataclass
class History:
    """Measurements in the order in which they were made."""

    measurements: list[Measurement] = field(default_factory=list)

    def __iter__(self) -> Iterator[Measurement]:
        """Iterate over the measurements."""
        return iter(self.measurements)

    def __len__(self) -> int:
        """Number of measurements."""
        return len(self.measurements)

    def add(self, measurement: Measurement) -> None:
        """Add the newest measurement."""
        self.measurements.append(measurement)

    @property
    def entrants(self) -> list[Entrant]:
        """Everyone who was measured, in the order of entering."""
        return list({measurement.entrant.number: measurement.entrant for measurement in self.measurements}.values())

    @property
    def spent(self) -> float:
        """Units that all measurements took."""
        return sum(measurement.spent for measurement in self.measurements)

    @property
    def highest(self) -> int:
        """Highest rung that was reached; -1 before the first measurement."""
        return max((measurement.rung for measurement in self.measurements), default=-1)

    def at(self, rung: int) -> list[Measurement]:
        """Measurements at a rung, in the order of entering."""
        found = [m for m in self.measurements if m.rung == rung and not m.repeat]
        return sorted(found, key=lambda measurement: measurement.entrant.number)

    def ranked(self, rung: int) -> list[Measurement]:
        """Measurements at a rung, the best first; equal ones in the order of entering."""
        found = self.at(rung)
        return [found[index] for index in np.argsort(-scores(found), kind="stable")]

    def order(self) -> list[Measurement]:
        """The last measurement of each entrant, by the rung that it reached and its score there, the best first."""
        placed: dict[int, Measurement] = {}
        for rung in range(self.highest, -1, -1):
            for measurement in self.ranked(rung):
                placed.setdefault(measurement.entrant.number, measurement)
        return list(placed.values())

    def repeats(self, entrant: Entrant) -> list[float]:
        """Losses of an entrant with fresh seeds, in their order."""
        found = [m for m in self.measurements if m.repeat and m.entrant.number == entrant.number]
        return [m.loss for m in sorted(found, key=lambda m: m.repeat)]

    def leader(self) -> Measurement | None:
        """The best at the highest rung; ``None`` before the first measurement, and if all have diverged."""
        for rung in range(self.highest, -1, -1):
            found = [measurement for measurement in self.ranked(rung) if np.isfinite(measurement.loss)]
            if found:
                return found[0]
        return None


def scores(measurements: Sequence[Measurement], believing: bool = True) -> Floats:
    """Score measurements at one rung, shape ``(K,)``, more is better: normal scores of paired losses.

    On each part of the images the entrants are ranked, and ranks become quantiles of a normal distribution; the score
    is the mean over the parts. So no single part, and no entrant that has failed, dominates. Ties that this leaves are
    decided by the mean loss. Then come the bonuses, of which only differences count, and what was expected before, as
    far as it agrees with these measurements: a wrong prior is outvoted.

    Args:
        measurements: Measurements at one rung.
        believing: False leaves out what was expected.
    """
    if not measurements:
        return np.empty(0)
    losses = np.array([measurement.losses for measurement in measurements], dtype=np.float64)
    ranks = np.apply_along_axis(rankdata, 0, -losses)
    values: Floats = norm.ppf((ranks - 0.5) / len(losses)).mean(1)
    ties: Floats = rankdata(-losses.mean(1)) / (1e9 * len(losses))
    bonuses = np.array([measurement.bonus for measurement in measurements])
    found: Floats = values + ties
    finite = np.isfinite(losses).all(1)
    if not finite.any():
        return found
    found[finite] += bonuses[finite] - bonuses[finite].mean()
    if believing:
        expected = np.array([measurement.expected for measurement in measurements])[finite]
        found[finite] += _trust(found[finite], expected) * (expected - expected.mean())
    found[~finite] += min(found[finite].min() - values[~finite].max(initial=-np.inf) - 1, 0.0)
    return found


def _trust(found: Floats, expected: Floats) -> float:
    """Compute how far expectations are believed, in [0, 1], by its correlation with what was found."""
    if np.ptp(expected) == 0 or np.ptp(found) == 0:
        return 0.0
    agreement = float(np.corrcoef(found, expected)[0, 1])
    trust = (DOUBT * AGREES + len(found) * agreement) / (DOUBT + len(found)) / AGREES
    return min(max(trust, 0.0), 1.0)
