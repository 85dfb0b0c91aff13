"""Draws of architectures, decision by decision, from a distribution that can move."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sparsenas.complexity import effective_support
from sparsenas.errors import ConfigError
from sparsenas.spaces import SearchSpace, Support

Floats = NDArray[np.float64]

#: Draws in a row without a path through every cell, after which there is thought to be none.
PATIENCE = 1000


class DecisionDraws:
    """Draws architectures from a logit for every candidate of all blocks, shape ``(N,)``; zeros draw uniformly.

    Where every edge keeps a candidate, one is drawn per edge. Elsewhere the candidates of a block are drawn one after
    another, without replacement and on distinct edges. Candidates that are not trained are not drawn, nor networks that
    are cut off: see :func:`connected`.

    Args:
        space: Search space, whose blocks keep candidates on distinct edges.
        untrained: Primitives that are not drawn; they leave some on every edge.
    """

    def __init__(self, space: SearchSpace, untrained: Sequence[str] = ()) -> None:
        self.space = space
        self._trained = [np.array([c.primitive not in untrained for c in block.candidates]) for block in space.blocks]
        self._edges = [np.array([block.edges.index(c.edge) for c in block.candidates]) for block in space.blocks]
        self._stops = np.cumsum([len(block) for block in space.blocks])[:-1]
        self.uniform: Floats = np.zeros(sum(map(len, space.blocks)))
        #: Candidates that are not drawn, per block.
        self.left_out = [frozenset(np.flatnonzero(~trained).tolist()) for trained in self._trained]

    def draw(self, logits: Floats, count: int, rng: np.random.Generator) -> tuple[list[Support], Floats]:
        r"""Draw architectures, with the gradients :math:`\nabla \log p` of their probabilities.

        Returns:
            Architectures, and gradients by the logits, shape ``(count, N)``.

        Raises:
            ConfigError: If there are only networks that are cut off.
        """
        supports: list[Support] = []
        gradients: list[Floats] = []
        for _ in range(PATIENCE):
            drawn, slopes = self._draw(logits, count, rng)
            alive = [connected(self.space, support) for support in drawn]
            supports += [support for support, lives in zip(drawn, alive, strict=True) if lives]
            gradients.append(slopes[alive])
            if len(supports) >= count:
                return supports[:count], np.concatenate(gradients)[:count]
        raise ConfigError(
            f"{PATIENCE * count:,} drawn architectures have no path from input to output of every cell; leave fewer "
            "primitives out by paths.untrained"
        )

    def spread(self, logits: Floats, share: float) -> Floats:
        """Draw logits together until every decision has at least a share of the largest entropy it could have."""
        rows = []
        for row, trained, edges in zip(np.split(logits, self._stops), self._trained, self._edges, strict=True):
            one_each = edges.max() + 1 == self.space.inputs_per_node
            spread = row.copy()
            for group in [edges == edge for edge in range(edges.max() + 1)] if one_each else [np.full(len(row), True)]:
                chosen = np.flatnonzero(group & trained)
                while _entropy(spread[chosen]) < share * np.log(len(chosen)):
                    spread[chosen] *= 0.9
            rows.append(spread)
        return np.concatenate(rows)

    def _draw(self, logits: Floats, count: int, rng: np.random.Generator) -> tuple[list[Support], Floats]:
        blocks, slopes = [], []
        for row, trained, edges in zip(np.split(logits, self._stops), self._trained, self._edges, strict=True):
            one_each = edges.max() + 1 == self.space.inputs_per_node
            kept, slope = [], np.zeros((count, len(row)))
            allowed = np.tile(trained, (count, 1))
            for slot in range(self.space.inputs_per_node):
                here = allowed & (edges == slot) if one_each else allowed
                picked = np.where(here, row + rng.gumbel(size=here.shape), -np.inf).argmax(1)
                slope -= _softmax(np.where(here, row, -np.inf))
                slope[np.arange(count), picked] += 1
                allowed = allowed & (edges != edges[picked][:, None])
                kept.append(picked)
            blocks.append(np.sort(kept, axis=0).T.tolist())
            slopes.append(slope)
        return [tuple(map(tuple, support)) for support in zip(*blocks, strict=True)], np.concatenate(slopes, 1)


def connected(space: SearchSpace, support: Support) -> bool:
    """Say if a path leads from the inputs of every cell to its output: what is cut off computes nothing."""
    live = {block.cell for block, kept in zip(space.blocks, effective_support(space, support), strict=True) if kept}
    return len(live) == len(space.cell_types)


def _softmax(logits: Floats) -> Floats:
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    shares: Floats = weights / weights.sum(-1, keepdims=True)
    return shares


def _entropy(logits: Floats) -> float:
    weights = _softmax(logits)
    return float(-(weights * np.log(weights)).sum())
