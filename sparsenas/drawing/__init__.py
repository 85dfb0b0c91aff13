"""Pictures: a genotype, the support over time, how sure a search is. Figures are built without any pyplot state."""

from sparsenas.drawing.choice_shares import draw_choice_shares
from sparsenas.drawing.genotype import PictureSize, draw_genotype, picture_size
from sparsenas.drawing.history import draw_support_history
from sparsenas.drawing.saving import figure_bytes, save_figure
from sparsenas.drawing.style import PrimitiveStyle, primitive_style

__all__ = [
    "PictureSize",
    "PrimitiveStyle",
    "draw_choice_shares",
    "draw_genotype",
    "draw_support_history",
    "figure_bytes",
    "picture_size",
    "primitive_style",
    "save_figure",
]
