"""Pictures of genotypes, of searches and of evaluations. Figures are built without any pyplot state."""

from sparsenas.drawing.evaluation import Curves, draw_confusion, draw_curves, shortened
from sparsenas.drawing.genotype import PictureSize, draw_genotype, picture_size
from sparsenas.drawing.history import draw_support_history
from sparsenas.drawing.mistakes import draw_mistakes
from sparsenas.drawing.saving import figure_bytes, save_figure
from sparsenas.drawing.style import PrimitiveStyle, primitive_style
from sparsenas.drawing.tournament import TournamentLine, draw_tournament

__all__ = [
    "Curves",
    "PictureSize",
    "PrimitiveStyle",
    "TournamentLine",
    "draw_confusion",
    "draw_curves",
    "draw_genotype",
    "draw_mistakes",
    "draw_support_history",
    "draw_tournament",
    "figure_bytes",
    "picture_size",
    "primitive_style",
    "save_figure",
    "shortened",
]
