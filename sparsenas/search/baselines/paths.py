"""Paths of a super-net that a batch trains: the sampling heuristics of weight-sharing search."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np

from sparsenas.errors import ConfigError
from sparsenas.networks import SuperNet
from sparsenas.spaces import NasBench201Space, SearchSpace, Support


class PathDraws(ABC):
    """The draws of one run, batch by batch, with what they remember.

    Attributes:
        hears: True if :meth:`heard` is to be called; to hear a loss makes the run wait for its device.
    """

    hears: bool = False

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> tuple[Support, ...]:
        """Draw the paths whose gradients on a batch add up to one step."""

    def heard(self, losses: Sequence[float]) -> None:
        """Take note of the training losses of the paths drawn last, means over all processes."""
        del losses

    def state_dict(self) -> dict[str, Any]:
        """Collect what is remembered, as plain values and tensors."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` of the same sampling gave."""
        del state


@dataclass(frozen=True)
class PathSampling(ABC):
    """Draws the paths of every batch.

    Attributes:
        untrained: Primitives that no path may hold, e.g. ``none``; they can be found all the same.
    """

    untrained: tuple[str, ...] = ()

    @abstractmethod
    def begin(self, network: SuperNet, rng: np.random.Generator) -> PathDraws:
        """Begin the draws of a run.

        Args:
            network: Super-net that is trained.
            rng: Source of all draws that are made once for the run.

        Raises:
            ConfigError: If the sampling does not fit the space.
        """


class IndependentDraws(PathDraws):
    """Draws that remember nothing.

    Args:
        paths: Draws the paths of a batch from a space.
        space: The space.

    Raises:
        ConfigError: If ``paths`` does, which is called once to see.
    """

    def __init__(
        self, paths: Callable[[SearchSpace, np.random.Generator], tuple[Support, ...]], space: SearchSpace
    ) -> None:
        self._paths, self._space = paths, space
        paths(space, np.random.default_rng(0))

    def draw(self, rng: np.random.Generator) -> tuple[Support, ...]:
        """See :class:`PathDraws`."""
        return self._paths(self._space, rng)


@dataclass(frozen=True)
class UniformPaths(PathSampling):
    """One path per batch, drawn uniformly from the encodings.

    Networks that have many encodings are drawn more often: the ``Random-NAS`` of Yu et al., How to Train Your
    Super-Net (2020).
    """

    def begin(self, network: SuperNet, rng: np.random.Generator) -> PathDraws:
        """See :class:`PathSampling`."""
        return IndependentDraws(self.paths, network.space)

    def paths(self, space: SearchSpace, rng: np.random.Generator) -> tuple[Support, ...]:
        """Draw the paths of one batch."""
        support = []
        for edges in _drawn_edges(space, self.untrained, rng):
            support.append(tuple(int(rng.choice(candidates)) for candidates in edges))
        return (tuple(support),)


@dataclass(frozen=True)
class UniquePaths(PathSampling):
    """One path per batch, drawn uniformly from the distinct networks: ``Random-A`` of the same study.

    Of every class of equivalent encodings the first one is trained. Only spaces that know which encodings are
    equivalent have this sampling.
    """

    def begin(self, network: SuperNet, rng: np.random.Generator) -> PathDraws:
        """See :class:`PathSampling`."""
        return IndependentDraws(self.paths, network.space)

    def paths(self, space: SearchSpace, rng: np.random.Generator) -> tuple[Support, ...]:
        """Draw the paths of one batch.

        Raises:
            ConfigError: If the space does not know which encodings are equivalent.
        """
        if not isinstance(space, NasBench201Space):
            raise ConfigError(
                f"UniquePaths needs a space that knows equivalent cells, like nasbench201, not {space.name}"
            )
        members = _representatives(space, self.untrained)
        return (members[int(rng.integers(len(members)))],)


@dataclass(frozen=True)
class FairPaths(PathSampling):
    """As many paths per batch as there are primitives, so that each primitive of an edge runs in exactly one of them.

    Where an edge has fewer primitives than others, they run again. The edges are drawn once per batch. Costs as many
    passes as there are primitives: compare at equal passes, not batches.

    Source: Chu et al., FairNAS (ICCV 2021), "strict fairness".
    """

    def begin(self, network: SuperNet, rng: np.random.Generator) -> PathDraws:
        """See :class:`PathSampling`."""
        return IndependentDraws(self.paths, network.space)

    def paths(self, space: SearchSpace, rng: np.random.Generator) -> tuple[Support, ...]:
        """Draw the paths of one batch."""
        shuffled = [
            [rng.permutation(candidates) for candidates in edges] for edges in _drawn_edges(space, self.untrained, rng)
        ]
        count = max(len(candidates) for edges in shuffled for candidates in edges)
        return tuple(
            tuple(tuple(int(candidates[path % len(candidates)]) for candidates in edges) for edges in shuffled)
            for path in range(count)
        )


def union(paths: tuple[Support, ...]) -> Support:
    """All candidates that any of the paths holds, per block."""
    return tuple(tuple(sorted(set().union(*blocks))) for blocks in zip(*paths, strict=True))


def _drawn_edges(space: SearchSpace, untrained: tuple[str, ...], rng: np.random.Generator) -> list[list[list[int]]]:
    """Draw as many edges of every block as it keeps, and list their trained candidates; edges ascend."""
    if not space.distinct_edges:
        raise ConfigError("paths are drawn edge by edge: set space.distinct_edges to true")
    drawn = []
    for block in space.blocks:
        chosen = sorted(rng.choice(len(block.edges), size=space.inputs_per_node, replace=False))
        edges = [
            [i for i, c in enumerate(block.candidates) if c.edge == block.edges[edge] and c.primitive not in untrained]
            for edge in chosen
        ]
        if not all(edges):
            raise ConfigError(
                f"paths.untrained is {', '.join(untrained)}; that leaves nothing to train on an edge of {block}"
            )
        drawn.append(edges)
    return drawn


@lru_cache(maxsize=2)
def _representatives(space: NasBench201Space, untrained: tuple[str, ...]) -> tuple[Support, ...]:
    """The first encoding of every class that holds trained primitives only."""
    (edges,) = _drawn_edges(space, untrained, np.random.default_rng(0))  # all edges: the cell keeps every one
    first: dict[str, Support] = {}
    for kept in product(*edges):
        first.setdefault(space.isomorphism(space.genotype((kept,))), (kept,))
    return tuple(first.values())
