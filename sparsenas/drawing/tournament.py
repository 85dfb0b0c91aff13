"""A tournament as lines over its length, each cut where the network was stopped."""

from collections.abc import Sequence
from math import log
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from scipy.optimize import isotonic_regression

from sparsenas.drawing.style import DASHES, DPI, INK, QUIET, STRUCTURE

# Inches.
_WIDTH, _HEIGHT = 7.6, 4.6
#: What was found, references, and the others: blue, orange, grey.
_FOUND, _REFERENCE, _OTHER = "#0072b2", "#d55e00", "#8c959f"
#: Names that are written at the ends of lines; more would lie on each other.
_NAMED = 8
#: Least distance of names beside each other, as a share of the height.
_GAP = 0.035
#: Logarithm of the ratio of lengths up to which names are beside each other.
_BESIDE = 0.5


class TournamentLine(NamedTuple):
    """A network that competed.

    Attributes:
        name: Its name.
        lengths: Lengths of its training at which it was compared.
        accuracies: Validation accuracies there, in [0, 1].
        is_reference: True for a network that people make by hand.
    """

    name: str
    lengths: Sequence[float]
    accuracies: Sequence[float]
    is_reference: bool


def draw_tournament(lines: Sequence[TournamentLine], unit: str, end: tuple[float, float] | None = None) -> Figure:
    """Draw validation accuracy over the length of each training. The figure has no window.

    Args:
        lines: All networks, the one that was found first.
        unit: Unit of lengths.
        end: Length and validation accuracy at the end of the training of what was found; ``None`` if it is not known.
    """
    figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=DPI, facecolor="white", layout="constrained")
    axes = figure.subplots()
    ends: list[tuple[float, float, str]] = []
    for number, line in reversed(list(enumerate(lines))):
        colour = _FOUND if number == 0 else _REFERENCE if line.is_reference else _OTHER
        lengths, values = list(line.lengths), [100 * value for value in line.accuracies]
        if number == 0 and end is not None:
            lengths, values = [*lengths, end[0]], [*values, 100 * end[1]]
        dashes = DASHES[0] if number == 0 else DASHES[1] if line.is_reference else DASHES[2]
        axes.plot(lengths, values, color=colour, linestyle=dashes, marker="o", markersize=4, linewidth=2 - (number > 0))
        if lengths and number < _NAMED:
            ends.append((lengths[-1], values[-1], line.name))
    axes.set_xscale("log")
    low, high = axes.get_ylim()
    heights = _apart(ends, _GAP * (high - low))
    axes.set_ylim(min([low, *heights]), max([high, *heights]))  # what lies outside is not written
    for (length, _, name), at in zip(ends, heights, strict=True):
        axes.annotate(name, (length, at), (7, -3), textcoords="offset points", size=7.5, color=INK)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(f"{unit} of training", size=9, color=INK)
    axes.set_ylabel("validation accuracy in %", size=9, color=INK)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.margins(x=0.16)
    axes.tick_params(which="both", labelsize=8.5, labelcolor=INK, color=STRUCTURE)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(STRUCTURE)
    title = f"{len(lines)} networks competed; lines end where they were stopped"
    axes.set_title(title, loc="left", size=10, weight="bold", color=INK)
    colours = ["blue: found"]
    colours += ["orange: made by hand"] if any(line.is_reference for line in lines[1:]) else []
    colours += ["grey: others"] if any(not line.is_reference for line in lines[1:]) else []
    axes.text(0.99, 0.02, "; ".join(colours), transform=axes.transAxes, ha="right", size=7.5, color=QUIET)
    return figure


def _apart(ends: Sequence[tuple[float, float, str]], gap: float) -> list[float]:
    """Heights of names, as near as possible to the ends of their lines, in their order, and a gap apart."""
    found = [value for _, value, _ in ends]
    left = sorted(range(len(ends)), key=lambda index: ends[index][:2])
    while left:
        group = [index for index in left if log(ends[index][0] / ends[left[0]][0]) < _BESIDE]
        left = [index for index in left if index not in group]
        group.sort(key=lambda index: ends[index][1])
        steps = gap * np.arange(len(group))
        fitted = isotonic_regression(np.array([ends[index][1] for index in group]) - steps).x + steps
        for index, height in zip(group, fitted, strict=True):
            found[index] = float(height)
    return found
