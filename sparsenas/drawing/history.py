"""The support over time as an image: the candidates that each recovery kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from sparsenas.drawing import style
from sparsenas.errors import ConfigError
from sparsenas.spaces.topology import Block, Candidate, Support

# Inches, as in the picture of a cell.
_PANEL = 4.6
_LABELS, _STAGE_LABELS = 1.2, 2.1
#: Inches of a letter of a bold label, at most.
_LETTER = 0.08
_GROUPS, _STAGE_GROUPS = 0.75, 1.2
_TOP = 0.42
_AXIS = 0.5
_MARGIN = 0.15
#: Most columns of the image; in longer histories, a column is a mean of several recoveries.
_MOST_COLUMNS = 400
_EMPTY = to_rgb("#f1f3f5")


@dataclass(frozen=True)
class _Row:
    """A candidate, its cell type, and for each recovery 1 if it was kept, shape ``(T,)``."""

    cell: str
    candidate: Candidate
    kept: npt.NDArray[np.float64]

    @property
    def group(self) -> str:
        """Name of the decision that its block stands for."""
        return style.decision_name(self.cell, self.candidate.target)

    def label(self, num_inputs: int) -> str:
        """Name the candidate inside its group."""
        short = style.primitive_style(self.candidate.primitive).short
        if style.is_staged(self.cell):
            return short
        return f"{_source(self.candidate, num_inputs)}→{self.candidate.target}  {short}"


def draw_support_history(
    blocks: Sequence[Block],
    history: Sequence[Support],
    epochs: Sequence[int] | None = None,
    max_rows: int = 80,
) -> Figure:
    """Draw which candidates each recovery kept: recoveries from left to right, candidates from top to bottom.

    Only candidates that were ever kept have a row. Rows are grouped by node; labels of the last support are bold.

    Args:
        blocks: Blocks of the space.
        history: Support of each recovery, oldest first; at least one.
        epochs: Epoch of each recovery, for the time axis; without it, the axis counts recoveries.
        max_rows: Most rows of a cell type, or of all stages. The candidates kept longest stay, and a note counts the
            others.

    Returns:
        A figure without window or pyplot state.

    Raises:
        ConfigError: If the history is empty, or lengths disagree.
    """
    if not history:
        raise ConfigError("support history: empty; draw it after the first recovery")
    if any(len(support) != len(blocks) for support in history):
        raise ConfigError(f"support history: every support needs one entry for each of the {len(blocks)} blocks")
    if epochs is not None and len(epochs) != len(history):
        raise ConfigError(f"support history: {len(epochs)} epochs for {len(history)} recoveries; give one for each")
    titles = list(dict.fromkeys(style.cell_title(block.cell) for block in blocks))
    num_inputs = min(candidate.target for block in blocks for candidate in block.candidates)
    panels = {title: _rows(title, blocks, history) for title in titles}
    shown = {title: _longest_kept(rows, max_rows) for title, rows in panels.items()}
    most = max(len(rows) for rows in shown.values())
    row = 0.2 if most <= 40 else 0.145
    staged = any(style.is_staged(block.cell) for block in blocks)
    labels, groups = (_STAGE_LABELS, _STAGE_GROUPS) if staged else (_LABELS, _GROUPS)
    longest = max(len(row.label(num_inputs)) for rows in shown.values() for row in rows)
    labels = max(labels, longest * _LETTER)  # primitives of the user's own have long names
    column = style.FAMILY_COLUMN if staged else style.LEGEND_COLUMN
    width = 2 * _MARGIN + len(titles) * (labels + _PANEL + groups)
    patches = _legend([r for rows in shown.values() for r in rows])
    legend = style.legend_height(len(patches), width, column)
    height = _TOP + most * row + _AXIS + legend
    figure = Figure(figsize=(width, height), dpi=style.DPI, facecolor="white")
    last = {(b.cell, c) for b, kept in zip(blocks, history[-1], strict=True) for c in _named(b, kept)}
    for number, title in enumerate(titles):
        rows, tall = shown[title], len(shown[title]) * row
        left = _MARGIN + number * (labels + _PANEL + groups) + labels
        axes = figure.add_axes((left / width, (height - _TOP - tall) / height, _PANEL / width, tall / height))
        axes.set_title(title, loc="left", size=11, weight="bold", color=style.INK)
        _draw_panel(axes, rows, last, num_inputs, size=8.0 if row == 0.2 else 7.0)
        _label_time(axes, len(history), epochs)
        if hidden := len(panels[title]) - len(rows):
            note = f"{hidden} more candidates, kept more briefly, are not shown"
            axes.set_title(note, loc="right", size=7.5, color=style.INK, style="italic")
    style.add_legend(figure, patches, column)
    return figure


def _legend(rows: list[_Row]) -> list[Patch]:
    """Name the primitives of all rows by their colours; of layers, their families."""
    looks = [style.primitive_style(name) for name in style.legend_order(r.candidate.primitive for r in rows)]
    if not style.is_staged(rows[0].cell):
        return [Patch(color=look.colour, label=look.name) for look in looks]
    present = {look.colour for look in looks}
    names = {**style.FAMILIES, **{look.colour: "skip" for look in looks if look.name == "skip"}}
    return [Patch(color=hue, label=name) for hue, name in names.items() if hue in present]


def _named(block: Block, kept: Sequence[int]) -> list[Candidate]:
    return [block.candidates[index] for index in kept]


def _rows(title: str, blocks: Sequence[Block], history: Sequence[Support]) -> list[_Row]:
    """Return all candidates of a panel that were ever kept, in the order of the space."""
    rows = []
    for number, block in enumerate(blocks):
        if style.cell_title(block.cell) == title:
            kept = np.zeros((len(block), len(history)))
            for time, support in enumerate(history):
                kept[list(support[number]), time] = 1.0
            rows += [_Row(block.cell, block.candidates[i], kept[i]) for i in np.flatnonzero(kept.any(axis=1))]
    return rows


def _longest_kept(rows: list[_Row], most: int) -> list[_Row]:
    """Keep at most so many rows: those of the last support, then those kept longest; in the same order."""
    ranking = sorted(range(len(rows)), key=lambda i: (-rows[i].kept[-1], -rows[i].kept.sum(), i))
    return [rows[i] for i in sorted(ranking[:most])]


def _draw_panel(axes: Axes, rows: list[_Row], last: set[tuple[str, Candidate]], num_inputs: int, size: float) -> None:
    colours = np.array([to_rgb(style.primitive_style(r.candidate.primitive).colour) for r in rows])[:, None, :]
    kept = np.stack([_binned(r.kept) for r in rows])[:, :, None]
    image = kept * colours + (1 - kept) * np.array(_EMPTY)
    axes.imshow(image, aspect="auto", interpolation="nearest", extent=(0, len(rows[0].kept), len(rows), 0))
    axes.tick_params(length=0, labelsize=size, labelcolor=style.INK)
    axes.spines[:].set_visible(False)
    axes.set_yticks(np.arange(len(rows)) + 0.5, [row.label(num_inputs) for row in rows])
    for row, label in zip(rows, axes.get_yticklabels(), strict=True):
        label.set_fontweight("bold" if (row.cell, row.candidate) in last else "normal")
    groups = [row.group for row in rows]
    borders = [y for y in range(1, len(rows)) if groups[y] != groups[y - 1]]
    axes.hlines(range(1, len(rows)), 0, len(rows[0].kept), color="white", linewidth=0.8)
    axes.hlines(borders, 0, len(rows[0].kept), color=style.STRUCTURE, linewidth=1.4)
    for group in dict.fromkeys(groups):
        middle = fmean(i for i, name in enumerate(groups) if name == group) + 0.5
        place = axes.get_yaxis_transform()
        axes.text(1.01, middle, group, transform=place, va="center", size=8.5, color=style.INK)


def _source(candidate: Candidate, num_inputs: int) -> str:
    """Name a source as in the picture of the cell, but as plain text: setting 200 formulas takes a second."""
    back = num_inputs - candidate.source
    return f"cₖ₋{back}".translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")) if back > 0 else str(candidate.source)


def _binned(kept: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Shorten a row to at most ``_MOST_COLUMNS`` columns, each the mean of its recoveries."""
    if len(kept) <= _MOST_COLUMNS:
        return kept
    return np.array([part.mean() for part in np.array_split(kept, _MOST_COLUMNS)])


