"""What the chosen cells are worth, looked up after all of them were chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from sparsenas.comparison.plan import Plan
from sparsenas.comparison.records import Record
from sparsenas.complexity import CandidateCosts, live_support
from sparsenas.errors import DataError, GenotypeError, RankingError, TableError
from sparsenas.ranking import kendall_tau, percentile
from sparsenas.spaces import SearchSpace, Support
from sparsenas.tables import BenchmarkTable

Floats = NDArray[np.float64]

#: Names of the baselines.
RANDOM, BAND, LARGEST, LIVE = "random cell", "random in the band", "most parameters", "most live parameters"
BUSIEST = "most live multiply-adds"
BASELINES = (RANDOM, BAND, LARGEST, LIVE, BUSIEST)
#: Least live parameters of a cell of the band, as a share of the most within the cap.
BAND_SHARE = 0.7


class SignTest(NamedTuple):
    """How often an accuracy is above a number.

    Attributes:
        wins: Above it.
        runs: Above or below it; equal ones do not count.
        p: Two-sided, of a fair coin; 1 without runs.
    """

    wins: int
    runs: int
    p: float


@dataclass(frozen=True)
class Row:
    """A searcher, or a baseline, under a cap. Accuracies are in percent.

    Attributes:
        cap: Most parameters; ``None`` for no cap.
        name: Of the searcher or the baseline.
        runs: Seeds; of a baseline, how many cells it leaves open.
        mean: Mean accuracy; of a baseline, the exact one over those cells.
        median: Of the same; the sign tests go by those of the baselines.
        worst: Of the same.
        best: Of the same.
        percentile: Mean percentile among the feasible cells.
        visited: Mean number of architectures visited.
        seconds: Mean duration of a search, which decides under all caps.
        cut: Searches that the budget ended.
        tau: Mean Kendall's tau-b of scores and accuracies among the feasible cells that the search compared; ``None``
            where there are no two of them to rank.
        beats_random: Against the median feasible cell: for random cells, heads is as likely as tails.
        beats_largest: Against the median of the feasible cells of most parameters.
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
    """A run and what it is worth.

    Attributes:
        record: The run.
        chosen: Accuracy of its cell under each cap.
        percentiles: Of these among the feasible cells.
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
    """A comparison, judged.

    Attributes:
        plan: What was planned.
        rows: By cap in the order of the plan; baselines first, then searchers.
        feasible: How many cells are within each cap.
        runs: All finished runs.
    """

    plan: Plan
    rows: tuple[Row, ...]
    feasible: Mapping[float | None, int]
    runs: tuple[Judged, ...]


def sign_test(accuracies: Sequence[float] | Floats, threshold: float) -> SignTest:
    """Two-sided sign test of accuracies against a number."""
    values = np.asarray(accuracies)
    wins, runs = int((values > threshold).sum()), int((values != threshold).sum())
    return SignTest(wins, runs, float(binomtest(wins, runs).pvalue) if runs else 1.0)


def make_report(plan: Plan, records: Sequence[Record], table: BenchmarkTable) -> Report:
    """Look up what was chosen.

    Args:
        plan: The plan of the runs.
        records: Finished runs of the plan, at least one.
        table: Of the plan's space.

    Raises:
        DataError: If a run chose a cell that is none of the space, or more than its cap allows.
    """
    truth = table.accuracies(*plan.training)
    published = plan.published.costs(plan.space)
    costs = total_costs(table, plan.space, published)
    live = total_costs(table, plan.space, published, live=True)
    work = total_costs(table, plan.space, published, "multiply_adds", live=True)
    judged = tuple(_judged(record, table, truth, costs) for record in records)
    rows: list[Row] = []
    for cap in plan.caps:
        within = costs <= (np.inf if cap is None else cap)
        if not within.any():
            raise DataError(f"caps: no cell has at most {cap:g} parameters; the smallest has {costs.min():g}")
        population = truth[within]
        largest = population[costs[within] == costs[within].max()]
        most = live[within].max()
        rows += [
            _baseline(cap, RANDOM, population, population),
            _baseline(cap, BAND, population[live[within] >= BAND_SHARE * most], population),
            _baseline(cap, LARGEST, largest, population),
            _baseline(cap, LIVE, population[live[within] == most], population),
            _baseline(cap, BUSIEST, population[work[within] == work[within].max()], population),
        ]
        for name in plan.searchers:
            of_searcher = [run for run in judged if run.record.searcher == name]
            if of_searcher:
                rows.append(_row(cap, name, of_searcher, table, truth, within, largest))
    feasible = {cap: int((costs <= (np.inf if cap is None else cap)).sum()) for cap in plan.caps}
    return Report(plan, tuple(rows), feasible, judged)


def total_costs(
    table: BenchmarkTable,
    space: SearchSpace,
    costs: CandidateCosts,
    unit: Literal["parameters", "multiply_adds"] = "parameters",
    live: bool = False,
) -> Floats:
    """Cost of every cell of a table in the network of the costs, in its order, shape ``(R,)``.

    Args:
        table: The table.
        space: Its space.
        costs: Of the candidates.
        unit: What is counted.
        live: Whether to count only what lies on a path through the cell.
    """
    rows: tuple[tuple[int, ...], ...] = getattr(costs, unit)
    base: int = getattr(costs, f"base_{unit}")

    def total(support: Support) -> int:
        kept = zip(rows, live_support(space, support) if live else support, strict=True)
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


def _baseline(cap: float | None, name: str, cells: Floats, population: Floats) -> Row:
    mean, median, worst, best = _summary(cells)
    return Row(cap, name, len(cells), mean, median, worst, best, float(percentile(cells, population).mean()))


def _row(
    cap: float | None,
    name: str,
    runs: Sequence[Judged],
    table: BenchmarkTable,
    truth: Floats,
    within: NDArray[np.bool_],
    largest: Floats,
) -> Row:
    accuracies = np.array([run.chosen[cap] for run in runs])
    population = truth[within]
    taus = [tau for run in runs if (tau := _tau(run.record, cap, table, truth, within)) is not None]
    mean, median, worst, best = _summary(accuracies)
    return Row(
        cap=cap,
        name=name,
        runs=len(runs),
        mean=mean,
        median=median,
        worst=worst,
        best=best,
        percentile=float(percentile(accuracies, population).mean()),
        visited=float(np.mean([run.record.visited for run in runs])),
        seconds=float(np.mean([run.record.seconds for run in runs])),
        cut=sum(run.record.cut for run in runs),
        tau=float(np.mean(taus)) if taus else None,
        beats_random=sign_test(accuracies, float(np.median(population))),
        beats_largest=sign_test(accuracies, float(np.median(largest))),
    )


def _summary(values: Floats) -> tuple[float, float, float, float]:
    return float(values.mean()), float(np.median(values)), float(values.min()), float(values.max())


def _tau(
    record: Record, cap: float | None, table: BenchmarkTable, truth: Floats, within: NDArray[np.bool_]
) -> float | None:
    scored = [(_number(record, text, table), score) for text, score in dict(record.scored)[cap]]
    feasible = [(row, score) for row, score in scored if within[row]]
    try:
        return kendall_tau([score for _, score in feasible], truth[[row for row, _ in feasible]])
    except (RankingError, IndexError):  # fewer than two, or all equal
        return None
