"""The report as text."""

from collections.abc import Mapping, Sequence

import numpy as np

from sparsenas.comparison.records import processors_note
from sparsenas.comparison.report import (
    BAND,
    BAND_SHARE,
    BASELINES,
    BUSIEST,
    EFFECTIVE,
    HAND_MADE,
    LARGEST,
    RANDOM,
    Report,
    Row,
    SignTest,
)
from sparsenas.comparison.summary import Summary, summarize


def markdown(report: Report, also: Sequence[Report] = ()) -> str:
    """Format the report: percentiles under all caps, a table for each cap, and how to read them.

    ``also`` are reports of the same runs for further accuracies.
    """
    plan = report.plan
    planned = {name: sum(run.searcher == name for run in plan.runs) for name in plan.searchers}
    lines = [
        f"# {plan.name}",
        "",
        f"Accuracies are {plan.training} (dataset/split/epochs) in percent, looked up after every run had chosen. "
        f"A run has at most {plan.budget_seconds:g} s on one core, and decides under every cap.",
    ]
    if len(plan.caps) > 1:
        lines += ["", "## Mean percentile among the cells within each cap", "", percentile_table(report.rows)]
        lines += ["", "## Over all caps", "", summary_table(summarize(report))]
    for other in also:
        lines += ["", f"## The same cells by {other.plan.training}", "", percentile_table(other.rows)]
        lines += ["", summary_table(summarize(other))]
    for cap in plan.caps:
        lines += ["", f"## {cap_text(cap)} ({report.feasible[cap]:,} cells)", ""]
        lines.append(cap_table([row for row in report.rows if row.cap == cap], planned))
    lines += [
        "",
        f"`{RANDOM}` is any cell within the cap, `{BAND}` any of those with at least {BAND_SHARE:.0%} of the most "
        f"effective parameters, `{LARGEST}`, `{EFFECTIVE}` and `{BUSIEST}` any of those that have the most. Their "
        f"figures are exact. `{HAND_MADE}` is the largest that a person would build. Percentiles are among the "
        "cells within the cap. Sign tests are two-sided: they count runs better than the median of the baseline's "
        "cells. The seeds are the same under every cap, so the tests of one searcher are not independent.",
    ]
    cut = {row.name: f"{row.cut} of the {row.runs}" for row in report.rows if row.cut}
    lines += [f"\nThe budget ended {count} runs of `{name}` early." for name, count in cut.items()]
    for record in (run.record for run in report.runs if run.record.seconds > plan.budget_seconds):
        late = f"`{record.searcher}` with seed {record.seed} took {record.seconds:.1f} s"
        lines.append(f"\n{late}: what follows the last batch does not stop at the budget.")
    if note := processors_note(run.record for run in report.runs):
        lines.append(f"\n{note}")
    return "\n".join(lines) + "\n"


def percentile_table(rows: Sequence[Row]) -> str:
    """Format mean percentiles: a row for each baseline and searcher, a column for each cap, and the mean."""
    caps = list(dict.fromkeys(row.cap for row in rows))
    found = {(row.name, row.cap): row.percentile for row in rows}
    heads = ["searcher", *("no cap" if cap is None else f"{cap / 1e6:g} M" for cap in caps), "mean"]
    lines = [_line_of(heads), "|" + "---|" * len(heads)]
    for name in dict.fromkeys(row.name for row in rows):
        values = [found[name, cap] for cap in caps]
        lines.append(_line_of([_name(name), *(f"{value:.1f}" for value in (*values, np.mean(values)))]))
    return "\n".join(lines)


def summary_table(summaries: Sequence[Summary]) -> str:
    """Format mean and worst run of each, and the p-values of the differences between them."""
    heads = ["searcher", "runs", "mean", "worst run", *(f"p: {_name(summary.name)}" for summary in summaries)]
    lines = [_line_of(heads), "|" + "---|" * len(heads)]
    for summary in summaries:
        tests = [f"{summary.p[other.name]:.3f}" if other.name in summary.p else "" for other in summaries]
        runs = str(summary.runs) if summary.runs else ""
        worst = f"{summary.worst:.1f}" if summary.runs else ""
        lines.append(_line_of([_name(summary.name), runs, f"{summary.mean:.1f}", worst, *tests]))
    return "\n".join(lines)


def cap_table(rows: Sequence[Row], planned: Mapping[str, int]) -> str:
    """Format all figures of the rows of one cap, with ``planned`` runs of each searcher."""
    heads = ["searcher", "runs", "mean", "median", "worst", "best", "percentile", "visited", "seconds", "tau"]
    heads += ["beats random", "p", "beats most parameters", "p"]
    return "\n".join([_line_of(heads), "|" + "---|" * len(heads), *(_line(row, planned.get(row.name)) for row in rows)])


def cap_text(cap: float | None) -> str:
    """Return text such as ``"At most 0.35 M parameters"``."""
    return "No cap" if cap is None else f"At most {cap / 1e6:g} M parameters"


def _line(row: Row, planned: int | None) -> str:
    figures = [f"{row.mean:.2f}", f"{row.median:.2f}", f"{row.worst:.2f}", f"{row.best:.2f}", f"{row.percentile:.1f}"]
    if planned is None:
        return _line_of([_name(row.name), "", *figures, *[""] * 7])
    runs = str(row.runs) if row.runs == planned else f"{row.runs} of {planned}"
    runs += f", {row.cut} cut" if row.cut else ""
    cost = [f"{row.visited:.0f}", f"{row.seconds:.0f}", "" if row.tau is None else f"{row.tau:.2f}"]
    tests = [text for test in (row.beats_random, row.beats_largest) if test for text in _sign(test)]
    return _line_of([row.name, runs, *figures, *cost, *tests])


def _line_of(texts: Sequence[str]) -> str:
    return "| " + " | ".join(texts) + " |"


def _name(name: str) -> str:
    return f"*{name}*" if name in BASELINES else name


def _sign(test: SignTest) -> tuple[str, str]:
    return f"{test.wins}/{test.runs}", f"{test.p:.3f}"
