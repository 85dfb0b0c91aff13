"""The reliability of a search for every candidate, as a heat map."""

from collections.abc import Iterator, Sequence
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from sparsenas.drawing import style
from sparsenas.errors import ConfigError
from sparsenas.spaces.topology import Block, Candidate, Support

# Inches.
_ROW = 0.29
_LEAST_COLUMN, _BETWEEN = 0.56, 0.2
_LABELS = 0.72
_TOP = 0.62
_TITLE_LINE = 0.21
_MARGIN = 0.2
_LEAST_WIDTH = 5.0
_SIZE = 8.5
#: From nearly white to dark blue: in greyscale, too, more is darker.
_COLOURS = LinearSegmentedColormap.from_list("shares", ("#f1f3f5", "#8fbfdf", "#0b5a91"))
#: Above this share, white is easier to read than ink.
_DARK = 0.74


def draw_choice_shares(
    blocks: Sequence[Block], chosen: Sequence[Sequence[float]], support: Support, title: str | None = None
) -> Figure:
    """Draw how often a search would have kept each candidate: one panel per cell type.

    Rows are edges, grouped by target node; columns are primitives. A darker field is a larger share, printed in it
    unless it rounds to zero. A frame marks the candidates that were found.

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
    candidates = [candidate for block in blocks for candidate in block.candidates]
    primitives = style.legend_order(candidate.primitive for candidate in candidates)
    columns = [style.primitive_style(name).short for name in primitives]
    num_inputs = min(candidate.target for candidate in candidates)
    cells = list(dict.fromkeys(block.cell for block in blocks))
    panel = len(columns) * max(_LEAST_COLUMN, *(style.text_width(name, _SIZE) + _BETWEEN for name in columns))
    width = max(2 * _MARGIN + len(cells) * (_LABELS + panel), _LEAST_WIDTH)
    most = max(sum(len(block.edges) for block in blocks if block.cell == cell) for cell in cells)
    samples = [
        Patch(facecolor=_COLOURS(0.0), edgecolor=style.STRUCTURE, linewidth=0.6, label="kept in no bootstrap"),
        Patch(facecolor=_COLOURS(1.0), label="kept in every one"),
        Patch(facecolor="white", edgecolor=style.INK, linewidth=1.8, label="found"),
    ]
    lines = wrap(title or "", int(11 * width))
    top = _TOP + _TITLE_LINE * len(lines)
    height = top + most * _ROW + 0.12 + style.legend_height(len(samples), width)
    figure = Figure(figsize=(width, height), dpi=style.DPI, facecolor="white")
    figure.text(0.5, 1 - 0.12 / height, "\n".join(lines), ha="center", va="top", size=11, color=style.INK)
    left = (width - len(cells) * (_LABELS + panel)) / 2 + _LABELS
    for cell in cells:
        fields = list(_fields(cell, blocks, chosen, support))
        tall = len({candidate.edge for candidate, _, _ in fields}) * _ROW
        axes = figure.add_axes((left / width, (height - top - tall) / height, panel / width, tall / height))
        axes.set_title(style.cell_title(cell), loc="left", size=11, weight="bold", color=style.INK)
        _draw_panel(axes, fields, primitives, num_inputs)
        left += _LABELS + panel
    style.add_legend(figure, samples)
    return figure


def _fields(
    cell: str, blocks: Sequence[Block], chosen: Sequence[Sequence[float]], support: Support
) -> Iterator[tuple[Candidate, float, bool]]:
    """Yield every candidate of a cell type, its share, and True if it was found."""
    for block, shares, kept in zip(blocks, chosen, support, strict=True):
        if block.cell == cell:
            for index, (candidate, share) in enumerate(zip(block.candidates, shares, strict=True)):
                yield candidate, share, index in kept


def _draw_panel(
    axes: Axes, fields: Sequence[tuple[Candidate, float, bool]], primitives: Sequence[str], num_inputs: int
) -> None:
    edges = sorted({candidate.edge for candidate, _, _ in fields}, key=lambda edge: edge[::-1])
    image = np.full((len(edges), len(primitives)), np.nan)
    for candidate, share, found in fields:
        y, x = edges.index(candidate.edge), primitives.index(candidate.primitive)
        image[y, x] = share
        if (text := f"{share:.2f}") != "0.00":
            colour = "white" if share > _DARK else style.INK
            axes.text(x + 0.5, y + 0.5, text, ha="center", va="center_baseline", size=_SIZE, color=colour)
        if found:
            axes.add_patch(
                Rectangle((x, y), 1, 1, fill=False, edgecolor=style.INK, linewidth=2.0, zorder=3, clip_on=False)
            )
    box = (0, len(primitives), len(edges), 0)
    axes.imshow(image, _COLOURS, vmin=0, vmax=1, aspect="auto", interpolation="nearest", extent=box)
    axes.spines[:].set_visible(False)
    axes.hlines(range(1, len(edges)), 0, len(primitives), color="white", linewidth=1.6)
    axes.vlines(range(1, len(primitives)), 0, len(edges), color="white", linewidth=1.6)
    borders = [y for y in range(1, len(edges)) if edges[y][1] != edges[y - 1][1]]
    axes.hlines(borders, 0, len(primitives), color=style.STRUCTURE, linewidth=1.4)
    axes.tick_params(length=0, labelsize=_SIZE, labelcolor=style.INK, labeltop=True, labelbottom=False)
    axes.set_xticks(np.arange(len(primitives)) + 0.5, [style.primitive_style(name).short for name in primitives])
    names = [f"{style.node_name(source, num_inputs)}→{target}" for source, target in edges]
    axes.set_yticks(np.arange(len(edges)) + 0.5, names)
