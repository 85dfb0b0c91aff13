"""The accuracies of the chosen cells, looked up after all of them were chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from sparsenas.comparison.plan import Plan
from sparsenas.comparison.records import Record
from sparsenas.comparison.rules import has_hand_made, is_hand_made
from sparsenas.complexity import CandidateCosts, effective_support
from sparsenas.errors import DataError, GenotypeError, RankingError, TableError
from sparsenas.ranking import kendall_tau, percentile
from sparsenas.spaces import SearchSpace, Support
from sparsenas.tables import BenchmarkTable

Floats = NDArray[np.float64]

#: Names of the baselines.
RANDOM, BAND, LARGEST, EFFECTIVE = "random cell", "random in the band", "most parameters", "most effective parameters"
BUSIEST = "most effective MACs"
#: Largest one by a rule of :mod:`~sparsenas.comparison.rules`, in the spaces that have one.
HAND_MADE = "hand-made rule"
BASELINES = (RANDOM, BAND, LARGEST, EFFECTIVE, BUSIEST, HAND_MADE)
#: Least effective parameters of a cell of the band, as a share of the most within the cap.
BAND_SHARE = 0.7


class SignTest(NamedTuple):
    """Count of accuracies above a number.

    Attributes:
        wins: Runs above it.
        runs: Runs above or below it; equal ones do not count.
        p: Two-sided, for a fair coin; 1 without runs.
    """

    wins: int
    runs: int
    p: float


@dataclass(frozen=True)
class Row:
    """A searcher, or a baseline, under a cap. Accuracies are in percent.

    Attributes:
        cap: Most parameters; None for no cap.
        name: Name of the searcher or the baseline.
        runs: Seeds; for a baseline, the number of its cells.
        mean: Mean accuracy; for a baseline, the exact one over its cells, as in the next three.
        median: Median accuracy.
        worst: Lowest accuracy.
        best: Highest accuracy.
        percentile: Mean percentile among the feasible cells.
        visited: Mean number of visited architectures.
        seconds: Mean time of a search, which decides under all caps.
        cut: Searches that the time budget ended.
        tau: Mean Kendall's tau-b of scores and accuracies among the compared feasible cells; None without two of them.
        beats_random: Test against the median feasible cell.
        beats_largest: Test against the median of the feasible cells with most parameters.
    """

    cap: float | None
    name: str
    runs: int
    mean: float
    median: float
    worst: float
    best: float
    percentile: float
    visited: float | None = None
    seconds: float | None = None
    cut: int | None = None
    tau: float | None = None
    beats_random: SignTest | None = None
    beats_largest: SignTest | None = None


class Judged(NamedTuple):
    """A run and its accuracies.

    Attributes:
        record: The run.
        chosen: Accuracy of its cell under each cap.
        percentiles: Percentile of each among the feasible cells.
        seconds: Times at which its uncapped cell changed.
        accuracies: Accuracy from those times on.
    """

    record: Record
    chosen: Mapping[float | None, float]
    percentiles: Mapping[float | None, float]
    seconds: Floats
    accuracies: Floats


@dataclass(frozen=True)
class Report:
    """A comparison with its accuracies.

    Attributes:
        plan: The plan.
        rows: By cap in the order of the plan; baselines first, then searchers.
        feasible: Number of cells within each cap.
        runs: All finished runs.
    """

    plan: Plan
    rows: tuple[Row, ...]
    feasible: Mapping[float | None, int]
    runs: tuple[Judged, ...]


def sign_test(accuracies: Sequence[float] | Floats, threshold: float) -> SignTest:
    """Test accuracies against a number by a two-sided sign test."""
    values = np.asarray(accuracies)
    wins, runs = int((values > threshold).sum()), int((values != threshold).sum())
    return SignTest(wins, runs, float(binomtest(wins, runs).pvalue) if runs else 1.0)


def make_report(plan: Plan, records: Sequence[Record], table: BenchmarkTable) -> Report:
    """Look up the accuracies of the chosen cells in a table of the plan's space; at least one run is finished.

    Raises:
        DataError: If a run chose a cell outside the space, or above its cap.
    """
    truth = table.accuracies(*plan.training)
    published = plan.published.costs(plan.space)
    costs = total_costs(table, plan.space, published)
    effective = total_costs(table, plan.space, published, effective=True)
    work = total_costs(table, plan.space, published, "macs", effective=True)
    judged = tuple(_judged(record, table, truth, costs) for record in records)
    by_rule = _by_rule(table, plan, costs)
    rows: list[Row] = []
    feasible: dict[float | None, int] = {}
    for cap in plan.caps:
        within = costs <= (np.inf if cap is None else cap)
        if not within.any():
            raise DataError(f"caps: no cell has at most {cap:g} parameters; the smallest has {costs.min():g}")
        population = truth[within]
        largest = population[costs[within] == costs[within].max()]
        most = effective[within].max()
        rows += [
            _row(cap, RANDOM, population, population),
            _row(cap, BAND, population[effective[within] >= BAND_SHARE * most], population),
            _row(cap, LARGEST, largest, population),
            _row(cap, EFFECTIVE, population[effective[within] == most], population),
            _row(cap, BUSIEST, population[work[within] == work[within].max()], population),
        ]
        if by_rule is not None:
            known = costs * (within & by_rule)
            rows.append(_row(cap, HAND_MADE, truth[(known > 0) & (known == known.max())], population))
        for name in plan.searchers:
            of_searcher = [run for run in judged if run.record.searcher == name]
            if of_searcher:
                rows.append(_searcher_row(cap, name, of_searcher, table, truth, within, largest))
        feasible[cap] = len(population)
    return Report(plan, tuple(rows), feasible, judged)


def _by_rule(table: BenchmarkTable, plan: Plan, costs: Floats) -> NDArray[np.bool_] | None:
    """Mark what a person would build, shape ``(R,)``; ``None`` without a rule, or where a cap allows nothing of it."""
    if not has_hand_made(plan.space.name):
        return None
    marked = np.array([is_hand_made(genotype) for genotype in table])
    least = costs[marked].min(initial=np.inf)
    return marked if all(cap is None or cap >= least for cap in plan.caps) else None


def total_costs(
    table: BenchmarkTable,
    space: SearchSpace,
    costs: CandidateCosts,
    unit: Literal["parameters", "macs"] = "parameters",
    effective: bool = False,
) -> Floats:
    """Return the cost of every cell of a table, in its order, shape ``(R,)``.

    ``unit`` is what is counted; ``effective`` counts only what lies on a path through the cell.
    """
    rows: tuple[tuple[int, ...], ...] = getattr(costs, unit)
    base: int = getattr(costs, f"base_{unit}")

    def total(support: Support) -> int:
        kept = zip(rows, effective_support(space, support) if effective else support, strict=True)
        return base + sum(row[index] for row, indices in kept for index in indices)

    return np.array([total(space.support(genotype)) for genotype in table], dtype=np.float64)


def _judged(record: Record, table: BenchmarkTable, truth: Floats, costs: Floats) -> Judged:
    chosen, percentiles = {}, {}
    for cap, text in record.chosen:
        row = _number(record, text, table)
        if cap is not None and costs[row] > cap:
            raise DataError(f"{_named(record)}: {text} has {costs[row]:g} parameters, more than its cap of {cap:g}")
        chosen[cap] = float(truth[row])
        percentiles[cap] = float(percentile(truth[row], truth[costs <= (np.inf if cap is None else cap)]))
    rows = [_number(record, text, table) for _, text in record.timeline]
    return Judged(record, chosen, percentiles, np.array([seconds for seconds, _ in record.timeline]), truth[rows])


def _number(record: Record, text: str, table: BenchmarkTable) -> int:
    try:
        return table.row(table.space.from_string(text))
    except (GenotypeError, TableError) as error:
        raise DataError(f"{_named(record)}: {error}; remove its line, and the run is repeated") from error


def _named(record: Record) -> str:
    return f"run of {record.searcher} with seed {record.seed}"


def _searcher_row(
    cap: float | None,
    name: str,
    runs: Sequence[Judged],
    table: BenchmarkTable,
    truth: Floats,
    within: NDArray[np.bool_],
    largest: Floats,
) -> Row:
    accuracies = np.array([run.chosen[cap] for run in runs])
    taus = [tau for run in runs if (tau := _tau(run.record, cap, table, truth, within)) is not None]
    return replace(
        _row(cap, name, accuracies, truth[within]),
        visited=float(np.mean([run.record.visited for run in runs])),
        seconds=float(np.mean([run.record.seconds for run in runs])),
        cut=sum(run.record.cut for run in runs),
        tau=float(np.mean(taus)) if taus else None,
        beats_random=sign_test(accuracies, float(np.median(truth[within]))),
        beats_largest=sign_test(accuracies, float(np.median(largest))),
    )


def _row(cap: float | None, name: str, values: Floats, population: Floats) -> Row:
    mean, median, worst, best = (float(f(values)) for f in (np.mean, np.median, np.min, np.max))
    return Row(cap, name, len(values), mean, median, worst, best, float(percentile(values, population).mean()))


def _tau(
    record: Record, cap: float | None, table: BenchmarkTable, truth: Floats, within: NDArray[np.bool_]
) -> float | None:
    scored = [(_number(record, text, table), score) for text, score in dict(record.scored)[cap]]
    feasible = [(row, score) for row, score in scored if within[row]]
    try:
        return kendall_tau([score for _, score in feasible], truth[[row for row, _ in feasible]])
    except (RankingError, IndexError):  # fewer than two, or all equal
        return None
