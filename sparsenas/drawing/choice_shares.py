"""The reliability of a search for every candidate, as a heat map."""

from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from sparsenas.drawing import style
from sparsenas.errors import ConfigError
from sparsenas.spaces.stage import read_layer
from sparsenas.spaces.topology import Block, Support

# Inches.
_ROW = 0.29
_LEAST_COLUMN, _BETWEEN = 0.56, 0.2
_LABELS, _STAGE_LABELS = 0.72, 2.1
_TOP, _SECOND_LINE = 0.62, 0.14
_TITLE_LINE = 0.21
_MARGIN = 0.2
_LEAST_WIDTH = 5.0
_SIZE = 8.5
#: From nearly white to dark blue: in greyscale, too, more is darker.
_COLOURS = LinearSegmentedColormap.from_list("shares", ("#f1f3f5", "#8fbfdf", "#0b5a91"))
#: Above this share, white is easier to read than ink.
_DARK = 0.74


class _Row(NamedTuple):
    """A row: the block it belongs to, its place there, and its name; in this order, rows are sorted."""

    group: tuple[int, int]
    place: tuple[int, str]
    name: str


class _Field(NamedTuple):
    """A candidate: row and column, its share, and whether it was found."""

    row: _Row
    column: str
    share: float
    found: bool


def draw_choice_shares(
    blocks: Sequence[Block], chosen: Sequence[Sequence[float]], support: Support, title: str | None = None
) -> Figure:
    """Draw how often a search would have kept each candidate: one panel per cell type.

    Rows are edges, grouped by target node; columns are primitives. Stages share a panel: rows are layers, and ways to
    halve the resolution; columns are types. A darker field is a larger share, printed in it unless it rounds to zero. A
    frame marks the candidates that were found.

    Args:
        blocks: Blocks of the space, ``B``.
        chosen: Share of the bootstraps that kept each candidate, in [0, 1]: ``B`` rows, each as long as its block.
        support: The candidates that were found.
        title: Text above the panels; it may take several lines.

    Returns:
        A figure without window or pyplot state.

    Raises:
        ConfigError: If lengths disagree.
    """
    sizes, given = [len(block) for block in blocks], [len(row) for row in chosen]
    if given != sizes or len(support) != len(blocks):
        raise ConfigError(
            f"choice shares: rows of {given} shares and {len(support)} entries of the support, for blocks of {sizes} "
            "candidates; give one row and one entry per block"
        )
    staged = any(style.is_staged(block.cell) for block in blocks)
    panels: dict[str, list[_Field]] = {}
    for block, shares, kept in zip(blocks, chosen, support, strict=True):
        read = _stage_fields if style.is_staged(block.cell) else _edge_fields
        panels.setdefault(style.cell_title(block.cell), []).extend(read(blocks, block, shares, kept))
    primitives = style.legend_order(field.column for fields in panels.values() for field in fields)
    heads = {name: style.primitive_style(name).short.replace(" ", "\n" if staged else " ", 1) for name in primitives}
    words = [line for head in heads.values() for line in head.split("\n")]
    panel = len(heads) * max(_LEAST_COLUMN, *(style.text_width(line, _SIZE) + _BETWEEN for line in words))
    labels = _STAGE_LABELS if staged else _LABELS
    width = max(2 * _MARGIN + len(panels) * (labels + panel), _LEAST_WIDTH)
    most = max(len({field.row for field in fields}) for fields in panels.values())
    samples = [
        Patch(facecolor=_COLOURS(0.0), edgecolor=style.STRUCTURE, linewidth=0.6, label="kept in no bootstrap"),
        Patch(facecolor=_COLOURS(1.0), label="kept in every one"),
        Patch(facecolor="white", edgecolor=style.INK, linewidth=1.8, label="found"),
    ]
    lines = wrap(title or "", int(11 * width))
    top = _TOP + _TITLE_LINE * len(lines) + (_SECOND_LINE if staged else 0.0)
    height = top + most * _ROW + 0.12 + style.legend_height(len(samples), width)
    figure = Figure(figsize=(width, height), dpi=style.DPI, facecolor="white")
    figure.text(0.5, 1 - 0.12 / height, "\n".join(lines), ha="center", va="top", size=11, color=style.INK)
    left = (width - len(panels) * (labels + panel)) / 2 + labels
    for name, fields in panels.items():
        tall = len({field.row for field in fields}) * _ROW
        axes = figure.add_axes((left / width, (height - top - tall) / height, panel / width, tall / height))
        axes.set_title(name, loc="left", size=11, weight="bold", color=style.INK)
        _draw_panel(axes, fields, heads)
        left += labels + panel
    style.add_legend(figure, samples)
    return figure


