"""Layered layout of one cell: columns from left to right; nothing in a column lies on top of another thing.

The method of Sugiyama et al. (1981). Nodes stand in the column of their depth. Every candidate is a box in the column
before its target. An edge that passes a column holds a free lane in it. So no line runs through a node or a label.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from random import Random
from statistics import fmean

import numpy as np
from scipy.optimize import linprog

from sparsenas.spaces.topology import Candidate

#: Random orders to start from, and sweeps over the columns each; more hardly helped up to 8 nodes.
_STARTS = 12
_SWEEPS = 6


@dataclass(eq=False)
class Vertex:
    """A place in a column: a node, a candidate, the output or a lane (an edge that passes).

    Attributes:
        kind: ``"node"``, ``"candidate"``, ``"output"`` or ``"lane"``.
        column: Column number from the left.
        node: Number of the node, for nodes.
        candidate: The candidate, for candidates.
        lines: Lines on its busier side.
        y: Height in rows; grows upwards.
    """

    kind: str
    column: int
    node: int = -1
    candidate: Candidate | None = None
    lines: int = 1
    y: float = 0.0

    @property
    def size(self) -> float:
        """Rows this vertex needs: nodes grow with their lines."""
        if self.kind in ("node", "output"):
            return max(1.15, 0.4 + 0.26 * self.lines)
        return 1.0 if self.kind == "candidate" else 0.5


#: Neighbours of each vertex on one side.
Neighbours = dict[Vertex, list[Vertex]]


@dataclass
class Layout:
    """Columns of vertices from top to bottom, and chains of vertices through which edges run."""

    columns: list[list[Vertex]] = field(default_factory=list)
    chains: list[list[Vertex]] = field(default_factory=list)
    num_inputs: int = 0


def cell_layout(candidates: Sequence[Candidate], concatenates: bool = True) -> Layout:
    """Place one cell.

    Nodes below the lowest target are inputs. The output concatenates all others, or is the last one.
    """
    layout = _build(candidates, concatenates)
    _order(layout)
    _straighten(layout)
    return layout


def _build(candidates: Sequence[Candidate], concatenates: bool) -> Layout:
    num_inputs = min(c.target for c in candidates)
    num_nodes = max(c.target for c in candidates) + 1
    depth = dict.fromkeys(range(num_inputs), 0)
    for node in range(num_inputs, num_nodes):
        depth[node] = 1 + max((depth[c.source] for c in candidates if c.target == node), default=0)
    last = 2 * max(depth.values()) + 1
    layout = Layout([[] for _ in range(last + 1)], num_inputs=num_inputs)

    def put(vertex: Vertex) -> Vertex:
        layout.columns[vertex.column].append(vertex)
        return vertex

    nodes = {node: put(Vertex("node", 2 * depth[node], node=node)) for node in range(num_nodes)}
    output = put(Vertex("output", last))
    for candidate in sorted(candidates):
        source, target = nodes[candidate.source], nodes[candidate.target]
        lanes = [put(Vertex("lane", column)) for column in range(source.column + 1, target.column - 1)]
        box = put(Vertex("candidate", target.column - 1, candidate=candidate))
        layout.chains.append([source, *lanes, box, target])
    for node in range(num_inputs if concatenates else num_nodes - 1, num_nodes):
        lanes = [put(Vertex("lane", column)) for column in range(nodes[node].column + 1, last)]
        layout.chains.append([nodes[node], *lanes, output])
    for vertex in (*nodes.values(), output):
        vertex.lines = max(sum(chain[end] is vertex for chain in layout.chains) for end in (0, -1))
    return layout


def _links(layout: Layout) -> list[tuple[Vertex, Vertex]]:
    return [pair for chain in layout.chains for pair in pairwise(chain)]


def _order(layout: Layout) -> None:
    """Reorder the columns to cross few lines; the inputs stay in order.

    Barycentre sweeps and swaps of neighbours find local optima only, so they start from several random orders.
    """
    before: Neighbours = defaultdict(list)
    behind: Neighbours = defaultdict(list)
    for a, b in _links(layout):
        behind[a].append(b)
        before[b].append(a)
    shuffle = Random(0).shuffle  # a fixed seed: the same genotype gives the same picture
    columns, best, fewest = layout.columns, layout.columns, -1
    for start in range(_STARTS):
        columns = [list(column) for column in layout.columns]
        if start:
            for column in columns[1:]:
                shuffle(column)
        rank = {v: float(i) for column in columns for i, v in enumerate(column)}
        for sweep in range(_SWEEPS):
            forward = sweep % 2 == 0
            for column in columns[1:] if forward else columns[-2:0:-1]:
                _sort_by_barycentre(column, before if forward else behind, rank)
            for column in columns[1:]:
                _swap_neighbours(column, (before, behind), rank)
            crossings = sum(_inversions(column, behind, rank) for column in columns)
            if fewest < 0 or crossings < fewest:
                best, fewest = [list(column) for column in columns], crossings
        if fewest == 0:
            break
    layout.columns = best


def _sort_by_barycentre(column: list[Vertex], near: Neighbours, rank: dict[Vertex, float]) -> None:
    """Sort a column by the mean rank of neighbours on one side; vertices without any keep their rank."""
    mean = {v: fmean([rank[n] for n in near[v]]) if near[v] else rank[v] for v in column}
    column.sort(key=lambda v: mean[v])
    rank.update({v: float(i) for i, v in enumerate(column)})


def _swap_neighbours(column: list[Vertex], sides: Sequence[Neighbours], rank: dict[Vertex, float]) -> None:
    """Swap neighbours of a column whose own lines cross less that way."""
    for i in range(len(column) - 1):
        upper, lower = column[i : i + 2]
        now = sum(_inversions((upper, lower), near, rank) for near in sides)
        if now > sum(_inversions((lower, upper), near, rank) for near in sides):
            column[i : i + 2] = lower, upper
            rank[upper], rank[lower] = rank[lower], rank[upper]


def _inversions(column: Sequence[Vertex], near: Neighbours, rank: dict[Vertex, float]) -> int:
    """Count crossings of the lines between a column, in the given order, and one side."""
    ends = [[rank[n] for n in near[v]] for v in column]
    return sum(p > q for upper, lower in combinations(ends, 2) for p in upper for q in lower)


def _straighten(layout: Layout) -> None:
    """Choose heights: few and short climbs, nothing on top of another thing.

    The linear program of Gansner et al. (1993): minimise the weighted sum of climbs. Absolute values, unlike squares,
    make most lines exactly level.
    """
    vertices = [v for column in layout.columns for v in column]
    number = {v: i for i, v in enumerate(vertices)}
    terms: list[tuple[float, dict[int, float]]] = []  # weight and coefficients of one absolute value
    touching: dict[int, list[int]] = defaultdict(list)
    for a, b in _links(layout):
        i, j = number[a], number[b]
        # A climb between two lanes is the ugliest, one at a node the least ugly.
        terms.append(((1.0, 2.0, 8.0)[(a.kind == "lane") + (b.kind == "lane")], {i: 1.0, j: -1.0}))
        touching[i].append(j)
        touching[j].append(i)
    for i, near in touching.items():  # among equals: each in the middle of its neighbours
        terms.append((0.4, {i: 1.0} | {j: -near.count(j) / len(near) for j in near}))
    apart = [
        (number[upper], number[lower], (upper.size + lower.size) / 2)
        for column in layout.columns
        for upper, lower in pairwise(column)
    ]
    n, t = len(vertices), len(terms)
    left = np.zeros((2 * t + len(apart), n + t))
    right = np.zeros(len(left))
    for row, (_, coefficients) in enumerate(terms):
        for i, value in coefficients.items():
            left[2 * row : 2 * row + 2, i] = value, -value
        left[2 * row : 2 * row + 2, n + row] = -1.0
    for row, (i, j, distance) in enumerate(apart, start=2 * t):
        left[row, [i, j]], right[row] = (-1.0, 1.0), -distance
    costs = np.concatenate([np.zeros(n), [weight for weight, _ in terms]])
    heights = linprog(costs, left, right, bounds=[(None, None)] * n + [(0, None)] * t).x
    for vertex, height in zip(vertices, heights[:n], strict=True):
        vertex.y = float(height)
