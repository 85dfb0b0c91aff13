"""Measurements of a tournament so far: they alone decide what comes next, so a resumed one goes the same way."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

Floats = NDArray[np.float64]


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
    """

    entrant: Entrant
    rung: int
    losses: tuple[float, ...]
    accuracy: float
    length: float
    spent: float
    bonus: float = 0.0

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
        found = [measurement for measurement in self.measurements if measurement.rung == rung]
        return sorted(found, key=lambda measurement: measurement.entrant.number)

    def ranked(self, rung: int) -> list[Measurement]:
        """Measurements at a rung, the best first; equal ones in the order of entering."""
        found = self.at(rung)
        return [found[index] for index in np.argsort(-scores(found), kind="stable")]

    def leader(self) -> Measurement | None:
        """The best at the highest rung; ``None`` before the first measurement, and if all have diverged."""
        for rung in range(self.highest, -1, -1):
            found = [measurement for measurement in self.ranked(rung) if np.isfinite(measurement.loss)]
            if found:
                return found[0]
        return None


def scores(measurements: list[Measurement]) -> Floats:
    """Score measurements at one rung, shape ``(K,)``, more is better: normal scores of paired losses.

    On each part of the images the entrants are ranked, and ranks become quantiles of a normal distribution; the score
    is the mean over the parts. So no single part, and no entrant that has failed, dominates. Ties that this leaves are
    decided by the mean loss. Then come the bonuses, of which only differences count.
    """
    if not measurements:
        return np.empty(0)
    losses = np.array([measurement.losses for measurement in measurements], dtype=np.float64)
    ranks = np.apply_along_axis(rankdata, 0, -losses)
    values: Floats = norm.ppf((ranks - 0.5) / len(losses)).mean(1)
    ties: Floats = rankdata(-losses.mean(1)) / (1e9 * len(losses))
    bonuses = np.array([measurement.bonus for measurement in measurements])
    return values + ties + np.where(np.isfinite(losses).all(1), bonuses - bonuses.mean(), 0.0)
