"""The space of staged networks: a stem, then stages of layers at falling resolution and growing width."""

import re
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from typing import Literal, NamedTuple

from sparsenas.errors import ConfigError, GenotypeError
from sparsenas.spaces.base import SearchSpace
from sparsenas.spaces.genotype import Genotype
from sparsenas.spaces.topology import Block, Candidate, dense_block

#: Types of a layer but ``skip``, which is no layer: the network is one shallower. Mobile convolutions exist with
#: ``_se`` behind their name too, which adds squeeze-excitation.
LAYER_TYPES = (
    "conv_3x3",
    "conv_5x5",
    "residual_3x3",
    "residual_bottleneck",
    "sep_conv_3x3",
    "mbconv_k3_e3",
    "mbconv_k3_e6",
    "mbconv_k5_e3",
    "mbconv_k5_e6",
    "fused_mbconv_k3_e2",
    "fused_mbconv_k3_e4",
)
SKIP = "skip"
ALL_TYPES = (*LAYER_TYPES, *(f"{name}_se" for name in LAYER_TYPES if name.startswith("mbconv")))
#: Types that a space has unless told otherwise: one of each family.
DEFAULT_TYPES = ("conv_3x3", "conv_5x5", "residual_3x3", "sep_conv_3x3", "mbconv_k3_e3", "fused_mbconv_k3_e2")

#: How a layer halves the resolution: by the stride of one of its convolutions, or by a max-pool in front of the same.
Downsampling = Literal["stride", "max_pool"]
DOWNSAMPLINGS: tuple[Downsampling, ...] = ("stride", "max_pool")
#: First layers, before all stages.
STEMS = ("conv_3x3", "conv_3x3/stride")
#: Deepest stage, and most stages: names of cells stay in order.
MOST_LAYERS, MOST_STAGES = 30, 9

_LAYER = re.compile(r"(?P<type>\w+?)(?:/(?P<down>stride|max_pool))?(?:\*(?P<repeats>[1-9]\d?))?")
_WIDTH = re.compile(r"width_x(\d+(?:\.\d+)?)")


class Layer(NamedTuple):
    """A layer as a primitive writes it: ``TYPE``, ``TYPE/DOWNSAMPLING``, with ``*N`` for N layers in a row.

    Only the first of several halves the resolution.
    """

    type: str
    down: Downsampling | None = None
    repeats: int = 1

    def __str__(self) -> str:
        """Write the primitive."""
        down = f"/{self.down}" if self.down else ""
        return f"{self.type}{down}" + (f"*{self.repeats}" if self.repeats > 1 else "")


class Stage(NamedTuple):
    """A stage: its width as a multiple of that of the stage before, and its layers without skips."""

    growth: float
    layers: tuple[Layer, ...]


class Chain(NamedTuple):
    """A genotype of the space, read."""

    stem: Layer
    stages: tuple[Stage, ...]


