"""A genotype as a picture, in the form that suits its space."""

from typing import TypedDict

from matplotlib.figure import Figure

from sparsenas.drawing.cell import draw_cells
from sparsenas.drawing.chain import draw_chain
from sparsenas.errors import GenotypeError
from sparsenas.networks import CellNetwork
from sparsenas.spaces.genotype import Genotype
from sparsenas.spaces.stage import StageSpace

#: Most nodes of a cell, or layers of a stage, in a picture.
MOST_NODES = 200


class PictureSize(TypedDict, total=False):
    """Arguments of :func:`draw_genotype` that come from a network."""

    image_shape: tuple[int, int, int]
    channels: int
    num_classes: int


def picture_size(network: object) -> PictureSize:
    """Return what a network says about its size; nothing if it is none of cells."""
    if not isinstance(network, CellNetwork):
        return PictureSize()
    size = network.size
    return PictureSize(image_shape=size["image_shape"], channels=size["channels"], num_classes=size["num_classes"])


def draw_genotype(
    genotype: Genotype,
    title: str | None = None,
    image_shape: tuple[int, int, int] | None = None,
    channels: int | None = None,
    num_classes: int | None = None,
) -> Figure:
    """Draw a genotype: a staged network as a chain of layers, any other one as its cells side by side.

    Cells look the same at every size, so only a chain shows what is known of it.

    Args:
        genotype: Architecture.
        title: Text above the picture.
        image_shape: ``(C, H, W)`` of the images.
        channels: Base width.
        num_classes: Number of classes.

    Returns:
        A figure without window or pyplot state.

    Raises:
        GenotypeError: If it says that it is a staged network, and is none; or has too many nodes for a picture.
    """
    nodes = max(candidate.target for _, candidates in genotype.cells for candidate in candidates)
    if nodes > MOST_NODES:
        raise GenotypeError(f"genotype: has node {nodes}; a picture shows at most {MOST_NODES}")
    if genotype.space == StageSpace.name:
        return draw_chain(genotype, title, image_shape, channels, num_classes)
    return draw_cells(genotype, title)
