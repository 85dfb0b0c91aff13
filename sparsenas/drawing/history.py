"""The support over time as an image: which candidates were kept, and when."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sparsenas.drawing.style import (
    DPI,
    INK,
    STRUCTURE,
    add_legend,
    cell_title,
    legend_height,
    legend_order,
    primitive_style,
)
from sparsenas.errors import ConfigError
from sparsenas.spaces.topology import Block, Candidate, Support

# Inches, as in the picture of a cell.
_PANEL = 4.6
_LABELS = 1.2
_GROUPS = 0.75
_TOP = 0.42
_AXIS = 0.5
_MARGIN = 0.15
#: Columns of the image; longer histories show, in each, the share of recoveries that kept the candidate.
_MOST_COLUMNS = 400
_EMPTY = to_rgb("#f1f3f5")


@dataclass(frozen=True)
class _Row:
    """One candidate, and how much of the time it was kept, shape ``(T,)``."""

    candidate: Candidate
    kept: npt.NDArray[np.float64]


def draw_support_history(
    blocks: Sequence[Block],
    history: Sequence[Support],
    epochs: Sequence[int] | None = None,
    max_rows: int = 80,
) -> Figure:
    """Draw which candidates each recovery kept: recoveries from left to right, candidates from top to bottom.

    Only candidates that were ever kept have a row; rows are grouped by node, and those of the last support have a bold
    label. The colour of a cell is the primitive's.

    Args:
        blocks: Blocks of the space.
        history: Support of each recovery, oldest first; at least one.
        epochs: Epoch of each recovery, for the labels of the time axis; without it they count recoveries.
        max_rows: Most rows of one cell type. The candidates kept longest stay, and a note counts the others.

    Returns:
        A figure that belongs to no window and no pyplot state.

    Raises:
        ConfigError: If the history is empty, or lengths disagree.
    """
    if not history:
        raise ConfigError("support history: empty; draw it after the first recovery")
    if any(len(support) != len(blocks) for support in history):
        raise ConfigError(f"support history: every support needs one entry for each of the {len(blocks)} blocks")
    if epochs is not None and len(epochs) != len(history):
        raise ConfigError(f"support history: {len(epochs)} epochs for {len(history)} recoveries; give one for each")
    cells = list(dict.fromkeys(block.cell for block in blocks))
    num_inputs = min(candidate.target for block in blocks for candidate in block.candidates)
    panels = {cell: _rows(cell, blocks, history) for cell in cells}
    shown = {cell: _longest_kept(rows, max_rows) for cell, rows in panels.items()}
    most = max(len(rows) for rows in shown.values())
    row = 0.2 if most <= 40 else 0.145
    primitives = legend_order(r.candidate.primitive for rows in shown.values() for r in rows)
    width = 2 * _MARGIN + len(cells) * (_LABELS + _PANEL + _GROUPS)
    legend = legend_height(len(primitives), width)
    height = _TOP + most * row + _AXIS + legend
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    for number, cell in enumerate(cells):
        rows, tall = shown[cell], len(shown[cell]) * row
        left = _MARGIN + number * (_LABELS + _PANEL + _GROUPS) + _LABELS
        axes = figure.add_axes((left / width, (height - _TOP - tall) / height, _PANEL / width, tall / height))
        axes.set_title(cell_title(cell), loc="left", size=11, weight="bold", color=INK)
        last = {c for b, kept in zip(blocks, history[-1], strict=True) if b.cell == cell for c in _named(b, kept)}
        _draw_panel(axes, rows, last, num_inputs, size=8.0 if row == 0.2 else 7.0)
        _label_time(axes, len(history), epochs)
        if hidden := len(panels[cell]) - len(rows):
            note = f"{hidden} more candidates, kept more briefly, are not shown"
            axes.set_title(note, loc="right", size=7.5, color=INK, style="italic")
    patches = [Patch(color=style.colour, label=style.name) for style in map(primitive_style, primitives)]
    add_legend(figure, patches)
    return figure


def _named(block: Block, kept: Sequence[int]) -> list[Candidate]:
    return [block.candidates[index] for index in kept]


def _rows(cell: str, blocks: Sequence[Block], history: Sequence[Support]) -> list[_Row]:
    """All candidates of one cell type that were ever kept, in the order of the space."""
    rows = []
    for number, block in enumerate(blocks):
        if block.cell == cell:
            kept = np.zeros((len(block), len(history)))
            for time, support in enumerate(history):
                kept[list(support[number]), time] = 1.0
            rows += [_Row(block.candidates[i], kept[i]) for i in np.flatnonzero(kept.any(axis=1))]
    return rows


def _longest_kept(rows: list[_Row], most: int) -> list[_Row]:
    """At most so many rows: those of the last support, then those kept longest; their order is unchanged."""
    ranking = sorted(range(len(rows)), key=lambda i: (-rows[i].kept[-1], -rows[i].kept.sum(), i))
    return [rows[i] for i in sorted(ranking[:most])]


def _draw_panel(axes: Axes, rows: list[_Row], last: set[Candidate], num_inputs: int, size: float) -> None:
    colours = np.array([to_rgb(primitive_style(r.candidate.primitive).colour) for r in rows])[:, None, :]
    kept = np.stack([_binned(r.kept) for r in rows])[:, :, None]
    image = kept * colours + (1 - kept) * np.array(_EMPTY)
    axes.imshow(image, aspect="auto", interpolation="nearest", extent=(0, len(rows[0].kept), len(rows), 0))
    axes.tick_params(length=0, labelsize=size, labelcolor=INK)
    axes.spines[:].set_visible(False)
    labels = [
        f"{_source(r.candidate, num_inputs)}→{r.candidate.target}  {primitive_style(r.candidate.primitive).short}"
        for r in rows
    ]
    axes.set_yticks(np.arange(len(rows)) + 0.5, labels)
    for row, label in zip(rows, axes.get_yticklabels(), strict=True):
        label.set_fontweight("bold" if row.candidate in last else "normal")
    nodes = [row.candidate.target for row in rows]
    borders = [y for y in range(1, len(rows)) if nodes[y] != nodes[y - 1]]
    axes.hlines(range(1, len(rows)), 0, len(rows[0].kept), color="white", linewidth=0.8)
    axes.hlines(borders, 0, len(rows[0].kept), color=STRUCTURE, linewidth=1.4)
    for node in dict.fromkeys(nodes):
        members = [i for i, target in enumerate(nodes) if target == node]
        axes.annotate(
            f"node {node}",
            (1, sum(members) / len(members) + 0.5),
            xycoords=axes.get_yaxis_transform(),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            size=8.5,
            color=INK,
        )


def _source(candidate: Candidate, num_inputs: int) -> str:
    """Name of the source as in the picture of the cell, but plain text: 200 formulas would take a second to set."""
    back = num_inputs - candidate.source
    return f"cₖ₋{back}".translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")) if back > 0 else str(candidate.source)


def _binned(kept: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The row with at most ``_MOST_COLUMNS`` columns, each the mean of its recoveries."""
    if len(kept) <= _MOST_COLUMNS:
        return kept
    return np.array([part.mean() for part in np.array_split(kept, _MOST_COLUMNS)])