def _edge_fields(
    blocks: Sequence[Block], block: Block, shares: Sequence[float], kept: Sequence[int]
) -> Iterator[_Field]:
    """Yield the candidates of a block of a cell: a row is an edge."""
    num_inputs = min(candidate.target for b in blocks for candidate in b.candidates)
    for index, ((target, source, primitive), share) in enumerate(zip(block.candidates, shares, strict=True)):
        row = _Row((0, target), (source, ""), f"{style.node_name(source, num_inputs)}→{target}")
        yield _Field(row, primitive, share, index in kept)


def _stage_fields(
    blocks: Sequence[Block], block: Block, shares: Sequence[float], kept: Sequence[int]
) -> Iterator[_Field]:
    """Yield the candidates of a decision on stages: a row is a layer, with one way to halve and one number."""
    cells = list(dict.fromkeys(b.cell for b in blocks))
    for index, (candidate, share) in enumerate(zip(block.candidates, shares, strict=True)):
        layer, column, marks = read_layer(candidate.primitive), candidate.primitive, ["", ""]
        if layer is not None:
            column, marks = layer.type, [style.down_mark(layer), style.repeats_mark(layer)]
        name = style.decision_name(block.cell, candidate.target)
        place = (1 if layer is None else layer.repeats, marks[0])
        row = _Row((cells.index(block.cell), candidate.target), place, " ".join(filter(None, (name, *marks))))
        yield _Field(row, column, share, index in kept)


def _draw_panel(axes: Axes, fields: Sequence[_Field], heads: Mapping[str, str]) -> None:
    rows, columns = sorted({field.row for field in fields}), list(heads)
    image = np.full((len(rows), len(columns)), np.nan)
    for field in fields:
        y, x = rows.index(field.row), columns.index(field.column)
        image[y, x] = field.share
        if (text := f"{field.share:.2f}") != "0.00":
            colour = "white" if field.share > _DARK else style.INK
            axes.text(x + 0.5, y + 0.5, text, ha="center", va="center_baseline", size=_SIZE, color=colour)
        if field.found:
            axes.add_patch(
                Rectangle((x, y), 1, 1, fill=False, edgecolor=style.INK, linewidth=2.0, zorder=3, clip_on=False)
            )
    box = (0, len(columns), len(rows), 0)
    axes.imshow(image, _COLOURS, vmin=0, vmax=1, aspect="auto", interpolation="nearest", extent=box)
    axes.spines[:].set_visible(False)
    axes.hlines(range(1, len(rows)), 0, len(columns), color="white", linewidth=1.6)
    axes.vlines(range(1, len(columns)), 0, len(rows), color="white", linewidth=1.6)
    borders = [y for y in range(1, len(rows)) if rows[y].group != rows[y - 1].group]
    axes.hlines(borders, 0, len(columns), color=style.STRUCTURE, linewidth=1.4)
    axes.tick_params(length=0, labelsize=_SIZE, labelcolor=style.INK, labeltop=True, labelbottom=False)
    axes.set_xticks(np.arange(len(columns)) + 0.5, list(heads.values()))
    axes.set_yticks(np.arange(len(rows)) + 0.5, [row.name for row in rows])
