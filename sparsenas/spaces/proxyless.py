"""The space of ProxylessNAS, a chain of 21 mobile convolutions, and the networks published with it."""

from functools import cached_property
from itertools import accumulate
from typing import Literal, NamedTuple, get_args

from sparsenas.errors import ConfigError
from sparsenas.spaces.base import SearchSpace
from sparsenas.spaces.genotype import Genotype
from sparsenas.spaces.stage import SKIP
from sparsenas.spaces.topology import Block, Candidate, dense_block

#: Types of a layer in the published order: mobile convolutions by kernel and expansion; then ``skip``, no layer.
PROXYLESS_PRIMITIVES = (*(f"mbconv_k{kernel}_e{expansion}" for kernel in (3, 5, 7) for expansion in (3, 6)), SKIP)

#: Number of layers of each stage.
STAGE_LAYERS = (4, 4, 4, 4, 4, 1)
#: First layer of each stage, counted from 0. It changes the width, so it is never skipped.
FIRST_LAYERS = tuple(accumulate(STAGE_LAYERS, initial=0))[:-1]
#: Layers that halve the resolution: the first ones of all stages but the fourth and the last.
HALVING = tuple(FIRST_LAYERS[stage] for stage in (0, 1, 2, 4))

WidthsName = Literal["search", "mobile", "mobile_14", "cpu", "gpu"]


class Widths(NamedTuple):
    """Channels of a network as published."""

    stem: int
    first_block: int
    stages: tuple[int, ...]
    last_convolution: int


#: Published widths of the super-graph, and of the networks found. Those of ``cpu`` and ``gpu`` are 1.12 and 1.35 times
#: the first, rounded as the code does; those of ``mobile`` and ``mobile_14`` are no multiple.
PROXYLESS_WIDTHS: dict[WidthsName, Widths] = {
    "search": Widths(32, 16, (24, 40, 80, 96, 192, 320), 1280),
    "mobile": Widths(32, 16, (32, 40, 80, 96, 192, 320), 1280),
    "mobile_14": Widths(48, 24, (40, 56, 112, 136, 256, 448), 1792),
    "cpu": Widths(40, 24, (32, 48, 88, 104, 216, 360), 1432),
    "gpu": Widths(40, 24, (32, 56, 112, 128, 256, 432), 1728),
}


class ProxylessSpace(SearchSpace):
    """Networks of 21 layers in a row, in six stages: no cell is repeated, so the whole chain is the cell.

    Layer ``i`` leads from node ``i`` to node ``i + 1``: a mobile convolution, or ``skip`` where it keeps resolution and
    width. Widths are not decided by the search, but the published networks do not share them. So each list of widths
    has a space of its own, with its own name.

    Args:
        widths: Whose widths networks have: those of the published ``search`` (space ``proxyless``), or of the network
            found for ``mobile``, ``mobile_14``, ``cpu`` or ``gpu`` (space ``proxyless_mobile``, ...).

    Raises:
        ConfigError: If there are no such widths.

    Source: Cai et al., ProxylessNAS (ICLR 2019), and its code.
    """

    name = "proxyless"
    cell_types = ("chain",)
    num_inputs = 1
    inputs_per_node = 1
    distinct_edges = True
    layers = sum(STAGE_LAYERS)

    def __init__(self, widths: WidthsName = "search") -> None:
        if widths not in PROXYLESS_WIDTHS:
            raise ConfigError(f"space.widths is {widths!r}; known are {', '.join(get_args(WidthsName))}")
        self.widths = widths
        self.name = _space_name(widths)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """One block per layer, of six candidates in the first layer of a stage, else of seven."""
        return tuple(
            dense_block("chain", layer + 1, [layer], PROXYLESS_PRIMITIVES[: -1 if layer in FIRST_LAYERS else None])
            for layer in range(self.layers)
        )


def _space_name(widths: WidthsName) -> str:
    return "proxyless" if widths == "search" else f"proxyless_{widths}"


def _network(widths: WidthsName, stages: str) -> Genotype:
    """Make a genotype of stages between bars; a layer is its kernel and expansion, ``k5_e3``, or ``skip``."""
    layers = [name if name == SKIP else f"mbconv_{name}" for name in stages.replace("|", " ").split()]
    chain = [Candidate(layer + 1, layer, name) for layer, name in enumerate(layers)]
    return Genotype.build(_space_name(widths), {"chain": chain})


_MOBILE = (
    "k5_e3 k3_e3 skip skip | k7_e3 k3_e3 k5_e3 k5_e3 | k7_e6 k5_e3 k5_e3 k5_e3 | "
    "k5_e6 k5_e3 k5_e3 k5_e3 | k7_e6 k7_e6 k7_e3 k7_e3 | k7_e6"
)
#: The published networks, searched on ImageNet, by their name on the command line, which is that of their space.
PROXYLESS_NETWORKS = {
    genotype.space: genotype
    for genotype in (
        _network("mobile", _MOBILE),
        _network("mobile_14", _MOBILE),
        _network(
            "cpu",
            "k3_e6 k3_e3 k3_e3 k3_e3 | k3_e6 k3_e3 k3_e3 k5_e3 | k3_e6 skip skip k3_e3 | "
            "k5_e6 k3_e3 k3_e3 k3_e3 | k5_e6 k5_e3 k5_e3 k3_e3 | k5_e6",
        ),
        _network(
            "gpu",
            "k5_e3 skip skip skip | k7_e3 skip skip k3_e3 | k7_e6 skip skip k5_e3 | "
            "k5_e6 skip k3_e3 k5_e3 | k7_e6 k7_e6 k7_e6 k5_e6 | k7_e6",
        ),
    )
}
