"""Small changes of architectures, for walks and evolutions."""

from collections.abc import Collection, Sequence

import numpy as np

from sparsenas.spaces import SearchSpace, Support


def redraw(
    space: SearchSpace,
    support: Support,
    rng: np.random.Generator,
    left_out: Sequence[Collection[int]] = (),
) -> Support:
    """Draw one kept candidate anew, from all that may stand in its place, itself among them.

    Block and candidate are drawn uniformly. As many may stand there in return, so this is symmetric.

    Args:
        space: Search space.
        support: Architecture.
        rng: Source of all draws.
        left_out: Per block, candidates that are not drawn; empty for none.
    """
    position = int(rng.integers(len(support)))
    index = support[position][int(rng.integers(len(support[position])))]
    return _redrawn(space, support, position, index, rng, left_out)


def redraw_each(
    space: SearchSpace,
    support: Support,
    probability: float,
    rng: np.random.Generator,
    left_out: Sequence[Collection[int]] = (),
) -> Support:
    """Draw every kept candidate anew with a probability; see :func:`redraw`."""
    for position, kept in enumerate(support):
        for index in kept:
            if rng.random() < probability:
                support = _redrawn(space, support, position, index, rng, left_out)
    return support


def cross(space: SearchSpace, first: Support, second: Support, rng: np.random.Generator) -> Support:
    """Keep of every block as many candidates as before, drawn from those that one of two architectures keeps.

    Where every edge keeps a candidate, that of each edge is one parent's or the other's with equal probability.
    """
    child = []
    for block, own, other in zip(space.blocks, first, second, strict=True):
        kept: list[int] = []
        taken: set[tuple[int, int]] = set()
        for index in rng.permutation(sorted({*own, *other})).tolist():
            edge = block.candidates[index].edge
            if len(kept) < len(own) and not (space.distinct_edges and edge in taken):
                kept.append(index)
                taken.add(edge)
        child.append(tuple(sorted(kept)))
    return tuple(child)


def _redrawn(
    space: SearchSpace,
    support: Support,
    position: int,
    index: int,
    rng: np.random.Generator,
    left_out: Sequence[Collection[int]],
) -> Support:
    block, kept = space.blocks[position], [other for other in support[position] if other != index]
    taken = {block.candidates[other].edge for other in kept} if space.distinct_edges else set()
    closed = {*kept, *left_out[position]} if left_out else set(kept)
    open_ = [i for i, c in enumerate(block.candidates) if i not in closed and c.edge not in taken]
    changed = tuple(sorted((*kept, open_[int(rng.integers(len(open_)))])))
    return (*support[:position], changed, *support[position + 1 :])
