"""Pictures: a genotype, the support over time, a tournament. Figures are built without any pyplot state."""

from sparsenas.drawing.genotype import PictureSize, draw_genotype, picture_size
from sparsenas.drawing.history import draw_support_history
from sparsenas.drawing.saving import figure_bytes, save_figure
from sparsenas.drawing.style import PrimitiveStyle, primitive_style
from sparsenas.drawing.tournament import TournamentLine, draw_tournament

__all__ = [
    "PictureSize",
    "PrimitiveStyle",
    "TournamentLine",
    "draw_genotype",
    "draw_support_history",
    "draw_tournament",
    "figure_bytes",
    "picture_size",
    "primitive_style",
    "save_figure",
]
