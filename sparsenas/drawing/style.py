"""Short name, colour and line style of primitives: the same in every picture and every run."""

import colorsys
import re
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

from matplotlib.artist import Artist
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath

from sparsenas.errors import GenotypeError
from sparsenas.spaces.stage import ALL_TYPES, Layer, read_growth, read_layer

#: Ink of text and node outlines.
INK = "#1f2328"
#: Grey of words beside the point.
QUIET = "#57606a"
#: Grey of what is structure and not choice: concatenation, separators.
STRUCTURE = "#b4bac2"

#: Dots per inch of figures: one point is more than two pixels, so that 7-point labels are sharp.
DPI = 150

#: Solid, or an offset and on-off lengths in units of the line width, as matplotlib takes them.
LineStyle = Literal["solid"] | tuple[float, tuple[float, ...]]
SOLID: LineStyle = "solid"
#: Line styles that are told apart without colour.
DASHES: tuple[LineStyle, ...] = (
    SOLID,
    (0, (5, 1.6)),
    (0, (1, 1.2)),
    (0, (5, 1.4, 1, 1.4)),
    (0, (2.6, 1.2)),
    (0, (5, 1.2, 1, 1.2, 1, 1.2)),
    (0, (9, 1.6)),
)
#: Longest text inside a picture; the legend always has the full name.
_LONGEST = 16
#: Inches of one legend row, and of columns with names of primitives and of families.
_LEGEND_ROW = 0.23
LEGEND_COLUMN, FAMILY_COLUMN = 1.62, 2.05

_STAGE = re.compile(r"stage(\d)")


@dataclass(frozen=True)
class PrimitiveStyle:
    """Style of a primitive.

    Attributes:
        name: Full name, for legends.
        short: Short name, for edges and rows.
        colour: Hexadecimal RGB.
        dashes: Line style, so that colour is never the only difference.
    """

    name: str
    short: str
    colour: str
    dashes: LineStyle


#: Hues of Okabe and Ito (2008), told apart with every common colour-vision deficiency.
_KNOWN = {
    name: PrimitiveStyle(name, short.replace("*", "\N{MULTIPLICATION SIGN}"), colour, DASHES[dashes])
    for name, short, colour, dashes in (
        ("sep_conv_3x3", "sep 3*3", "#0072b2", 0),
        ("sep_conv_5x5", "sep 5*5", "#56b4e9", 1),
        ("dil_conv_3x3", "dil 3*3", "#d55e00", 3),
        ("dil_conv_5x5", "dil 5*5", "#e69f00", 5),
        ("max_pool_3x3", "max 3*3", "#009e73", 2),
        ("avg_pool_3x3", "avg 3*3", "#cc79a7", 4),
        ("skip_connect", "skip", "#4d4d4d", 6),
        # of NAS-Bench-201, whose cells have none of the convolutions above
        ("nor_conv_3x3", "conv 3*3", "#0072b2", 1),
        ("nor_conv_1x1", "conv 1*1", "#d55e00", 2),
        ("none", "none", "#8a9099", 4),
        # of staged networks: a hue is a family, see FAMILIES
        ("conv_3x3", "conv 3*3", "#56b4e9", 0),
        ("conv_5x5", "conv 5*5", "#56b4e9", 1),
        ("residual_3x3", "residual 3*3", "#d55e00", 0),
        ("residual_bottleneck", "bottleneck", "#d55e00", 1),
        *(
            (name, name.replace("fused_mbconv", "fused").replace("_", " "), hue, dashes % len(DASHES))
            for family, hue in (("mbconv", "#009e73"), ("fused", "#cc79a7"))
            for dashes, name in enumerate(name for name in ALL_TYPES if name.startswith(family))
        ),
        ("skip", "skip", "#4d4d4d", 6),
    )
}

#: Families of layers by the hue of their types.
FAMILIES = {
    "#56b4e9": "convolution",
    "#d55e00": "residual block",
    "#0072b2": "separable convolution",
    "#009e73": "mobile convolution",
    "#cc79a7": "fused mobile convolution",
}


