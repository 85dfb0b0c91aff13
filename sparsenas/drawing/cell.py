"""A genotype as a picture: its cells side by side, one labelled box per kept candidate."""

from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path

from sparsenas.drawing import style
from sparsenas.drawing.layout import Layout, Vertex, cell_layout
from sparsenas.networks import SKELETONS
from sparsenas.spaces.genotype import Genotype

# All lengths are inches, also of the axes, so that text and boxes fit each other at any size.
_ROW = 0.33
_BOX_HEIGHT = 0.235
_NODE = 0.33
_INPUT_WIDTH = 0.46
_GAP = 0.3
_MARGIN = 0.22
_BETWEEN_CELLS = 0.55
_TITLE = 0.36
_TITLE_SIZE, _LABEL_SIZE = 11.0, 8.5
_ARROW = 0.075


def draw_cells(genotype: Genotype, title: str | None = None) -> Figure:
    """Draw all cells of a genotype side by side, as a figure without window or pyplot state.

    Inputs are on the left, the output ``c_k`` is on the right. Each kept candidate is a box on a line of its own.
    Primitives need not be known to this package. ``title`` is written above the cells.
    """
    skeleton = SKELETONS.get(genotype.space)
    concatenates = skeleton is None or skeleton.concatenates
    layouts = [(cell, cell_layout(candidates, concatenates)) for cell, candidates in genotype.cells]
    primitives = style.legend_order(c.primitive for _, candidates in genotype.cells for c in candidates)
    box = max(style.text_width(style.primitive_style(name).short, _LABEL_SIZE) for name in primitives) + 0.16
    pictures = [_CellPicture(cell, layout, box) for cell, layout in layouts]
    cells = sum(p.width for p in pictures) + _BETWEEN_CELLS * (len(pictures) - 1)
    width = max(max(cells, style.text_width(title or "", _TITLE_SIZE)) + 2 * _MARGIN, 4.6)
    legend = style.legend_height(len(primitives) + 1, width)
    height = max(p.height for p in pictures) + 2 * _MARGIN + _TITLE + legend + (0.3 if title else 0.0)

    figure = Figure(figsize=(width, height), dpi=style.DPI, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    x = (width - cells) / 2
    for picture in pictures:
        picture.draw(axes, x, top=height - _MARGIN - (0.3 if title else 0.0))
        x += picture.width + _BETWEEN_CELLS
    if title:
        axes.text(width / 2, height - _MARGIN, title, ha="center", va="top", size=_TITLE_SIZE, color=style.INK)
    looks = map(style.primitive_style, primitives)
    samples = [style.line_sample(look.colour, look.name, look.dashes) for look in looks]
    style.add_legend(
        figure, [*samples, style.line_sample(style.STRUCTURE, "concatenation" if concatenates else "output")]
    )
    return figure


class _CellPicture:
    """A cell with measured columns; draws itself at a place."""

    def __init__(self, cell: str, layout: Layout, box_width: float) -> None:
        self.cell = cell
        self.layout = layout
        self.box_width = box_width
        everything = [v for column in layout.columns for v in column]
        self.upper = max(v.y + v.size / 2 for v in everything) * _ROW
        self.lower = min(v.y - v.size / 2 for v in everything) * _ROW
        self.height = self.upper - self.lower
        self.widths = [self._column_width(number) for number in range(len(layout.columns))]
        self.left: list[float] = []
        x = 0.0
        for number, width in enumerate(self.widths):
            self.left.append(x)
            x += width + self._gap(number)
        self.width = self.left[-1] + self.widths[-1]

    def _column_width(self, number: int) -> float:
        if number == 0:
            return _INPUT_WIDTH
        return self.box_width if number % 2 and number < len(self.layout.columns) - 1 else _NODE

    def _gap(self, number: int) -> float:
        """Return the space behind a column: more where lines climb far, so that no curve is steep."""
        climbs = [abs(a.y - b.y) for chain in self.layout.chains for a, b in pairwise(chain) if a.column == number]
        return _GAP + min(0.07 * max(climbs, default=0.0), 0.4)

    def draw(self, axes: Axes, x: float, top: float) -> None:
        self.x, self.y = x, top - _TITLE - self.upper
        title = style.cell_title(self.cell)
        axes.text(x, top, title, ha="left", va="top", size=11, weight="bold", color=style.INK)
        for chain in sorted(self.layout.chains, key=lambda c: c[-1].kind != "output"):
            self._draw_chain(axes, chain)
        for column in self.layout.columns:
            for vertex in column:
                if vertex.kind != "lane":
                    self._draw_vertex(axes, vertex)

    def _span(self, vertex: Vertex) -> tuple[float, float]:
        """Return left and right end of a vertex; a lane spans its column, so that lines pass it level."""
        left = self.x + self.left[vertex.column]
        return left, left + self.widths[vertex.column]

    def _height(self, vertex: Vertex) -> float:
        return self.y + vertex.y * _ROW

    def _port(self, chain: list[Vertex], end: int) -> float:
        """Return the height at which a chain leaves its first (``end=0``) or enters its last vertex (-1)."""
        vertex, near = chain[end], 1 if end == 0 else -2
        baselines = sorted((c for c in self.layout.chains if c[end] is vertex), key=lambda c: -c[near].y)
        number = next(i for i, c in enumerate(baselines) if c is chain)
        step = min(0.75 * _node_height(vertex) / len(baselines), 0.14)
        return self._height(vertex) + step * ((len(baselines) - 1) / 2 - number)

    def _draw_chain(self, axes: Axes, chain: list[Vertex]) -> None:
        candidate = chain[-2].candidate
        colour, dashes, line, level = style.STRUCTURE, style.SOLID, 1.3, 1
        if candidate is not None:
            look = style.primitive_style(candidate.primitive)
            colour, dashes, line, level = look.colour, look.dashes, 1.9, 2
        points = [(self._span(chain[0])[1], self._port(chain, 0))]
        for vertex in chain[1:-1]:
            points += [(x, self._height(vertex)) for x in self._span(vertex)]
        end = (self._span(chain[-1])[0], self._port(chain, -1))
        points.append((end[0] - _ARROW, end[1]))
        curve = _smooth(points)
        if candidate is not None:  # a white margin shows which of two crossing lines is above
            axes.add_artist(PathPatch(curve, fill=False, edgecolor="white", linewidth=line + 2.4, zorder=level))
        axes.add_artist(PathPatch(curve, fill=False, edgecolor=colour, linewidth=line, linestyle=dashes, zorder=level))
        half = _ARROW * 0.55
        tip = [(end[0], end[1]), (end[0] - _ARROW, end[1] + half), (end[0] - _ARROW, end[1] - half)]
        axes.add_artist(Polygon(tip, closed=True, facecolor=colour, edgecolor="none", zorder=level + 0.5))

    def _draw_vertex(self, axes: Axes, vertex: Vertex) -> None:
        left, right = self._span(vertex)
        height = _BOX_HEIGHT if vertex.candidate else _node_height(vertex)
        face: str | tuple[float, float, float] = "#eef1f4"
        text = "$c_k$" if vertex.kind == "output" else style.node_name(vertex.node, self.layout.num_inputs)
        edge, line, size = style.INK, 1.1, 10.0
        if vertex.candidate is not None:
            look = style.primitive_style(vertex.candidate.primitive)
            text, edge, face, size = look.short, look.colour, style.tint(look.colour), _LABEL_SIZE
            line = 1.4
        shape = FancyBboxPatch(
            (left, self._height(vertex) - height / 2),
            right - left,
            height,
            boxstyle=f"round,pad=0,rounding_size={height / 2 if vertex.candidate else 0.07}",
            facecolor=face,
            edgecolor=edge,
            linewidth=line,
            zorder=4,
        )
        axes.add_artist(shape)
        middle = (left + right) / 2, self._height(vertex)
        axes.text(*middle, text, ha="center", va="center_baseline", size=size, color=style.INK, zorder=5)


def _node_height(vertex: Vertex) -> float:
    return (vertex.size - 0.15) * _ROW


def _smooth(points: list[tuple[float, float]]) -> Path:
    """Return a curve through the points, level at each of them."""
    vertices, codes = [points[0]], [Path.MOVETO]
    for (x1, y1), (x2, y2) in pairwise(points):
        bend = (x2 - x1) / 2
        vertices += [(x1 + bend, y1), (x2 - bend, y2), (x2, y2)]
        codes += [Path.CURVE4] * 3
    return Path(vertices, codes)
