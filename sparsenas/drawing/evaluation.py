"""A trained network on images: its confusion, and how it came there."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import NDArray

from sparsenas.drawing.style import DPI, INK, STRUCTURE, text_width

#: Most classes whose names, and whose numbers of images, are written into a confusion matrix.
NAMED, COUNTED = 40, 20
#: Letters of a name, at most.
LONGEST = 14
#: Blue for training, orange for validation.
_CURVES = {"train": "#0072b2", "val": "#d55e00"}
_WORDS = {"train": "training", "val": "validation"}
_BLUES = LinearSegmentedColormap.from_list("blues", ["#ffffff", "#0072b2"])

#: Points ``(training batches, value)`` of metrics such as ``val/acc``.
Curves = Mapping[str, Sequence[tuple[float, float]]]


def draw_confusion(confusion: NDArray[np.int64], class_names: Sequence[str], title: str) -> Figure:
    """Draw images by true class (row) and predicted class (column), shape ``(K, K)``; colours are shares of the row."""
    classes = len(class_names)
    names = [shortened(name) for name in class_names] if classes <= NAMED else []
    beside = 0.55 + max((text_width(name, 7.5) for name in names), default=0.3)
    side = min(max(0.34 * classes, 2.2), 8.0)
    width, height = beside + side + 0.2, beside + side + 0.4
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")  # laid out by hand: three times as fast
    axes = figure.add_axes((beside / width, beside / height, side / width, side / height))
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap=_BLUES, vmin=0, vmax=1)
    if names:
        axes.set_xticks(range(classes), names, rotation=90, size=7.5, color=INK)
        axes.set_yticks(range(classes), names, size=7.5, color=INK)
    if classes <= COUNTED:
        for row, column in zip(*np.nonzero(confusion), strict=True):
            ink = "white" if shares[row, column] > 0.55 else INK
            axes.text(column, row, confusion[row, column], ha="center", va="center", size=7.5, color=ink)
    axes.set_xlabel("predicted class", size=9, color=INK)
    axes.set_ylabel("true class", size=9, color=INK)
    figure.text(0.1 / width, 1 - 0.26 / height, title, size=10, weight="bold", color=INK)
    axes.tick_params(color=STRUCTURE, labelcolor=INK, labelsize=7.5)
    axes.spines[:].set_color(STRUCTURE)
    return figure


def draw_curves(curves: Curves, metric: Literal["loss", "acc"]) -> Figure:
    """Draw the losses or the accuracies of training and validation over training batches.

    Args:
        curves: Points by metric: ``train/loss``, ``val/loss``, ``train/acc`` and ``val/acc``, as far as they are known.
        metric: What is drawn.
    """
    figure = Figure(figsize=(3.8, 3.0), dpi=DPI, facecolor="white")
    axes = figure.add_axes((0.16, 0.17, 0.8, 0.78))
    label, scale = ("loss", 1.0) if metric == "loss" else ("accuracy in %", 100.0)
    for part, colour in _CURVES.items():
        points = curves.get(f"{part}/{metric}", ())
        if points:
            steps, values = np.array(points).T
            marker = "o" if len(points) < 30 else None
            axes.plot(steps, scale * values, color=colour, marker=marker, markersize=3, label=_WORDS[part])
            axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    axes.set_xlabel("training batches", size=9, color=INK)
    axes.set_ylabel(label, size=9, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.tick_params(labelsize=8, labelcolor=INK, color=STRUCTURE)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(STRUCTURE)
    return figure


def shortened(name: str) -> str:
    """Cut a name that is longer than :data:`LONGEST`; a dollar sign stays one, not mathematics."""
    cut = name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
    return cut.replace("$", r"\$")