def _label_time(axes: Axes, length: int, epochs: Sequence[int] | None) -> None:
    """Ticks of the time axis: epochs where they begin, else recoveries in their middle; about ten of them."""
    if epochs is None:
        step = _round_step(length)
        numbers = range(0, length, step)
        axes.set_xticks([n + 0.5 for n in numbers], [str(n) for n in numbers])
        axes.set_xlabel("recovery", size=9, color=INK)
        return
    starts = [i for i, epoch in enumerate(epochs) if i == 0 or epoch != epochs[i - 1]]
    step = _round_step(len(starts))
    # recoveries need not be even over the epochs (warm-up has none): labels closer than a twentieth would overlap
    chosen: list[int] = []
    for i in starts:
        if epochs[i] % step == 0 and (not chosen or i - chosen[-1] >= length / 20):
            chosen.append(i)
    axes.set_xticks(chosen, [str(epochs[i]) for i in chosen])
    axes.tick_params(axis="x", length=3, color=STRUCTURE)
    axes.set_xlabel("epoch", size=9, color=INK)


def _round_step(count: int) -> int:
    """The smallest of 1, 2, 5, 10, 20, 50, ... that makes at most ten steps; beyond 500,000 a single one."""
    steps = (factor * power for power in (1, 10, 100, 1000, 10_000) for factor in (1, 2, 5))
    return next((step for step in steps if 10 * step >= count), count)
