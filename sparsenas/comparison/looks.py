"""Looks of the figures of comparisons: two panels, accuracies by the logarithm of the error, a line style an entry."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from sparsenas.drawing.style import DASHES, DPI, INK, STRUCTURE, LineStyle, add_legend, legend_height, line_sample

Floats = NDArray[np.float64]

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


def look(number: int) -> tuple[str, LineStyle]:
    """Return colour and line style of an entry by its number."""
    return _COLOURS[number % len(_COLOURS)], DASHES[number % len(DASHES)]


def two_panels(looks: Mapping[str, tuple[str, LineStyle]], widths: tuple[int, int]) -> tuple[Figure, Axes, Axes]:
    """Make a figure of two panels with one axis of accuracies, and a legend below."""
    handles = [line_sample(colour, name, dashes) for name, (colour, dashes) in looks.items()]
    legend = legend_height(len(handles), _WIDTH) if handles else 0.0
    height = _HEIGHT + legend
    figure = Figure(figsize=(_WIDTH, height), dpi=DPI, facecolor="white", layout="constrained")
    layout = figure.get_layout_engine()
    assert isinstance(layout, ConstrainedLayoutEngine)
    layout.set(rect=(0, legend / height, 1, 1 - legend / height))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=widths)
    for axes in (left, right):
        axes.tick_params(labelsize=8.5, labelcolor=INK, color=STRUCTURE)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(STRUCTURE)
    if handles:
        add_legend(figure, handles)
    return figure, left, right


def set_title(axes: Axes, text: str) -> None:
    """Give a panel a title."""
    axes.set_title(text, loc="left", size=10, weight="bold", color=INK)


def scale_accuracies(axes: Axes, values: Floats) -> None:
    """Scale by the logarithm of the error, upside down, with round accuracies as ticks."""
    axes.set_yscale("function", functions=(height_of, accuracy_at))
    low, high = float(height_of(values.min())), float(height_of(values.max()))
    room = max(high - low, 0.05)
    low, high = low - _MARGIN * room, high + _MARGIN * room
    ticks: list[float] = []
    for tick in _TICKS:
        height = float(height_of(tick))
        crowded = any(abs(float(height_of(other)) - height) < _APART * (high - low) for other in ticks)
        if low <= height <= high and not crowded:
            ticks.append(tick)
    axes.set_ylim(float(accuracy_at(low)), float(accuracy_at(high)))
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
    axes.minorticks_off()


def height_of(accuracy: Floats | float) -> Floats:
    """Return the place on the axis of accuracies in percent."""
    return np.asarray(-np.log10(np.maximum(100.0 - np.asarray(accuracy), _LEAST_ERROR)))


def accuracy_at(height: Floats | float) -> Floats:
    """Return the accuracy in percent at a place on the axis."""
    return np.asarray(100.0 - 10.0 ** -np.asarray(height))
