"""Networks of ProxylessNAS: a chain of mobile convolutions."""

from collections.abc import Iterator
from itertools import pairwise

from torch import nn

from sparsenas.networks.cell import Cell
from sparsenas.networks.heads import PlainStem, Stem, StemName
from sparsenas.networks.layers import Convolution, Passage, convolution_modules, make_layer
from sparsenas.networks.normalisation import NormOptions
from sparsenas.networks.operations import Operation
from sparsenas.networks.skeletons.base import Held, Skeleton
from sparsenas.spaces import Candidate, Genotype, ProxylessSpace
from sparsenas.spaces.proxyless import HALVING, PROXYLESS_WIDTHS, STAGE_LAYERS, Widths, WidthsName
from sparsenas.spaces.stage import SKIP, Layer

#: Published widths are multiples of this.
_GRID = 8


def scale_widths(published: Widths, channels: int) -> Widths:
    """Scale all widths in proportion to that of the stem, which becomes ``channels``.

    A scaled width is rounded to the nearest multiple of 8, and up where that would take more than a tenth off it.

    Source: code of Cai et al., ProxylessNAS (ICLR 2019), after that of MobileNetV2.
    """

    def scaled(width: int) -> int:
        exact = width * channels / published.stem
        nearest = max(_GRID, int(exact + _GRID / 2) // _GRID * _GRID)
        return nearest if nearest >= 0.9 * exact else nearest + _GRID

    stages = tuple(map(scaled, published.stages))
    return Widths(channels, scaled(published.first_block), stages, scaled(published.last_convolution))


class MobileStem(PlainStem):
    """A 3x3 convolution that halves the resolution, then a mobile convolution of expansion 1, which widens nothing."""

    def __init__(self, image_channels: int, channels: int, out_channels: int) -> None:
        super().__init__(image_channels, image_channels, depth=0)
        convolutions = (
            Convolution(image_channels, channels, 3, reduces=True),
            Convolution(channels, channels, 3, depthwise=True),
            Convolution(channels, out_channels, 1, relu=False),
        )
        self.first = nn.Sequential(*(m for c in convolutions for m in convolution_modules(c, "stride", NormOptions())))
        self.out_channels = (out_channels,)
        self.downscale = 2


class ProxylessSkeleton(Skeleton):
    """Chain of 21 layers in six stages; the first layers of four stages halve the resolution.

    ``cells`` is the number of layers, 21. ``channels`` is the width of the stem, 32 in the published search; all other
    widths follow in proportion, by :func:`scale_widths`.

    Args:
        widths: Whose published widths to take.

    Source: Cai et al., ProxylessNAS (ICLR 2019), and its code.

    Differs: activations are ReLU, not ReLU6, and batch-norms have the epsilon 1e-5, not 1e-3. The last convolution
    scales with the others, where the code never makes it narrower than 1280.
    """

    cell_types = ProxylessSpace.cell_types
    concatenates = False
    single_path = True
    layers = ProxylessSpace.layers

    def __init__(self, widths: WidthsName) -> None:
        self.space = ProxylessSpace(widths)

    def check(self, genotype: Genotype) -> None:
        """See :class:`Skeleton`."""
        self.space.validate(genotype)

    def types(self, cells: int) -> tuple[str, ...]:
        """See :class:`Skeleton`; the whole chain is one cell."""
        return self.cell_types

    def reductions(self, cells: int) -> int:
        """See :class:`Skeleton`."""
        return len(HALVING)

    def stem(self, name: StemName, image_channels: int, channels: int) -> MobileStem:
        """See :class:`Skeleton`."""
        return MobileStem(image_channels, channels, self._widths(channels).first_block)

    def cells(
        self, held: Held, cells: int, stem: Stem | PlainStem, channels: int, norms: NormOptions, partial: int
    ) -> Iterator[Cell]:
        """See :class:`Skeleton`."""
        stages = self._widths(channels).stages
        (inputs,) = stem.out_channels
        widths = [inputs, *(width for width, layers in zip(stages, STAGE_LAYERS, strict=True) for _ in range(layers))]
        sizes = list(pairwise(widths))
        operations: dict[Candidate, Operation] = {
            c: Passage()
            if c.primitive == SKIP
            else make_layer(Layer(c.primitive, "stride" if c.source in HALVING else None), *sizes[c.source], norms)
            for c in held["chain"]
        }
        yield Cell([nn.Identity()], operations, widths[-1], self.concatenates)

    def neck(self, in_channels: int, channels: int, norms: NormOptions) -> tuple[nn.Sequential, int]:
        """See :class:`Skeleton`."""
        wide = self._widths(channels).last_convolution
        return nn.Sequential(*convolution_modules(Convolution(in_channels, wide, 1), None, norms)), wide

    def _widths(self, channels: int) -> Widths:
        return scale_widths(PROXYLESS_WIDTHS[self.space.widths], channels)
