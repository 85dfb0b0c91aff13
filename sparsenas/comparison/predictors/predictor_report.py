"""The report of a ranking of predictors: figures with their spread, the best for each budget, the Pareto front."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from sparsenas.comparison.predictors.judging import BIN, TOP, Point
from sparsenas.comparison.predictors.predictor_plan import PredictorPlan
from sparsenas.comparison.predictors.predictor_record import PredictorRecord
from sparsenas.comparison.records import processors_note
from sparsenas.predictors import SUITE


@dataclass(frozen=True)
class PredictorRow:
    """A predictor at one size and one look, over its seeds.

    Attributes:
        name: Name of the predictor.
        family: Family of the suite.
        size: Networks that it has learned from.
        epoch: Epoch up to which curves were known.
        seeds: Seeds with a ranking.
        failed: Seeds without one.
        problem: Why the first of these has none.
        means: Mean of each figure over the seeds.
        deviations: Deviation of each figure between seeds; 0 for a single one.
        fit_seconds: Median processor seconds of a fit.
        query_seconds: Median processor seconds for each network.
        epochs: Epochs of training that it takes to rank all networks of the test, those to learn from included.
    """

    name: str
    family: str
    size: int
    epoch: int
    seeds: int
    failed: int
    problem: str
    means: dict[str, float]
    deviations: dict[str, float]
    fit_seconds: float
    query_seconds: float
    epochs: int

    @property
    def tau(self) -> float:
        """Mean of Kendall's tau."""
        return self.means["tau"]


class Regime(NamedTuple):
    """A budget: most networks to learn from, and most epochs of each network that is scored."""

    size: int
    epoch: int


def summarize_predictors(records: Sequence[PredictorRecord], test: int) -> list[PredictorRow]:
    """Summarise over seeds, in the order of the records.

    Args:
        records: Predictors that were judged.
        test: Number of networks that were ranked.
    """
    points: dict[tuple[str, int, int], list[Point]] = {}
    for record in records:
        for point in record.points:
            points.setdefault((record.searcher, point.size, point.epoch), []).append(point)
    return [_row(name, size, epoch, found, test) for (name, size, epoch), found in points.items()]


def best_by_regime(rows: Sequence[PredictorRow]) -> dict[Regime, list[PredictorRow]]:
    """Find the best predictors within each budget: no more networks to learn from, no more epochs of each.

    Returns:
        For each regime, the one of highest mean tau, then those of other names whose mean is within one standard error
        of the difference, best first.
    """
    ranked = [row for row in rows if row.means]
    sizes = sorted({row.size for row in ranked})
    epochs = sorted({row.epoch for row in ranked})
    found = {}
    for size in sizes:
        for epoch in epochs:
            within = sorted((r for r in ranked if r.size <= size and r.epoch <= epoch), key=lambda r: -r.tau)
            of_name: dict[str, PredictorRow] = {}
            for row in within:
                of_name.setdefault(row.name, row)
            if of_name:
                best, *others = of_name.values()
                found[Regime(size, epoch)] = [best, *(row for row in others if best.tau - row.tau <= _error(best, row))]
    return found


def pareto_front(rows: Sequence[PredictorRow]) -> list[PredictorRow]:
    """Find the rows of which no other has a higher mean tau at no more epochs; cheapest first."""
    front: list[PredictorRow] = []
    for row in sorted((row for row in rows if row.means), key=lambda row: (row.epochs, -row.tau)):
        if not front or row.tau > front[-1].tau:
            front.append(row)
    return front


def predictor_content(rows: Sequence[PredictorRow]) -> dict[str, Any]:
    """All rows, the best of each regime and the front, as what JSON knows."""
    return {
        "rows": [asdict(row) for row in rows],
        "best": [
            {"size": size, "epoch": epoch, "predictors": [row.name for row in best]}
            for (size, epoch), best in best_by_regime(rows).items()
        ],
        "pareto_front": [
            {"name": r.name, "size": r.size, "epoch": r.epoch, "epochs": r.epochs} for r in pareto_front(rows)
        ],
    }


