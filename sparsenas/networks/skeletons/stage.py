"""Networks of a stem and stages of layers."""

from collections.abc import Iterator

from torch import nn

from sparsenas.errors import ConfigError
from sparsenas.networks.cell import Cell
from sparsenas.networks.heads import PlainStem, Stem, StemName
from sparsenas.networks.layers import Passage, PlacedLayer, layer_cost, make_layer
from sparsenas.networks.normalisation import NormOptions
from sparsenas.networks.operations import Operation
from sparsenas.networks.skeletons.base import Held, Skeleton, check_resolution
from sparsenas.spaces import Candidate, Genotype
from sparsenas.spaces.stage import SKIP, read_chain, read_growth, read_layer

#: Widths are multiples of this.
CHANNEL_GRID = 2


def widen(channels: int, growths: tuple[float, ...]) -> tuple[int, ...]:
    """Compute the width of every stage: the base width times the growths so far, rounded to the channel grid."""
    widths, product = [], float(channels)
    for growth in growths:
        product *= growth
        widths.append(max(CHANNEL_GRID, int(product / CHANNEL_GRID + 0.5) * CHANNEL_GRID))
    return tuple(widths)


class StageSkeleton(Skeleton):
    """A stem, then stages; each is a cell whose nodes lie in a row.

    ``cells`` follows from the genotype. ``channels`` is the width of the stem, from which those of the stages follow by
    :func:`widen`. A super-net shares weights between networks of equal widths only: its space has one growth and one
    stem.

    Args:
        held: Candidates by cell type; none for a skeleton that only checks genotypes.
    """

    concatenates = False
    single_path = True

    def __init__(self, held: Held | None = None) -> None:
        held = held or {}
        self.cell_types = ("stem", *sorted(set(held) - {"stem"})) if held else ()
        self.layers = len(self.cell_types) or None
        self._reductions = 0
        if not held:
            return
        primitives = {cell: {c.primitive for c in candidates} for cell, candidates in held.items()}
        stages = self.cell_types[1:]
        growths = [[p for p in primitives[cell] if read_layer(p) is None] for cell in stages]
        if any(len(found) > 1 for found in growths) or len(primitives["stem"]) > 1:
            raise ConfigError(
                "a super-net shares weights between networks of equal widths and resolutions: give its space one entry "
                "in growths, and one in stems"
            )
        self._growths = tuple(read_growth(found[0]) for found in growths)
        layers = [[read_layer(p) for p in primitives[cell]] for cell in self.cell_types]
        self._reductions = sum(any(layer and layer.down for layer in found) for found in layers)

    def check(self, genotype: Genotype) -> None:
        """See :class:`Skeleton`."""
        read_chain(genotype)

    def holding(self, held: Held) -> "StageSkeleton":
        """See :class:`Skeleton`; stem, growths and halvings are decided by candidates."""
        return StageSkeleton(held)

    def types(self, cells: int) -> tuple[str, ...]:
        """See :class:`Skeleton`."""
        return self.cell_types

    def reductions(self, cells: int) -> int:
        """See :class:`Skeleton`."""
        return self._reductions

    def stem(self, name: StemName, image_channels: int, channels: int) -> PlainStem:
        """See :class:`Skeleton`; the stem is the first cell, so this passes images on."""
        return PlainStem(image_channels, image_channels, depth=0)

    def cells(
        self, held: Held, cells: int, stem: Stem | PlainStem, channels: int, norms: NormOptions, partial: int
    ) -> Iterator[Cell]:
        """See :class:`Skeleton`."""
        (inputs,) = stem.out_channels
        for cell, width in zip(self.cell_types, (channels, *widen(channels, self._growths)), strict=True):
            operations: dict[Candidate, Operation] = {}
            first = min(c.target for c in held[cell] if read_layer(c.primitive) is not None)
            for candidate in held[cell]:
                layer = read_layer(candidate.primitive)
                if layer is None or layer.type == SKIP:
                    operations[candidate] = Passage()
                else:
                    operations[candidate] = make_layer(
                        layer, inputs if candidate.target == first else width, width, norms
                    )
            yield Cell([nn.Identity()], operations, width, self.concatenates)
            inputs = width


def placed_layers(genotype: Genotype, image_shape: tuple[int, int, int], channels: int) -> Iterator[PlacedLayer]:
    """Yield the layers of a network; equal ones in a row behind the first of a stage come together.

    Args:
        genotype: Of the staged space.
        image_shape: ``(C, H, W)`` of the images.
        channels: Base width.
    """
    stem, stages = read_chain(genotype)
    inputs, height, width = image_shape
    widths = (channels, *widen(channels, tuple(stage.growth for stage in stages)))
    for outputs, layers in zip(widths, ((stem,), *(stage.layers for stage in stages)), strict=True):
        for type, down, repeats in layers:
            first = PlacedLayer(type, down, 1, inputs, outputs, height, width)
            yield first
            height, width = first.size
            if repeats > 1:
                yield PlacedLayer(type, None, repeats - 1, outputs, outputs, height, width)
            inputs = outputs


def stage_cost(
    genotype: Genotype, image_shape: tuple[int, int, int], num_classes: int, channels: int
) -> tuple[int, int]:
    """Count parameters and MACs of a network without building it; batch-norms learn gamma and beta.

    Args:
        genotype: Of the staged space.
        image_shape: ``(C, H, W)`` of the images.
        num_classes: Number of classes.
        channels: Base width.

    Raises:
        BudgetError: If the images are too small for so many reductions.
    """
    chain = read_chain(genotype)
    downs = sum(layer.down is not None for layer in (chain.stem, *(stage.layers[0] for stage in chain.stages)))
    check_resolution(*image_shape[1:], downs)
    parameters = macs = outputs = 0
    for layer in placed_layers(genotype, image_shape, channels):
        outputs = layer.outputs
        cost = layer_cost(layer.type, layer.inputs, outputs, layer.down is not None)
        parameters += layer.repeats * cost.parameters
        macs += layer.repeats * layer.macs
    return parameters + (outputs + 1) * num_classes, macs + outputs * num_classes
