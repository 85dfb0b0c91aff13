"""Epochs on NAS-Bench-101: halving against whole trainings, and what share of them a search should take."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from sparsenas.comparison.table_tournament import EarlyValues, hold, most_entrants, share_for, winner
from sparsenas.search.measured.governor import Governor
from studies.common import Fields
from studies.tournament_tables.populations import Flags, Floats

#: Epochs of the four columns. Each is a training of its own.
COLUMNS = {"val4": 4.0, "val12": 12.0, "val36": 36.0, "val108": 108.0}
LAST = 108.0
KEEP = 0.34
#: Seeds of a row.
BLOCK = 10
#: Epochs of search and final training together, for whole trainings and halving.
TOTALS = (216, 432)
#: Rungs of a search by the names of its arm.
RUNGS = {
    "after 4 epochs": (0,),
    "after 12 epochs": (1,),
    "after 36 epochs": (2,),
    "halving: after 4, 12, 36 epochs": (0, 1, 2),
    "halving: after 12, 36 epochs": (1, 2),
    "halving: after 4, 36 epochs": (0, 2),
}
#: The same for the governor, and the fixed shares beside it.
BUDGETS = (108, 160, 216, 324, 432, 864)
SHARES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
#: Factor by which slopes fall at each tripling of the epochs after the last column, as they do before it.
FALL = 0.39
#: Slopes of log errors that a governor may expect, beside the one that it ships with.
SLOPES = (0.03, 0.06, 0.12, 0.24, 0.48)
#: A cap on parameters at this quantile, and the band below it.
QUANTILE, BAND = 0.5, 0.7


def populations(columns: dict[str, Floats]) -> dict[str, Flags]:
    """Everyone, and a band of parameters."""
    cap = np.quantile(columns["params"], QUANTILE)
    return {
        "all": np.ones(len(columns["params"]), bool),
        "band": (columns["params"] <= cap) & (columns["params"] >= BAND * cap),
    }


def short_trainings(keys: Sequence[str], columns: dict[str, Floats], number: int, seeds: int) -> Iterator[Fields]:
    """Searches by short trainings, and whole trainings in the same epochs; each row is the mean of ten seeds."""
    among, allowed = list(populations(columns).items())[number]
    early, final, found = _early(columns), columns["val108"], _Blocks("101", among)
    held = {name: EarlyValues(keys, early[:, list(rungs)], _epochs(rungs)) for name, rungs in RUNGS.items()}
    for seed in range(seeds):
        drawn = np.random.default_rng((seed, 101)).permutation(np.flatnonzero(allowed))
        for total in TOTALS:
            search = total - LAST
            best = float(final[drawn[: int(total // LAST)]].max())
            found.add("random, whole trainings", total, seed, spent=search, accuracy=best)
            for arm, values in held.items():
                entrants = [(keys[row], "random") for row in drawn[: most_entrants(values.epochs, KEEP, search)]]
                history = hold(values, entrants, total, share_for(search, total), KEEP)
                accuracy = float(final[values.row(winner(history))])
                found.add(arm, total, seed, spent=history.spent, accuracy=accuracy)
    return found.rows()


def governed(keys: Sequence[str], columns: dict[str, Floats], number: int, seeds: int) -> Iterator[Fields]:
    """Searches of shares of the epochs, fixed or weighed; the winner trains for what is left.

    Each row is the mean of ten seeds.
    """
    among, allowed = list(populations(columns).items())[number]
    early, found = EarlyValues(keys, _early(columns), _epochs((0, 1, 2))), _Blocks("governor", among)
    later = slopes(columns, allowed)[-1] * FALL
    weighing = {"Governor()": Governor(), "measured": measured_governor(columns, allowed)}
    weighing |= {f"slope {slope:g}": Governor(slope=slope) for slope in SLOPES}
    for seed in range(seeds):
        drawn = np.random.default_rng((seed, 102)).permutation(np.flatnonzero(allowed))
        for total in BUDGETS:
            for arm, governor in (
                {f"share {share:g}": share_for(share * total, total) for share in SHARES} | weighing
            ).items():
                most = most_entrants(early.epochs, KEEP, governor.most * total)
                row, spent = int(drawn[0]), 0.0
                if most:
                    history = hold(early, [(keys[row], "random") for row in drawn[:most]], total, governor, KEEP)
                    row, spent = early.row(winner(history)), history.spent
                accuracies = [final_accuracy(columns, row, total - spent, slope) for slope in (later, 0.0)]
                found.add(arm, total, seed, spent=spent, accuracy=accuracies[0], flat=accuracies[1])
    return found.rows()


class _Blocks:
    """Means of ten seeds each, as rows."""

    def __init__(self, part: str, among: str) -> None:
        self.part, self.among = part, among
        self._found: dict[tuple[str, int, int], list[dict[str, float]]] = {}

    def add(self, arm: str, total: int, seed: int, **numbers: float) -> None:
        """Add a search."""
        self._found.setdefault((arm, total, seed // BLOCK), []).append(numbers)

    def rows(self) -> Iterator[Fields]:
        """One row for each arm, total and block."""
        for (arm, total, block), of in self._found.items():
            fields = {"part": self.part, "arm": arm, "among": self.among, "seed": block, "total": total}
            yield fields | {name: round(float(np.mean([item[name] for item in of])), 3) for name in of[0]}


def final_accuracy(columns: dict[str, Floats], row: int, epochs: float, later: float) -> float:
    """Accuracy in percent after a whole schedule of so many epochs.

    Between the columns it is linear in the logarithm of the epochs. After the last one, the logarithm of the error
    falls by the slope ``later`` at first, and each tripling of the epochs divides the slope as the last ones did.

    Args:
        columns: Accuracies in percent by column.
        row: The architecture.
        epochs: Epochs, at least those of the first column.
        later: Slope between 108 and 324 epochs; 0 for no gain.
    """
    known = [float(columns[name][row]) for name in COLUMNS]
    if epochs <= LAST:
        return float(np.interp(np.log(epochs), np.log(list(COLUMNS.values())), known))
    triplings = np.log(epochs / LAST) / np.log(3)
    # the sum of slopes that fall by one factor at each tripling, part of a tripling in proportion
    whole = int(triplings)
    gained = sum(later * FALL**number for number in range(whole)) + later * FALL**whole * (triplings - whole)
    return float(100 - (100 - known[-1]) * np.exp(-gained * np.log(3)))


def slopes(columns: dict[str, Floats], allowed: Flags) -> list[float]:
    """Median slope of log errors over log epochs, from each column to the next."""
    errors = [np.log(1 - columns[name][allowed] / 100) for name in COLUMNS]
    return [float(-np.median(after - before) / np.log(3)) for before, after in pairwise(errors)]


def measured_governor(columns: dict[str, Floats], allowed: Flags) -> Governor:
    """The governor with what the table says of it: known after the fact only.

    The spread is that of a normal distribution with the same quartiles, the slope the last median one.
    """
    final = np.log(1 - columns["val108"][allowed] / 100)
    spread = float(np.subtract(*np.percentile(final, [75, 25]))) / 1.349
    reliability = tuple(
        float(np.corrcoef(_ranks(columns[name][allowed]), _ranks(final))[0, 1]) * -1 for name in list(COLUMNS)[:-1]
    )
    return Governor(spread=spread, slope=slopes(columns, allowed)[-1], reliability=reliability)


def _epochs(rungs: Sequence[int]) -> tuple[float, ...]:
    return tuple(list(COLUMNS.values())[rung] for rung in rungs)


def _early(columns: dict[str, Floats]) -> Floats:
    return np.stack([columns[name] for name in list(COLUMNS)[:-1]], axis=1)


def _ranks(numbers: Floats) -> Floats:
    return np.argsort(np.argsort(numbers)).astype(np.float64)