def predictor_markdown(plan: PredictorPlan, rows: Sequence[PredictorRow], records: Sequence[PredictorRecord]) -> str:
    """Format the report."""
    sizes, epochs = (sorted({getattr(row, what) for row in rows}) for what in ("size", "epoch"))
    largest = {(row.name, row.epoch): row for row in sorted(rows, key=lambda row: row.size) if row.means}
    ordered = sorted(largest.values(), key=lambda row: -row.tau)
    place = {(row.name, row.size, row.epoch): row for row in rows}
    lines = [
        f"# {plan.name}",
        "",
        f"Kendall's tau on {plan.settings['test']} networks, mean and deviation of seeds.",
        "",
    ]
    lines += [_line("predictor", "family", "epochs", *(f"n = {size}" for size in sizes)), _rule(3 + len(sizes))]
    for row in ordered:
        cells = [_cell(place.get((row.name, size, row.epoch))) for size in sizes]
        lines.append(_line(row.name, row.family, str(row.epoch), *cells))
    for row in (row for row in rows if not row.means and (row.name, row.epoch) not in largest):
        lines.append(_line(row.name, row.family, str(row.epoch), *("-" for _ in sizes)))
    lines += ["", "## Each at its largest size", ""]
    figures = ("tau", "spearman", "sparse_tau", "ndcg_10", "top_10", "regret_1", "regret_10", "rank_10")
    lines += [_line("predictor", "n", "epochs", *figures, "fit s", "query ms"), _rule(5 + len(figures))]
    for row in ordered:
        numbers = [f"{row.means[name]:.{_DIGITS.get(name, 3)}f}" for name in figures]
        seconds = (f"{row.fit_seconds:.2f}", f"{1e3 * row.query_seconds:.2f}")
        lines.append(_line(row.name, str(row.size), str(row.epoch), *numbers, *seconds))
    lines += ["", "## Best within a budget", "", _line("n at most", *(f"{epoch} epochs each" for epoch in epochs))]
    lines += [_rule(1 + len(epochs))]
    best = best_by_regime(rows)
    for size in sizes:
        found = [best.get(Regime(size, epoch), []) for epoch in epochs]
        lines.append(_line(str(size), *(", ".join(f"{row.name} {row.tau:.2f}" for row in regime) for regime in found)))
    lines += ["", "## Pareto front of tau against epochs of training", ""]
    lines += [_line("predictor", "n", "epochs each", "epochs in all", "tau"), _rule(5)]
    lines += [
        _line(row.name, str(row.size), str(row.epoch), f"{row.epochs:,}", f"{row.tau:.3f}")
        for row in pareto_front(rows)
    ]
    lines += [
        "",
        f"`n` networks were trained to their end, to learn from; smaller sizes are a beginning of larger ones. No two "
        f"networks are isomorphic. `epochs` of each network that is scored are trained, too. `sparse_tau` ignores "
        f"differences below {BIN:g} points of accuracy. `regret` is in points: what the first, or the best of "
        f"the first {TOP}, lacks to the best of those scored. Beside the best of a budget stand those that "
        "the seeds do not tell from it, by one standard error.",
    ]
    for row in (row for row in rows if row.failed):
        lines.append(
            f"\n`{row.name}` has no ranking in {row.failed} seeds at n = {row.size}, {row.epoch} epochs: {row.problem}."
        )
    for name in dict.fromkeys(record.searcher for record in records if not record.points):
        lines.append(f"\n`{name}` has no ranking: it needs more networks to learn from than the largest size.")
    if note := processors_note(records):
        lines.append(f"\n{note}")
    return "\n".join(lines)


#: Digits behind the point of figures that are no correlation.
_DIGITS = {"top_10": 2, "regret_1": 2, "regret_10": 2, "rank_10": 1}


def _row(name: str, size: int, epoch: int, points: Sequence[Point], test: int) -> PredictorRow:
    ranked = [point for point in points if point.figures]
    failed = [point for point in points if not point.figures]
    names = ranked[0].figures if ranked else ()
    values = {figure: np.array([point.figures[figure] for point in ranked]) for figure in names}
    return PredictorRow(
        name=name,
        family=SUITE[name].family,
        size=size,
        epoch=epoch,
        seeds=len(ranked),
        failed=len(failed),
        problem=failed[0].problem if failed else "",
        means={figure: float(found.mean()) for figure, found in values.items()},
        deviations={figure: float(found.std(ddof=1)) if len(found) > 1 else 0.0 for figure, found in values.items()},
        fit_seconds=float(np.median([point.fit_seconds for point in ranked])) if ranked else 0.0,
        query_seconds=float(np.median([point.query_seconds for point in ranked])) if ranked else 0.0,
        epochs=points[0].trained + test * points[0].spent,
    )


def _error(first: PredictorRow, second: PredictorRow) -> float:
    """Standard error of the difference of two mean taus."""
    variances = [row.deviations["tau"] ** 2 / row.seeds for row in (first, second)]
    return float(np.sqrt(sum(variances)))


def _cell(row: PredictorRow | None) -> str:
    if row is None:
        return ""
    return f"{row.tau:.3f} ± {row.deviations['tau']:.3f}" if row.means else "-"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(columns: int) -> str:
    return "|" + "---|" * columns
