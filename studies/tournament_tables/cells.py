"""Tournaments among the cells of NAS-Bench-201 and the chains of NAS-Bench-Macro, under caps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sparsenas.comparison.table_tournament import EarlyValues, hold, read_first_rung, share_for, winner
from sparsenas.search.measured.proposals import Proposer
from sparsenas.sparse_coding import GroupRegression
from studies.common import Fields
from studies.tournament_tables.populations import (
    DATA201,
    Cap,
    Population,
    Rows,
    largest_first,
    percentiles,
    synthetic,
)

#: What rows are called whose winner is not the best measured, but read by a code, or by the code and its measurement.
BY_CODE, BY_BOTH = ", winner by code", ", winner by both"
KEEP = 0.34


@dataclass(frozen=True)
class Arm:
    """A way to search.

    Attributes:
        rules: Most hand-made architectures, the largest first.
        random: Random draws of the band.
        filtered: Those of the band that the zero-cost filter likes best.
        proposed: Proposals of a code, in equal rounds.
        rounds: Rounds of proposals.
        rungs: Rungs.
        by_code: Also look up who wins by the code, and by the code and the measurements together.
    """

    rules: int = 0
    random: int = 0
    filtered: int = 0
    proposed: int = 0
    rounds: int = 1
    rungs: int = 1
    by_code: bool = False


#: NAS-Bench-201: epochs of a short training, of the final one, and of all.
SHORT, FINAL, TOTAL = 12.0, 200.0, 300.0
#: Cells of the band that the filter chooses from.
SAMPLE = 64
ARMS_201 = {
    "8 random": Arm(random=8),
    "5 random, 3 proposed": Arm(random=5, proposed=3, by_code=True),
    "8 filtered": Arm(filtered=8),
    "4 rule cells": Arm(rules=4),
    "8 rule cells": Arm(rules=8),
    "2 rule cells, 6 random": Arm(rules=2, random=6, by_code=True),
    "2 rule cells, 3 random, 3 proposed": Arm(rules=2, random=3, proposed=3, by_code=True),
    "2 rule cells, 6 filtered": Arm(rules=2, filtered=6, by_code=True),
    "2 rule cells, 3 filtered, 3 proposed": Arm(rules=2, filtered=3, proposed=3),
}
#: NAS-Bench-Macro: a training is twelve units; a search may take two trainings, and its winner a third one.
WHOLE, SEARCH = 12.0, 24.0
#: Units of the rungs, and the assumed rank correlations of their made-up values with the truth.
RUNGS_MACRO, CORRELATIONS = (1.0, 3.0), (0.7, 0.85)
ARMS_MACRO = {
    "24 random": Arm(random=24, by_code=True),
    "16 random, 8 proposed": Arm(random=16, proposed=8, rounds=2, by_code=True),
    "rules alone": Arm(rules=24),
    "6 rules, 18 random": Arm(rules=6, random=18, by_code=True),
    "6 rules, 10 random, 8 proposed": Arm(rules=6, random=10, proposed=8, rounds=2, by_code=True),
    "halving: 12 random": Arm(random=12, rungs=2),
    "halving: 8 random, 4 proposed": Arm(random=8, proposed=4, rungs=2),
    "halving: 4 rules, 8 random": Arm(rules=4, random=8, rungs=2),
    "halving: 4 rules, 4 random, 4 proposed": Arm(rules=4, random=4, proposed=4, rungs=2),
}


def on_nasbench201(population: Population, number: int, seeds: int, coded: int) -> Iterator[Fields]:
    """Searches on the three data sets under one cap: percentiles of their winners, and the epochs of the searches.

    Searches that recover codes, which take longer, have ``coded`` seeds.
    """
    cap, columns = population.caps[number], population.columns
    truth = {name: percentiles(columns[f"{name} final"], cap.allowed) for name in DATA201}
    early = {name: EarlyValues(population.keys, columns[f"{name} early"][:, None], (SHORT,)) for name in DATA201}
    ruled = population.hand_made & cap.allowed
    first = ruled & (cap.size == cap.size[ruled].max())
    for name, chosen in (("random of the band", cap.band), ("largest rule cell", first)):
        yield _fields("201", name, cap) | {data: _round(truth[data][chosen].mean()) for data in DATA201}
    for seed in range(seeds):
        rng = np.random.default_rng((seed, 201))
        rules, drawn = largest_first(ruled, cap.size, rng), rng.permutation(np.flatnonzero(cap.band))
        passed = drawn[:SAMPLE][np.argsort(-columns["filter"][drawn[:SAMPLE]], kind="stable")]
        for name, arm in ARMS_201.items():
            if seed >= coded and (arm.proposed or arm.by_code):
                continue
            found: dict[str, Fields] = {}
            for data in DATA201:
                pools = rules, drawn, passed
                for row, spent, ending in _winners(
                    population, cap, early[data], arm, pools, TOTAL - FINAL, TOTAL, seed
                ):
                    fields = _fields("201", name + ending, cap) | {"seed": seed, "spent": spent}
                    found.setdefault(ending, fields)[data] = _round(truth[data][row])
            yield from found.values()


def on_nasbench_macro(population: Population, number: int, seeds: int) -> Iterator[Fields]:
    """Searches by made-up early values under one cap: accuracies and percentiles of their winners."""
    cap, final, flops = population.caps[number], population.columns["final"], population.columns["flops"]
    truth = percentiles(final, cap.allowed)
    ruled = population.hand_made & cap.allowed
    most = cap.allowed & (flops == flops[cap.allowed].max())
    first = ruled & (cap.size == cap.size[ruled].max())
    for name, chosen in (("random of the band", cap.band), ("most FLOPs", most), ("largest by rule", first)):
        yield _fields("macro", name, cap) | _judged(final[chosen].mean(), truth[chosen].mean())
    for seed in range(seeds):
        rng = np.random.default_rng((seed, 8))
        rules, drawn = largest_first(ruled, cap.size, rng), rng.permutation(np.flatnonzero(cap.band))
        made = np.stack([synthetic(final, cap.allowed, value, rng) for value in CORRELATIONS], axis=1)
        whole = drawn[: 1 + int(SEARCH // WHOLE)]
        best, name = int(whole[final[whole].argmax()]), f"best of {len(whole)} random, trained whole"
        yield _fields("macro", name, cap) | {"seed": seed, "spent": SEARCH} | _judged(final[best], truth[best])
        for name, arm in ARMS_MACRO.items():
            early = EarlyValues(population.keys, made[:, : arm.rungs], RUNGS_MACRO[: arm.rungs])
            pools = rules, drawn, drawn[:0]
            for row, spent, ending in _winners(population, cap, early, arm, pools, SEARCH, WHOLE + SEARCH, seed):
                fields = _fields("macro", name + ending, cap) | {"seed": seed, "spent": spent}
                yield fields | _judged(final[row], truth[row])


def _winners(
    population: Population,
    cap: Cap,
    early: EarlyValues,
    arm: Arm,
    pools: tuple[Rows, Rows, Rows],
    search: float,
    length: float,
    seed: int,
) -> Iterator[tuple[int, float, str]]:
    """Hold a tournament; gives the row of each winner, the epochs of the search, and the end of the name."""
    proposer = Proposer(population.space, 32, population.fits(cap), None, GroupRegression(), seed, population.decoder)
    entrants = _entrants(population.keys, arm, pools)
    each = arm.proposed // arm.rounds
    history = hold(early, entrants, length, share_for(search, length), KEEP, proposer, each, arm.rounds)
    yield early.row(winner(history)), history.spent, ""
    if arm.by_code:
        read = read_first_rung(history, proposer)
        yield early.row(read.code), history.spent, BY_CODE
        yield early.row(read.both), history.spent, BY_BOTH


def _entrants(keys: Sequence[str], arm: Arm, pools: tuple[Rows, Rows, Rows]) -> list[tuple[str, str]]:
    """Keys and origins of those who enter at the start; random ones take the place of rules that the cap forbids."""
    rules, drawn, passed = pools
    found = {int(row): "rule" for row in rules[: arm.rules]}
    missing = arm.rules - len(found) if arm.random + arm.filtered else 0
    for pool, count, origin in ((passed, arm.filtered, "filter"), (drawn, arm.random + missing, "random")):
        new = [int(row) for row in pool if int(row) not in found][:count]
        found |= dict.fromkeys(new, origin)
    return [(keys[row], origin) for row, origin in found.items()]


def _fields(part: str, arm: str, cap: Cap) -> Fields:
    return {"part": part, "arm": arm, "among": cap.name, "seed": "", "spent": 0.0}


def _judged(accuracy: float, percentile: float) -> Fields:
    return {"accuracy": _round(accuracy), "percentile": _round(percentile)}


def _round(value: float) -> float:
    return round(float(value), 2)
