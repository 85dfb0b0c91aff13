"""Each searcher over all caps at once, and tests of the differences."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu, wilcoxon

from sparsenas.comparison.report import Report

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Summary:
    """A searcher, or a baseline, over all caps.

    Attributes:
        name: Name of the searcher or the baseline.
        mean: Mean percentile among the feasible cells, over all caps and runs.
        worst: Mean percentile of the worst run; for a baseline, the mean.
        runs: Number of runs; 0 for a baseline, whose figures are exact.
        p: Two-sided p-values of the differences to all others; empty for baselines. By Wilcoxon's signed-rank test to a
            baseline, by the test of Mann and Whitney to a searcher.
    """

    name: str
    mean: float
    worst: float
    runs: int
    p: Mapping[str, float]


def summarize(report: Report) -> tuple[Summary, ...]:
    """Summarize baselines, then searchers in the order of the plan."""
    names = list(dict.fromkeys(row.name for row in report.rows))
    runs = {name: _means(report, name) for name in names}
    exact = {
        name: _mean([row.percentile for row in report.rows if row.name == name])
        for name in names
        if not len(runs[name])
    }
    return tuple(
        Summary(name, exact[name], exact[name], 0, {})
        if name in exact
        else Summary(
            name=name,
            mean=float(runs[name].mean()),
            worst=float(runs[name].min()),
            runs=len(runs[name]),
            p={other: _test(runs[name], exact.get(other, runs[other])) for other in names if other != name},
        )
        for name in names
    )


def _means(report: Report, name: str) -> Floats:
    """Return the mean percentile over all caps of each run of a searcher; none for a baseline."""
    own = [run.percentiles for run in report.runs if run.record.searcher == name]
    return np.array([_mean(percentiles.values()) for percentiles in own])


def _mean(percentiles: Iterable[float]) -> float:
    """Return the rounded mean, so that equal means compare equal whatever the order of their sum."""
    return float(np.round(np.mean(list(percentiles)), 9))


def _test(own: Floats, other: float | Floats) -> float:
    """Return the two-sided p-value; 1 if all differences are zero."""
    if isinstance(other, float):
        differences = np.round(own - other, 6)  # rounding must not split equal distances above and below
        return float(wilcoxon(differences).pvalue) if differences.any() else 1.0
    if np.ptp(np.concatenate([own, other])) == 0:
        return 1.0
    return float(mannwhitneyu(own, other).pvalue)
