"""The graph of a cell and the numbering of its candidates."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

#: The primitive that connects nothing.
NONE = "none"

#: Kept candidate indices per block, in block order; indices ascend within a block.
Support = tuple[tuple[int, ...], ...]


class Candidate(NamedTuple):
    """One (edge, primitive) pair of a cell; the order of the fields is the canonical order.

    Nodes are numbered from the cell's inputs on: with two inputs these are 0 and 1, and the first computed node is 2.
    """

    target: int
    source: int
    primitive: str

    @property
    def edge(self) -> tuple[int, int]:
        """The edge as ``(source, target)``."""
        return (self.source, self.target)

    def __str__(self) -> str:
        return f"{self.primitive} on edge {self.source}->{self.target}"


@dataclass(frozen=True)
class Block:
    """Candidates from which a support of one size is kept: one sparse-coding problem.

    In most spaces these are all candidates that may enter one node. Where a rule binds the nodes of a cell together,
    such as "one candidate on every edge", they are those of a whole cell.

    Attributes:
        cell: Cell type, e.g. ``"normal"``.
        node: Target node of every candidate; ``None`` for the block of a whole cell.
        candidates: The same primitives on every edge, in the order of the code ``z``: index = edge * number of
            primitives + primitive.
    """

    cell: str
    node: int | None
    candidates: tuple[Candidate, ...]

    def __len__(self) -> int:
        return len(self.candidates)

    def __str__(self) -> str:
        return f"{self.cell} cell" if self.node is None else f"{self.cell} cell, node {self.node}"

    @cached_property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """The edges as ``(source, target)``, in order."""
        return tuple(dict.fromkeys(candidate.edge for candidate in self.candidates))

    @property
    def primitives_per_edge(self) -> int:
        """Number of candidates on each edge."""
        return len(self.candidates) // len(self.edges)


def dense_block(cell: str, node: int, sources: Iterable[int], primitives: Sequence[str]) -> Block:
    """Make the block with every primitive on every edge from ``sources`` to ``node``, sources outermost."""
    return Block(cell, node, tuple(Candidate(node, source, name) for source in sources for name in primitives))


def complete_block(cell: str, nodes: int, primitives: Sequence[str]) -> Block:
    """Make the block of a whole cell: every primitive on every edge between ``nodes`` nodes, targets outermost."""
    edges = ((source, target) for target in range(1, nodes) for source in range(target))
    return Block(cell, None, tuple(Candidate(target, source, name) for source, target in edges for name in primitives))
