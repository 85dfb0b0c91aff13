"""The comparison as a picture."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparsenas.comparison.looks import look, scale_accuracies, set_title, two_panels
from sparsenas.comparison.report import LARGEST, RANDOM, Floats, Judged, Report, Row
from sparsenas.drawing.style import INK, LineStyle

_BASELINES = {RANDOM: "random\ncell", LARGEST: "most\nparameters"}


def draw_comparison(report: Report) -> Figure:
    """Draw accuracy over the time of the search, and the last accuracy of every seed, without a cap.

    Left: the median of the seeds and a band over their middle half, from the time when all have an architecture. Right:
    every seed and the median. Dotted: medians of the baselines. Errors (100 minus accuracy) are on a logarithmic scale.
    The report has at least one run; the figure has no window or pyplot state.
    """
    names = [name for name in report.plan.searchers if any(run.record.searcher == name for run in report.runs)]
    looks = {name: look(number) for number, name in enumerate(names)}
    figure, left, right = two_panels(looks, (3, 2))
    shown = []
    for place, (name, (colour, dashes)) in enumerate(looks.items()):
        runs = [run for run in report.runs if run.record.searcher == name]
        shown.append(_draw_time(left, runs, colour, dashes))
        shown.append(_draw_seeds(right, runs, place, colour))
    baselines = [row for row in report.rows if row.cap is None and row.name in _BASELINES]
    for axes in (left, right):
        _draw_baselines(axes, baselines, named=axes is right)
    scale_accuracies(left, np.concatenate([*shown, [row.median for row in baselines]]))
    training = report.plan.training
    left.set_xlabel("seconds of search", size=9, color=INK)
    left.set_ylabel(f"accuracy in % ({training.dataset} {training.split}, {training.epochs} epochs)", size=9, color=INK)
    left.set_xlim(left=0)
    set_title(left, "Found so far: median and middle half of the seeds")
    set_title(right, "Found in the end: every seed")
    right.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
    right.set_xlim(-0.6, len(names) - 0.4)
    return figure


def _draw_time(axes: Axes, runs: Sequence[Judged], colour: str, dashes: LineStyle) -> Floats:
    """Draw the line of a searcher; return the accuracies that it covers."""
    begin = max(run.seconds[0] for run in runs)
    end = max(run.record.seconds for run in runs)
    times = np.unique(np.concatenate([[begin, end], *(run.seconds for run in runs)]))
    times = times[(times >= begin) & (times <= end)]
    values = np.stack([run.accuracies[np.searchsorted(run.seconds, times, side="right") - 1] for run in runs])
    low, middle, high = np.percentile(values, [25, 50, 75], axis=0)
    axes.fill_between(times, low, high, step="post", color=colour, alpha=0.12, linewidth=0)
    axes.step(times, middle, where="post", color=colour, linestyle=dashes, linewidth=1.6)
    axes.plot(times[-1], middle[-1], marker="o", markersize=4.5, color=colour)
    return np.concatenate([low, high])


def _draw_seeds(axes: Axes, runs: Sequence[Judged], place: int, colour: str) -> Floats:
    """Draw the last cells of a searcher; return their accuracies."""
    values = np.array([run.accuracies[-1] for run in runs])
    spread = np.linspace(-0.25, 0.25, len(values)) if len(values) > 1 else np.zeros(1)
    axes.hlines(np.median(values), place - 0.36, place + 0.36, color=colour, linewidth=2.0)
    axes.scatter(place + spread, values, s=15, color=colour, alpha=0.75, linewidth=0, zorder=3)
    return values


def _draw_baselines(axes: Axes, rows: Sequence[Row], named: bool) -> None:
    """Draw lines across, the upper one named above it and the lower one below, so that names never meet."""
    highest = max((row.median for row in rows), default=0.0)
    for row in rows:
        axes.axhline(row.median, color=INK, linewidth=0.8, linestyle=(0, (2, 2)), alpha=0.7, zorder=0.5)
        if named:
            axes.annotate(
                _BASELINES[row.name],
                (1, row.median),
                xycoords=axes.get_yaxis_transform(),
                xytext=(4, 0),
                textcoords="offset points",
                va="bottom" if row.median == highest else "top",
                size=7.5,
                style="italic",
                color=INK,
            )
