"""A comparison on images as a picture."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator

from sparsenas.comparison.images.finished import ImageRecord
from sparsenas.comparison.images.outcomes import ImageReport
from sparsenas.comparison.looks import Floats, look, scale_accuracies, set_title, two_panels
from sparsenas.drawing.style import INK, STRUCTURE, LineStyle

#: Ratio of costs from which their axis is logarithmic.
WIDE = 4
#: Points of a mean curve.
_POINTS = 100


def draw_images(report: ImageReport) -> Figure:
    """Draw test accuracy against MACs, and validation accuracy against seconds.

    Left: mean of the seeds, and a line from the worst to the best. Right: mean of the seeds, from the time when all of
    them have a first one. Errors (100 minus accuracy) are on a logarithmic scale. The figure has no window.
    """
    looks = {row.name: look(number) for number, row in enumerate(report.rows) if row.runs}
    figure, left, right = two_panels(looks, (1, 1))
    shown = [np.array([0.0]) if not looks else np.empty(0)]
    for name, (colour, dashes) in looks.items():
        runs = [record for record in report.records if record.searcher == name and not record.impossible]
        shown.append(_draw_cost(left, name, runs, colour))
        shown.append(_draw_curve(right, runs, colour, dashes))
    scale_accuracies(left, np.concatenate(shown))
    _scale_cost(left)
    left.set_xlabel("MACs of one image", size=9, color=INK)
    left.set_ylabel("accuracy in %", size=9, color=INK)
    right.set_xlabel("processor seconds", size=9, color=INK)
    right.set_xlim(0, report.plan.seconds * 1.02)
    set_title(left, "Test images: mean, worst and best")
    set_title(right, "Validation images: mean")
    return figure


def _draw_cost(axes: Axes, name: str, runs: Sequence[ImageRecord], colour: str) -> Floats:
    """Draw a competitor; return the accuracies that it covers."""
    values = np.array([run.accuracy for run in runs])
    known = [run.macs for run in runs if run.macs]
    if not known:  # a search that diverged has no network
        return values
    macs = np.mean(known)
    axes.vlines(macs, values.min(), values.max(), color=colour, linewidth=1.2, alpha=0.7)
    axes.plot(macs, values.mean(), marker="o", markersize=5, color=colour)
    axes.annotate(name, (macs, values.mean()), (5, 3), textcoords="offset points", size=7, color=INK)
    return values


def _scale_cost(axes: Axes) -> None:
    """Scale the axis of MACs: logarithmic where they differ much, with few ticks that do not overlap."""
    low, high = axes.dataLim.intervalx
    if 0 < low < high and high / low > WIDE:  # nothing drawn is the interval from inf to -inf
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.tick_params(axis="x", labelsize=8.5, labelcolor=INK, color=STRUCTURE)


def _draw_curve(axes: Axes, runs: Sequence[ImageRecord], colour: str, dashes: LineStyle) -> Floats:
    """Draw the mean curve of a competitor; return the accuracies that it covers."""
    curves = [np.array(run.curve) for run in runs]
    begin, end = max(curve[0, 0] for curve in curves), min(curve[-1, 0] for curve in curves)
    times = np.linspace(begin, max(begin, end), _POINTS)
    means: Floats = np.mean([np.interp(times, *curve.T) for curve in curves], axis=0)
    axes.plot(times, means, color=colour, linestyle=dashes, linewidth=1.5)
    return means