class StageSpace(SearchSpace):
    r"""Networks of a stem and ``stages`` stages of one to ``layers`` layers.

    Each decision is a block, of which one candidate is kept: the stem; for every stage the growth of the width; and the
    type of each layer, which for the first one of a stage comes with the way to halve the resolution. Layers behind the
    first may be ``skip``. With ``per="stage"`` all layers of a stage are of one type, and their number is decided
    together with it.

    The base width is not of the genotype: it fills a budget, so that networks are compared at equal cost
    (:meth:`sparsenas.limits.Limits.fill`).

    Args:
        stages: Number of stages, 1 to 9.
        layers: Most layers of a stage.
        types: Types of layers, of :data:`LAYER_TYPES`; ``_se`` behind a mobile convolution adds squeeze-excitation.
        downsamplings: Ways to halve the resolution at the start of each stage but the first.
        growths: Widths of a stage as multiples of the one before: multiples of 1/4 between 1/4 and 4.
        stems: First layers, of :data:`STEMS`; the one with a stride is for large images.
        halve_first: Halve the resolution in the first stage too.
        per: Decide the type for each layer, or for each stage.

    Raises:
        ConfigError: If an option is out of range, or names what is not known.

    Source: block types of He et al. (CVPR 2016), Howard et al., MobileNets (2017), Sandler et al., MobileNetV2 (CVPR
        2018), Tan and Le, EfficientNetV2 (ICML 2021); stages as in Radosavovic et al., RegNet (CVPR 2020).
    """

    name = "stage"
    num_inputs = 1
    inputs_per_node = 1
    distinct_edges = True

    def __init__(
        self,
        stages: int = 3,
        layers: int = 3,
        types: Sequence[str] = DEFAULT_TYPES,
        downsamplings: Sequence[Downsampling] = DOWNSAMPLINGS,
        growths: Sequence[float] = (1.0, 1.5, 2.0),
        stems: Sequence[str] = STEMS[:1],
        halve_first: bool = False,
        per: Literal["layer", "stage"] = "layer",
    ) -> None:
        if not 1 <= stages <= MOST_STAGES or not 1 <= layers <= MOST_LAYERS:
            raise ConfigError(
                f"space: stages={stages}, layers={layers}; need 1 to {MOST_STAGES} stages of 1 to {MOST_LAYERS} layers"
            )
        for option, names, known in (
            ("types", types, ALL_TYPES),
            ("downsamplings", downsamplings, DOWNSAMPLINGS),
            ("stems", stems, STEMS),
        ):
            _check_names(option, names, known)
        if per not in ("layer", "stage"):
            raise ConfigError(f"space.per is {per!r}; use layer or stage")
        if not growths or len(set(growths)) < len(growths) or not all(map(_is_growth, growths)):
            raise ConfigError(
                f"space.growths is {list(growths)}; name each once: multiples of 0.25 from 0.25 to 4, so that widths "
                "stay on the channel grid"
            )
        self.stages, self.layers, self.types, self.stems = stages, layers, tuple(types), tuple(stems)
        self.downsamplings, self.growths, self.per = tuple(downsamplings), tuple(growths), per
        self.halve_first = halve_first
        self.cell_types = ("stem", *(f"stage{number}" for number in range(1, stages + 1)))

    @classmethod
    def for_images(cls, image_shape: tuple[int, int, int]) -> "StageSpace":
        """Make a space that suits small trainings on images of a shape ``(C, H, W)``.

        From 64 pixels on it has a stage more, so that the last one is as small as with 32.
        """
        return cls(
            stages=3 if min(image_shape[1:]) < 64 else 4,
            layers=2,
            types=("conv_3x3", "residual_3x3", "sep_conv_3x3", "fused_mbconv_k3_e2"),
            stems=STEMS,
        )

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The stem; then per stage its growth, and one block per layer, or one for all of them."""
        widths = [f"width_x{growth:g}" for growth in self.growths]
        blocks = [dense_block("stem", 1, [0], self.stems)]
        for cell in self.cell_types[1:]:
            keeps = cell == "stage1" and not self.halve_first
            downs: tuple[Downsampling | None, ...] = (None,) if keeps else self.downsamplings
            depths = range(1, self.layers + 1) if self.per == "stage" else (1,)
            first = [str(Layer(t, down, depth)) for t in self.types for down in downs for depth in depths]
            blocks += [dense_block(cell, 1, [0], widths), dense_block(cell, 2, [1], first)]
            if self.per == "layer":
                later = (*self.types, SKIP)
                blocks += [dense_block(cell, node, [node - 1], later) for node in range(3, self.layers + 2)]
        return tuple(blocks)


def stage_genotype(stem: str, *stages: tuple[float, Sequence[str]]) -> Genotype:
    """Make a genotype of the space from the primitive of its stem, and growth and primitives of each stage."""
    cells = {"stem": [Candidate(1, 0, stem)]}
    for number, (growth, layers) in enumerate(stages, start=1):
        primitives = (f"width_x{growth:g}", *layers)
        cells[f"stage{number}"] = [Candidate(node + 1, node, name) for node, name in enumerate(primitives)]
    genotype = Genotype.build(StageSpace.name, cells)
    read_chain(genotype)
    return genotype


@lru_cache(maxsize=4096)
def read_chain(genotype: Genotype) -> Chain:
    """Read a genotype of the space.

    Raises:
        GenotypeError: If it is of another space, or no network of a stem and stages; the message names the cell.
    """
    if genotype.space != StageSpace.name:
        raise GenotypeError(f"genotype is of space {genotype.space!r}; expected {StageSpace.name!r}")
    cells = ["stem", *(f"stage{number}" for number in range(1, len(genotype.cell_types)))]
    if set(cells) != set(genotype.cell_types) or not 2 <= len(cells) <= MOST_STAGES + 1:
        raise GenotypeError(
            f"genotype has the cells {', '.join(genotype.cell_types)}; expected stem, stage1, stage2, ... without gaps"
        )
    (stem,) = _layers("stem", _in_a_row("stem", genotype.cell("stem"), least=1, most=1))
    if stem.type == SKIP:
        raise GenotypeError("stem is skip; it is a layer, such as conv_3x3")
    stages = []
    for number, cell in enumerate(cells[1:], start=1):
        width, *names = _in_a_row(cell, genotype.cell(cell), least=2, most=MOST_LAYERS + 1)
        layers = _layers(cell, names)
        if layers[0].type == SKIP or (layers[0].down is None and number > 1):
            raise GenotypeError(
                f"{cell} begins with {names[0]}; the first layer is no skip, and halves the resolution by /stride or "
                "/max_pool in all stages but the first, where it may"
            )
        if any(layer.down for layer in layers[1:]):
            raise GenotypeError(f"{cell}: only its first layer may halve the resolution")
        stages.append(Stage(_growth(cell, width), tuple(layer for layer in layers if layer.type != SKIP)))
    return Chain(stem, tuple(stages))


def read_layer(primitive: str) -> Layer | None:
    """Read the primitive of a layer; ``None`` if it is the growth of a width.

    Raises:
        GenotypeError: If it is neither.
    """
    if _WIDTH.fullmatch(primitive):
        return None
    match = _LAYER.fullmatch(primitive)
    if match is None or match["type"] not in (*ALL_TYPES, SKIP):
        raise GenotypeError(
            f"unknown layer {primitive!r}; known are {', '.join(LAYER_TYPES)}, {SKIP}, with _se behind a mbconv, "
            "/stride or /max_pool where the resolution halves, and *N for N layers"
        )
    down: Downsampling | None = match["down"]  # type: ignore[assignment]  # the pattern has no other
    return Layer(match["type"], down, int(match["repeats"] or 1))


def read_growth(primitive: str) -> float:
    """Read the primitive of a width, such as ``width_x1.5``, or raise a ``GenotypeError`` if it is none."""
    match = _WIDTH.fullmatch(primitive)
    if match is None or not _is_growth(float(match[1])):
        raise GenotypeError(f"{primitive!r} is no growth of a width; expected width_xN, N a multiple of 0.25 up to 4")
    return float(match[1])


def _layers(cell: str, names: Iterable[str]) -> list[Layer]:
    found = [read_layer(name) for name in names]
    if None in found:
        raise GenotypeError(f"{cell}: names its width twice; once, as the first candidate")
    return [layer for layer in found if layer is not None]


def _growth(cell: str, primitive: str) -> float:
    try:
        return read_growth(primitive)
    except GenotypeError as error:
        raise GenotypeError(f"{cell}: its first candidate is its width: {error}") from error


def _in_a_row(cell: str, candidates: Sequence[Candidate], least: int, most: int) -> list[str]:
    """Primitives of candidates that lead from node to node."""
    if [c.edge for c in candidates] != [(node, node + 1) for node in range(len(candidates))]:
        raise GenotypeError(f"{cell}: its candidates must lie in a row, on the edges 0->1, 1->2, ...")
    if not least <= len(candidates) <= most:
        raise GenotypeError(f"{cell}: has {len(candidates)} candidates; it needs {least} to {most}")
    return [candidate.primitive for candidate in candidates]


def _check_names(option: str, names: Sequence[str], known: Sequence[str]) -> None:
    if not names or len(set(names)) < len(names) or not set(names) <= set(known):
        raise ConfigError(f"space.{option} is {list(names)}; name at least one, each once, of {', '.join(known)}")


def _is_growth(growth: float) -> bool:
    return 0.25 <= growth <= 4 and float(4 * growth).is_integer()
