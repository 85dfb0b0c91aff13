"""Distances between architectures: the share of their decisions that differ."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparsenas.spaces import NasBench201Space, SearchSpace, Support

Floats = NDArray[np.float64]


class Described(NamedTuple):
    """Architectures as arrays.

    Attributes:
        kept: 1 where a candidate is kept, shape ``(n, N)`` over the candidates of all blocks.
        classes: Equal where architectures are equal, or equivalent if the space can tell, shape ``(n,)``.
    """

    kept: NDArray[np.float32]
    classes: NDArray[np.int64]


def describe(space: SearchSpace, supports: Sequence[Support]) -> Described:
    """Make the arrays of architectures."""
    starts = np.cumsum([0, *map(len, space.blocks)])
    kept = np.zeros((len(supports), starts[-1]), dtype=np.float32)
    for row, support in zip(kept, supports, strict=True):
        row[kept_places(starts, support)] = 1
    classes = [_class(space, support) for support in supports]
    return Described(kept, np.array(classes, dtype=np.int64))


def kept_places(starts: NDArray[np.int64], support: Support) -> list[int]:
    """Places of the kept candidates among those of all blocks, given the first place of each block."""
    return [start + index for start, indices in zip(starts[:-1].tolist(), support, strict=True) for index in indices]


def distances(first: Described, second: Described) -> Floats:
    """Compute the shares of the decisions of one architecture that another one does not make, shape ``(n, m)``.

    A decision is a kept candidate: the order of the candidates of a node plays no part. Equivalent architectures have
    distance 0. There is at least one architecture on each side.
    """
    shares: Floats = 1.0 - (first.kept @ second.kept.T).astype(np.float64) / first.kept[0].sum()
    shares[first.classes[:, None] == second.classes] = 0.0
    return shares


def nearest(rows: Floats, count: int) -> NDArray[np.int64]:
    """Return the columns of the ``count`` smallest numbers of every row, in any order; all where there are fewer."""
    if count >= rows.shape[1]:
        return np.broadcast_to(np.arange(rows.shape[1]), rows.shape)
    places: NDArray[np.int64] = np.argpartition(rows, count - 1, axis=1)[:, :count]
    return places


def _class(space: SearchSpace, support: Support) -> int:
    """Hash an architecture, alike for all that the space knows to be equivalent: 63 bits, so that two never collide."""
    text = space.isomorphism(space.genotype(support)) if isinstance(space, NasBench201Space) else repr(support)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
