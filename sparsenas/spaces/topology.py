"""The graph of a cell and the numbering of its candidates."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

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
        """Text for messages and figures."""
        return f"{self.primitive} on edge {self.source}->{self.target}"


@dataclass(frozen=True)
class Block:
    """All candidates that may enter one node: one sparse-coding problem.

    Attributes:
        cell: Cell type, e.g. ``"normal"``.
        node: Target node of every candidate.
        candidates: In the order of the code ``z``: index = edge * number of primitives + primitive.
    """

    cell: str
    node: int
    candidates: tuple[Candidate, ...]

    def __len__(self) -> int:
        """Number of candidates ``n``."""
        return len(self.candidates)

    def __str__(self) -> str:
        """Text for messages."""
        return f"{self.cell} cell, node {self.node}"


def dense_block(cell: str, node: int, sources: Iterable[int], primitives: Sequence[str]) -> Block:
    """The block with every primitive on every edge from ``sources`` to ``node``, sources outermost."""
    return Block(cell, node, tuple(Candidate(node, source, name) for source in sources for name in primitives))
