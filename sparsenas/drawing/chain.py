"""A staged network as a picture: a row per stage, a box per layer, resolution and width beside them."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import groupby
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, PathPatch, Polygon
from matplotlib.path import Path

from sparsenas.drawing import style
from sparsenas.networks.layers import halved
from sparsenas.networks.skeletons.stage import widen
from sparsenas.spaces.genotype import Genotype
from sparsenas.spaces.stage import Chain, Layer, read_chain

# All lengths are inches, also of the axes, so that text and boxes fit each other at any size.
_PITCH = 0.68
_BOX_HEIGHT = 0.26
_GAP = 0.24
#: Between the names of stages and their boxes.
_INDENT = 0.36
_MARGIN = 0.22
_TITLE = 0.34
_NOTE = 0.26
#: How much higher a layer that halves the resolution is where it begins.
_NARROWING = 0.14
#: From the middle of a line of boxes to the words below them, and to the line that leads to the next one.
_WORDS, _TURN = 0.26, 0.41
#: Most boxes of a line; layers of a stage that do not fit are drawn together if they are equal, or go on below.
_MOST = 6
_TITLE_SIZE, _NAME_SIZE, _LABEL_SIZE, _SMALL_SIZE = 11.0, 10.0, 8.5, 7.5
_ARROW = 0.075
_TIMES = "\N{MULTIPLICATION SIGN}"
_TINT = 0.26


class _Box(NamedTuple):
    """A box: its text, its colour, the words below it, and whether it becomes narrower."""

    text: str
    colour: str = style.STRUCTURE
    words: str = ""
    narrows: bool = False


class _Row(NamedTuple):
    """A stage: its name, what is known of its output, and its boxes, line by line."""

    name: str
    facts: str
    lines: tuple[tuple[_Box, ...], ...]


def draw_chain(
    genotype: Genotype,
    title: str | None = None,
    image_shape: tuple[int, int, int] | None = None,
    channels: int | None = None,
    num_classes: int | None = None,
) -> Figure:
    """Draw a staged network from top to bottom, as a figure without window or pyplot state.

    A layer that halves the resolution is a box that becomes narrower, and says how it does so. Equal layers in a row
    are one box where a stage has more than six layers. Skips are no layers, so they are left out.

    Args:
        genotype: Of the staged space.
        title: Text above the picture.
        image_shape: ``(C, H, W)`` of the images; without it, resolutions are parts of theirs.
        channels: Base width; without it, widths are multiples of it.
        num_classes: Number of classes.

    Raises:
        GenotypeError: If the genotype is no staged network.
    """
    chain = read_chain(genotype)
    facts = _facts(chain, image_shape, channels)
    rows = [_Row(f"Stage {n}", facts[n], tuple(_lines(stage.layers))) for n, stage in enumerate(chain.stages, start=1)]
    image = _Box("image", words="" if image_shape is None else _TIMES.join(map(str, image_shape)))
    rows.insert(0, _Row("Stem", facts[0], ((image, _box(chain.stem)),)))
    classes = "" if num_classes is None else f"{num_classes} classes"
    rows.append(_Row("Classifier", classes, ((_Box("mean of pixels"), _Box("linear")),)))

    boxes = [box for row in rows for line in row.lines for box in line]
    names = [style.text_width(row.name, _NAME_SIZE, "bold") for row in rows]
    left = _MARGIN + max(*names, *(_width(row.facts) for row in rows)) + _INDENT
    box_width = max(_width(box.text) for box in boxes) + 0.2
    note = _note(boxes)
    legend = [
        Patch(facecolor=style.tint(hue, _TINT), edgecolor=hue, linewidth=1.4, label=family)
        for hue, family in style.FAMILIES.items()
        if any(box.colour == hue for box in boxes)
    ]
    most = max(len(line) for row in rows for line in row.lines)
    words = max(_width(note), style.text_width(title or "", _TITLE_SIZE))
    width = max(left + most * (box_width + _GAP) + _MARGIN, 2 * _MARGIN + words, 4.6)
    top = _MARGIN + (_TITLE if title else 0.0)
    bottom = style.legend_height(len(legend), width, style.FAMILY_COLUMN) + (_NOTE if note else 0.0)
    height = top + sum(len(row.lines) for row in rows) * _PITCH - _TURN / 2 + bottom

    figure = Figure(figsize=(width, height), dpi=style.DPI, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    y = height - top - _BOX_HEIGHT / 2 - _NARROWING / 2
    last: tuple[float, float] | None = None  # right end of the box before
    for row in rows:
        rise = 0.09 if row.facts else 0.0
        axes.text(_MARGIN, y + rise, row.name, va="center", size=_NAME_SIZE, weight="bold", color=style.INK)
        axes.text(_MARGIN, y - 0.1, row.facts, va="center", size=_LABEL_SIZE, color=style.INK)
        for line in row.lines:
            x = left
            for box in line:
                if last is not None:
                    _draw_arrow(axes, last, (x, y))
                _draw_box(axes, box, x, y, box_width)
                last = x + box_width, y
                x += box_width + _GAP
            y -= _PITCH
    if title:
        axes.text(width / 2, height - _MARGIN, title, ha="center", va="top", size=_TITLE_SIZE, color=style.INK)
    if note:
        axes.text(width / 2, bottom - _NOTE / 2, note, ha="center", va="center", size=_SMALL_SIZE, color=style.QUIET)
    style.add_legend(figure, legend, style.FAMILY_COLUMN)
    return figure


def _facts(chain: Chain, image_shape: tuple[int, int, int] | None, channels: int | None) -> list[str]:
    """Write resolution and width of the stem and of each stage."""
    growths = tuple(stage.growth for stage in chain.stages)
    sides = [] if image_shape is None else list(image_shape[1:])
    widths = () if channels is None else (channels, *widen(channels, growths))
    facts, halvings, product = [], 0, Fraction(1)
    for number, (growth, layers) in enumerate([(1.0, (chain.stem,)), *chain.stages]):
        product *= Fraction(growth)
        if layers[0].down is not None:
            halvings, sides = halvings + 1, [halved(side) for side in sides]
        relative = f"resolution 1/{2**halvings}" if halvings else "full resolution"
        wide = f"{widths[number]} channels" if widths else f"width {_TIMES}{float(product):g}"
        facts.append(f"{_TIMES.join(map(str, sides)) or relative}, {wide}")
    return facts


def _lines(layers: Sequence[Layer]) -> Iterator[tuple[_Box, ...]]:
    """Break the layers of a stage into lines of boxes."""
    single = [Layer(layer.type, None if i else layer.down) for layer in layers for i in range(layer.repeats)]
    if len(single) > _MOST:
        single = [layer._replace(repeats=len(list(run))) for layer, run in groupby(single)]
    for start in range(0, len(single), _MOST):
        yield tuple(map(_box, single[start : start + _MOST]))


def _box(layer: Layer) -> _Box:
    look = style.primitive_style(layer.type)
    words = style.down_mark(layer) or style.repeats_mark(layer)  # a run has no layer that halves
    return _Box(look.short, look.colour, words, layer.down is not None)


def _note(boxes: Sequence[_Box]) -> str:
    """Explain the letters in names of mobile convolutions, if there are any."""
    words = {word for box in boxes for word in box.text.split()}
    kernel = "k: kernel size, e: expansion" if words & {"mbconv", "fused"} else ""
    return f"{kernel}, se: squeeze-excitation" if "se" in words else kernel


def _width(text: str) -> float:
    return style.text_width(text, _LABEL_SIZE)


def _draw_box(axes: Axes, box: _Box, x: float, y: float, width: float) -> None:
    """Draw a box; the middle of its left end is at ``(x, y)``."""
    high = _BOX_HEIGHT / 2 + (_NARROWING / 2 if box.narrows else 0.0)
    low = _BOX_HEIGHT / 2
    corners = [(x, y + high), (x + width, y + low), (x + width, y - low), (x, y - high)]
    structure = box.colour == style.STRUCTURE
    axes.add_artist(
        PathPatch(
            _rounded(corners, 0.06, closed=True),
            facecolor="#eef1f4" if structure else style.tint(box.colour, _TINT),
            edgecolor=box.colour,
            linewidth=1.4,
            zorder=3,
        )
    )
    axes.text(
        x + width / 2, y, box.text, ha="center", va="center_baseline", size=_LABEL_SIZE, color=style.INK, zorder=4
    )
    axes.text(x + width / 2, y - _WORDS, box.words, ha="center", va="center", size=_SMALL_SIZE, color=style.QUIET)


def _draw_arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw an arrow to a box on the same line, or to the first one of the next line."""
    (x1, y1), (x2, y2) = start, end
    points = [start]
    if y1 != y2:
        right, left, turn = x1 + _GAP / 2, x2 - _GAP, y1 - _TURN
        points += [(right, y1), (right, turn), (left, turn), (left, y2)]
    points.append((x2 - _ARROW, y2))
    line = PathPatch(_rounded(points, 0.09), fill=False, edgecolor=style.STRUCTURE, linewidth=1.3, zorder=1)
    half = _ARROW * 0.55
    tip = [(x2, y2), (x2 - _ARROW, y2 + half), (x2 - _ARROW, y2 - half)]
    axes.add_artist(line)
    axes.add_artist(Polygon(tip, closed=True, facecolor=style.STRUCTURE, edgecolor="none", zorder=2))


def _rounded(points: Sequence[tuple[float, float]], radius: float, closed: bool = False) -> Path:
    """Return the path through points with round corners."""
    corners = np.array([*points, points[0], points[1]] if closed else points)
    steps = np.diff(corners, axis=0)
    cuts = radius * steps / np.linalg.norm(steps, axis=1, keepdims=True)
    vertices, codes = [corners[0] + (cuts[0] if closed else 0.0)], [Path.MOVETO]
    for corner, before, behind in zip(corners[1:-1], cuts[:-1], cuts[1:], strict=True):
        vertices += [corner - before, corner, corner + behind]
        codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
    if closed:
        return Path([*vertices, vertices[0]], [*codes, Path.CLOSEPOLY])
    return Path([*vertices, corners[-1]], [*codes, Path.LINETO])
