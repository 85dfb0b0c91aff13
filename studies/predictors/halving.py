"""Successive halving by predicted final accuracies, replayed on whole learning curves.

Baker et al. (2017) call it fast Hyperband: a regression of the final accuracy takes the place of the last value. In the
third arm, a network that will hardly be promoted is dropped half-way to the next rung. The regressions learn from other
networks, whose whole trainings are not counted.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from sparsenas.comparison.predictors import KnownNetworks, networks_of_file
from sparsenas.predictors.regression import CurveRegression
from studies.common import Fields

Floats = NDArray[np.float64]
#: Networks that compete, others that the regressions learn from, and the share that goes on.
COMPETE, LEARN, FACTOR = 81, 100, 3
#: Epochs after which some go on; the last is the end.
RUNGS = (22, 67, 200, 600)
#: Least probability of being promoted at which a network is trained on.
KAPPA = 0.05
DRAWS = 100
#: Values by which networks are compared; whether a regression predicts them, and drops networks early.
ARMS = {"last value": (False, False), "predicted": (True, False), "predicted, dropped early": (True, True)}


class Halved(NamedTuple):
    """A network that came to its end first among its rivals, and the epochs of all."""

    best: int
    epochs: int


@cache
def known() -> KnownNetworks:
    """Curves of DARTS cells over 600 epochs."""
    return networks_of_file("${SPARSENAS_DATA}/darts_cifar10_curves.npz", [1])


class Values:
    """What networks are compared by after some epochs."""

    def __init__(self, learn: NDArray[np.int64], predict: bool, seed: int) -> None:
        self.learn, self.predict, self.seed = learn, predict, seed
        self._fitted: dict[int, CurveRegression] = {}

    def at(self, rows: NDArray[np.int64], epochs: int) -> tuple[Floats, float]:
        """Value of each network, and the deviation of its error."""
        curves = known().curves["val_accuracy"]
        if not self.predict or epochs == curves.shape[1]:
            return curves[rows, epochs - 1], 0.0
        if epochs not in self._fitted:
            self._fitted[epochs] = CurveRegression("summary", DRAWS, self.seed)
            self._fitted[epochs].fit_curves(curves[self.learn, :epochs], known().targets[self.learn])
        return self._fitted[epochs].query_curves(curves[rows, :epochs]), self._fitted[epochs].sigma


def halve(rows: NDArray[np.int64], values: Values, early: bool) -> Halved:
    """Let networks compete."""
    spent, before, goes_on = 0, 0, len(rows)
    for rung in RUNGS:
        goes_on //= FACTOR
        middle = (before + rung) // 2
        if early and before and goes_on:
            spent += len(rows) * (middle - before)
            before = middle
            found, sigma = values.at(rows, middle)
            bar = np.sort(found)[-goes_on]
            chances = norm.sf((bar - found) / max(sigma, 1e-12))
            rows = rows[(chances >= KAPPA) | (found >= bar)]
        spent += len(rows) * (rung - before)
        before = rung
        found, _ = values.at(rows, rung)
        rows = rows[np.argsort(-found, kind="stable")[: max(goes_on, 1)]]
    return Halved(int(rows[0]), spent)


def halving(arm: str, seed: int) -> Fields:
    """A row: the regret, in points below the best of those that competed, and the epochs in whole trainings."""
    order = np.random.default_rng((seed, COMPETE)).permutation(len(known()))
    learn, compete = order[:LEARN], order[LEARN : LEARN + COMPETE]
    targets = known().targets
    best = float(targets[compete].max())
    if arm == "random":  # as many whole trainings as the last value takes
        first = halve(compete, Values(learn, False, seed), False)
        count = round(first.epochs / RUNGS[-1])
        return _row(arm, seed, best - float(targets[compete[:count]].max()), float(count))
    predict, early = ARMS[arm]
    found = halve(compete, Values(learn, predict, seed), early)
    return _row(arm, seed, best - float(targets[found.best]), found.epochs / RUNGS[-1])


def _row(arm: str, seed: int, regret: float, trainings: float) -> Fields:
    return {"part": "halving", "arm": arm, "seed": seed, "regret": regret, "trained": trainings}