def primitive_style(name: str) -> PrimitiveStyle:
    """Return the style of a primitive; for names unknown to this package, one made from the name."""
    if name in _KNOWN:
        return _KNOWN[name]
    with suppress(GenotypeError):
        return _staged_style(name)
    number = zlib.crc32(name.encode())  # hash() differs between processes
    hue, rest = number % 360, number // 360
    colour = to_hex(colorsys.hls_to_rgb(hue / 360, 0.36 + 0.06 * (rest % 4), 0.72))
    # of one of the user's own, "module:name", the module says the least
    words = name.rpartition(":")[2].replace("_", " ").strip() or name
    short = words if len(words) <= _LONGEST else words[: _LONGEST - 1] + "…"
    return PrimitiveStyle(name, short, colour, DASHES[rest // 4 % len(DASHES)])


def _staged_style(name: str) -> PrimitiveStyle:
    """Return the style of a primitive of a staged network, or raise a ``GenotypeError`` if it is none."""
    layer = read_layer(name)
    if layer is None:
        return PrimitiveStyle(name, f"width \N{MULTIPLICATION SIGN}{read_growth(name):g}", "#8a9099", SOLID)
    look = _KNOWN[layer.type]
    return replace(look, name=name, short=" ".join(filter(None, (look.short, down_mark(layer), repeats_mark(layer)))))


def down_mark(layer: Layer) -> str:
    """Say how a layer halves the resolution; empty if it does not."""
    return {None: "", "stride": "stride 2", "max_pool": "max-pool"}[layer.down]


def repeats_mark(layer: Layer) -> str:
    """Say how often a layer is there; empty for once."""
    return f"\N{MULTIPLICATION SIGN}{layer.repeats}" if layer.repeats > 1 else ""


def legend_order(primitives: Iterable[str]) -> list[str]:
    """Sort primitives, each once: known ones in a fixed order, then the others by name."""
    known = list(_KNOWN)
    return sorted(set(primitives), key=lambda name: (known.index(name) if name in _KNOWN else len(known), name))


def tint(colour: str, share: float = 0.16) -> tuple[float, float, float]:
    """Mix a colour with white."""
    red, green, blue = to_rgb(colour)
    return (1 - share * (1 - red), 1 - share * (1 - green), 1 - share * (1 - blue))


def node_name(node: int, num_inputs: int) -> str:
    """Name a node; inputs are outputs of earlier cells, such as ``c_{k-2}`` and ``c_{k-1}``."""
    return f"$c_{{k-{num_inputs - node}}}$" if node < num_inputs else str(node)


def legend_height(entries: int, width: float, column: float = LEGEND_COLUMN) -> float:
    """Return the inches a legend needs below a figure of the given width."""
    return _LEGEND_ROW * -(-entries // _legend_columns(entries, width, column)) + 0.12


def cell_title(cell: str) -> str:
    """Name a cell type as a title; stages share one."""
    if is_staged(cell):
        return "Stages"
    return {"normal": "Normal cell", "reduce": "Reduction cell"}.get(cell, f"{cell} cell")


def is_staged(cell: str) -> bool:
    """True for a cell type of a staged network."""
    return cell == "stem" or _STAGE.fullmatch(cell) is not None


def decision_name(cell: str, node: int) -> str:
    """Name what the block of a node decides."""
    if not is_staged(cell):
        return f"node {node}"
    return _STAGE.sub(r"stage \1, ", cell) + ("" if cell == "stem" else f"layer {node - 1}" if node > 1 else "width")


def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Return the width of a text in inches."""
    if not text:
        return 0.0  # matplotlib knows no empty path
    return float(TextPath((0, 0), text, size=size, prop=FontProperties(weight=weight)).get_extents().width) / 72


def line_sample(colour: str, label: str, dashes: LineStyle = SOLID) -> Line2D:
    """Make a legend entry for lines."""
    return Line2D([], [], color=colour, linestyle=dashes, linewidth=2.2, label=label)


def add_legend(figure: Figure, handles: Sequence[Artist], column: float = LEGEND_COLUMN) -> None:
    """Put a legend below everything else; no entry is wider than ``column`` inches."""
    width, height = figure.get_size_inches()
    figure.legend(
        handles=handles,
        loc="lower center",
        bbox_to_anchor=(0.5, 0.06 / height),
        ncols=_legend_columns(len(handles), width, column),
        frameon=False,
        fontsize=8.5,
        handlelength=2.8,
        columnspacing=1.6,
        borderaxespad=0.2,
        labelcolor=INK,
    )


def _legend_columns(entries: int, width: float, column: float) -> int:
    """Return as many columns as fit, with rows as even as possible."""
    rows = -(-entries // max(1, int(width / column)))
    return -(-entries // rows)
