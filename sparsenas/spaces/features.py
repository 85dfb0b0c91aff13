"""Architecture features: an architecture as numbers that fall into groups, one group for each decision."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import ceil, log2
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparsenas.spaces.genotype import Genotype
from sparsenas.spaces.stage import SKIP, Chain, StageSpace, read_chain, read_growth, read_layer

Floats = NDArray[np.float64]


class Feature(NamedTuple):
    """A number of an architecture: the decision that it belongs to, and what it counts there."""

    decision: str
    what: str


#: What the decisions about pairs begin with; they are penalised more, see :data:`PAIRS`.
PAIR = "pair"
#: Weight of the penalty of a pair, of which there are many; a single decision has 1.
PAIRS = 2.0


class Place(NamedTuple):
    """A place in a staged network while it is walked through, from the images on.

    Attributes:
        level: Logarithm to base 2 of the resolution, rounded up: 5 for 17 to 32 pixels.
        before: Type of the last layer.
        growth: Growth of the stage that is about to begin; 0 inside of one.
    """

    level: int
    before: str = ""
    growth: float = 0.0

    @classmethod
    def at(cls, side: int) -> "Place":
        """The place of images of so many pixels a side."""
        return cls(ceil(log2(side)))


def step(place: Place, primitive: str) -> tuple[Place, tuple[tuple[Feature, float], ...]]:
    """Walk through one primitive of a staged network; gives the next place, and what the step adds to the features.

    Sums over these steps describe the network, so the best network of a code is a best path.
    """
    layer = read_layer(primitive)
    if layer is None:
        return place._replace(growth=read_growth(primitive)), ()
    if layer.type == SKIP:
        return place, ()
    level = place.level - (layer.down is not None)
    where = f"{2**level} px"
    added = [
        (Feature(f"{what}{here}", name), float(layer.repeats))
        for what, name in (("depth", "layers"), ("types", layer.type))
        for here in ("", f" at {where}")  # as a whole, and there
    ]
    if place.growth:
        added.append((Feature(f"growth at {where}", "log2"), log2(place.growth)))
    if layer.down is not None:
        added.append((Feature(f"reduction to {where}", layer.down), 1.0))
    if place.before:
        added.append((Feature(f"{PAIR} {place.before} > {layer.type}", "in a row"), 1.0))
    if layer.repeats > 1:
        added.append((Feature(f"{PAIR} {layer.type} > {layer.type}", "in a row"), layer.repeats - 1.0))
    return Place(level, layer.type), tuple(added)


def describe(genotype: Genotype, side: int = 32) -> Counter[Feature]:
    """Describe an architecture by its decisions.

    A staged network is described as a whole and resolution by resolution, so that networks with other stages,
    references among them, and images of other sizes share features: depth, types of layers, growth of the width, the
    way to halve, and pairs of neighbouring layers. Of another space, each kept candidate is a feature of its block,
    each use of a primitive one of its cell, and in chains each pair of neighbouring layers is one.

    Args:
        genotype: The architecture.
        side: Smaller side of the images in pixels; only staged networks are described by it.
    """
    found: Counter[Feature] = Counter()
    if genotype.space == StageSpace.name:
        place = Place.at(side)
        for primitive in _primitives(read_chain(genotype)):
            place, added = step(place, primitive)
            _add(found, added)
        return found
    for cell, candidates in genotype.cells:
        for candidate in candidates:
            found[Feature(f"{cell} {candidate.source}->{candidate.target}", candidate.primitive)] += 1
            found[Feature(f"count in {cell}", candidate.primitive)] += 1
        if all(candidate.edge == (number, number + 1) for number, candidate in enumerate(candidates)):
            for first, second in pairwise(candidates):
                where = f"{PAIR} {cell} {first.source}->{second.target}"
                found[Feature(where, f"{first.primitive} > {second.primitive}")] += 1
    return found


class Dictionary:
    """The features of some architectures as the dictionary ``A`` of a code.

    Args:
        described: Descriptions of all architectures that matter, by :func:`describe`.

    Attributes:
        features: All features, ``N``, in the order of the columns.
        decisions: Names of the groups, ``G``.
        groups: Number of the group of each feature, shape ``(N,)``.
        weights: Weight of each group, shape ``(G,)``: the root of its size, more for pairs.
    """

    def __init__(self, described: Iterable[Counter[Feature]]) -> None:
        self.features = sorted({feature for features in described for feature in features})
        self.decisions = list(dict.fromkeys(feature.decision for feature in self.features))
        number = {decision: index for index, decision in enumerate(self.decisions)}
        self.groups = np.array([number[feature.decision] for feature in self.features], dtype=np.int64)
        sizes = np.bincount(self.groups, minlength=len(self.decisions))
        pairs = [PAIRS if decision.startswith(PAIR) else 1.0 for decision in self.decisions]
        self.weights: Floats = np.sqrt(sizes) * np.array(pairs)
        self._index = {feature: index for index, feature in enumerate(self.features)}

    def __len__(self) -> int:
        """Number of features."""
        return len(self.features)

    def rows(self, described: Sequence[Counter[Feature]]) -> Floats:
        """Turn descriptions into rows, shape ``(K, N)``; features that are not in the dictionary are not seen."""
        rows = np.zeros((len(described), len(self.features)))
        for row, features in zip(rows, described, strict=True):
            for feature, value in features.items():
                if feature in self._index:
                    row[self._index[feature]] = value
        return rows

    def vector(self, values: dict[Feature, float], default: float = 0.0) -> Floats:
        """Arrange numbers of features in the order of the columns, shape ``(N,)``."""
        return np.array([values.get(feature, default) for feature in self.features], dtype=np.float64)

    def named(self, vector: Floats) -> dict[Feature, float]:
        """Turn a vector ``(N,)`` into numbers of features."""
        return dict(zip(self.features, vector.tolist(), strict=True))


def _primitives(chain: Chain) -> list[str]:
    """Primitives of a staged network in the order of the way through it."""
    found = [str(chain.stem)]
    for stage in chain.stages:
        found += [f"width_x{stage.growth:g}", *map(str, stage.layers)]
    return found


def _add(found: Counter[Feature], added: Iterable[tuple[Feature, float]]) -> None:
    for feature, value in added:
        found[feature] += value  # type: ignore[assignment]  # a Counter of real numbers
