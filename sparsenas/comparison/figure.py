"""The comparison as a picture."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparsenas.comparison.report import LARGEST, RANDOM, Floats, Judged, Report, Row
from sparsenas.drawing.style import DASHES, DPI, INK, STRUCTURE, LineStyle, add_legend, legend_height, line_sample

# Inches.
_WIDTH = 9.6
_HEIGHT = 4.9
#: Hues of Okabe and Ito (2008), and a brown; line styles differ too.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#1f2328", "#8a6d3b")
#: Possible ticks, the roundest first; those that would crowd earlier ones are left out.
_TICKS = (90, 50, 94, 80, 10, 98, 92, 70, 95, 85, 96, 30, 60, 93, 91, 97, 99, 99.5, 40, 20)
#: Smallest error on the axis.
_LEAST_ERROR = 0.01
#: Share of the axis between two ticks, and outside the data.
_APART, _MARGIN = 0.05, 0.05
_BASELINES = {RANDOM: "random\ncell", LARGEST: "most\nparameters"}


def draw_comparison(report: Report) -> Figure:
    """Draw accuracy over the time of the search, and the last accuracy of every seed, without a cap.

    Left: the median of the seeds and a band over their middle half, from the time when all have an architecture. Right:
    every seed and the median. Dotted: medians of the baselines. Errors (100 minus accuracy) are on a logarithmic scale.
    The report has at least one run; the figure has no window or pyplot state.
    """
    names = [name for name in report.plan.searchers if any(run.record.searcher == name for run in report.runs)]
    looks = {name: _look(number) for number, name in enumerate(names)}
    handles = [line_sample(colour, name, dashes) for name, (colour, dashes) in looks.items()]
    legend = legend_height(len(handles), _WIDTH)
    height = _HEIGHT + legend
    figure = Figure(figsize=(_WIDTH, height), dpi=DPI, facecolor="white", layout="constrained")
    # matplotlib's hints know neither that a layout was just chosen, nor what can be set of it
    figure.get_layout_engine().set(rect=(0, legend / height, 1, 1 - legend / height))  # type: ignore[union-attr, call-arg]
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    shown = []
    for place, (name, (colour, dashes)) in enumerate(looks.items()):
        runs = [run for run in report.runs if run.record.searcher == name]
        shown.append(_draw_time(left, runs, colour, dashes))
        shown.append(_draw_seeds(right, runs, place, colour))
    baselines = [row for row in report.rows if row.cap is None and row.name in _BASELINES]
    for axes in (left, right):
        _draw_baselines(axes, baselines, named=axes is right)
        axes.tick_params(labelsize=8.5, labelcolor=INK, color=STRUCTURE)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(STRUCTURE)
    _scale(left, np.concatenate([*shown, [row.median for row in baselines]]))
    training = report.plan.training
    left.set_xlabel("seconds of search", size=9, color=INK)
    left.set_ylabel(f"accuracy in % ({training.dataset} {training.split}, {training.epochs} epochs)", size=9, color=INK)
    left.set_xlim(left=0)
    _title(left, "Found so far: median and middle half of the seeds")
    _title(right, "Found in the end: every seed")
    right.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
    right.set_xlim(-0.6, len(names) - 0.4)
    add_legend(figure, handles)
    return figure


def _look(number: int) -> tuple[str, LineStyle]:
    return _COLOURS[number % len(_COLOURS)], DASHES[number % len(DASHES)]


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", size=10, weight="bold", color=INK)


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


def _scale(axes: Axes, values: Floats) -> None:
    """Scale by the logarithm of the error, upside down, with round accuracies as ticks."""
    axes.set_yscale("function", functions=(_height, _accuracy))
    low, high = float(_height(values.min())), float(_height(values.max()))
    room = max(high - low, 0.05)
    low, high = low - _MARGIN * room, high + _MARGIN * room
    ticks: list[float] = []
    for tick in _TICKS:
        height = float(_height(tick))
        crowded = any(abs(float(_height(other)) - height) < _APART * (high - low) for other in ticks)
        if low <= height <= high and not crowded:
            ticks.append(tick)
    axes.set_ylim(float(_accuracy(low)), float(_accuracy(high)))
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
    axes.minorticks_off()


def _height(accuracy: Floats | float) -> Floats:
    return np.asarray(-np.log10(np.maximum(100.0 - np.asarray(accuracy), _LEAST_ERROR)))


def _accuracy(height: Floats | float) -> Floats:
    return np.asarray(100.0 - 10.0 ** -np.asarray(height))