def _label_time(axes: Axes, length: int, epochs: Sequence[int] | None) -> None:
    """Set about ten ticks of the time axis: at the first recovery of an epoch, else at recoveries."""
    if epochs is None:
        numbers = _ticks(length)
        axes.set_xticks([n + 0.5 for n in numbers], [str(n) for n in numbers])
        axes.set_xlabel("recovery", size=9, color=style.INK)
        return
    round_epochs = _ticks(max(epochs) + 1)
    # a warm-up has no recoveries, so epochs need not be even: labels closer than a twentieth would overlap
    chosen: list[int] = []
    for i in (i for i, epoch in enumerate(epochs) if i == 0 or epoch != epochs[i - 1]):
        if epochs[i] in round_epochs and (not chosen or i - chosen[-1] >= length / 20):
            chosen.append(i)
    axes.set_xticks(chosen, [str(epochs[i]) for i in chosen])
    axes.tick_params(axis="x", length=3, color=style.STRUCTURE)
    axes.set_xlabel("epoch", size=9, color=style.INK)


def _ticks(count: int) -> list[int]:
    """Return about ten round numbers from 0 to below ``count``."""
    ticks = MaxNLocator(10, steps=[1, 2, 5, 10], integer=True).tick_values(0, count)
    return [int(tick) for tick in ticks if tick < count]
