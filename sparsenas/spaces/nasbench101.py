"""The NAS-Bench-101 space: cells of up to seven vertices and nine edges, with operations on the vertices."""

from collections.abc import Sequence
from hashlib import md5

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsenas.errors import GenotypeError
from sparsenas.spaces.genotype import Genotype
from sparsenas.spaces.topology import Candidate

#: Operations of inner vertices, in the order of the benchmark; and their letters in the tables.
NASBENCH101_PRIMITIVES = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
NASBENCH101_LETTERS = dict(zip(NASBENCH101_PRIMITIVES, "31m", strict=True))
#: Largest cell.
MOST_VERTICES, MOST_EDGES = 7, 9
#: Primitive of the edges into the last vertex, which computes nothing.
OUTPUT = "output"

Matrix = NDArray[np.bool_]


class NasBench101Space:
    """The 423,624 cells of NAS-Bench-101, each in any order of its vertices.

    Vertex 0 is the input, the last one the output, and each is on a path between them. A genotype has a candidate per
    edge. Its primitive is the operation of the vertex that the edge enters, or ``output``.

    The number of edges varies, so this is no :class:`SearchSpace` of blocks. It is there for its table and for
    predictors; there is no network of it.

    Source: Ying et al., NAS-Bench-101 (ICML 2019), and its code.
    """

    name = "nasbench101"
    cell_types = ("normal",)
    primitives = NASBENCH101_PRIMITIVES

    def from_matrix(self, matrix: ArrayLike, operations: Sequence[str]) -> Genotype:
        """Make the genotype of a graph; vertices that are on no path from input to output are left out.

        Args:
            matrix: Adjacency matrix, not zero where an edge leads from the vertex of the row to that of the column,
                shape ``(V, V)``; only above the diagonal.
            operations: Primitives of the inner vertices, ``V - 2`` of them.

        Raises:
            GenotypeError: If that is no cell of the space.
        """
        edges = np.asarray(matrix) != 0
        size = len(operations) + 2
        if edges.shape != (size, size) or np.tril(edges).any() or not set(operations) <= set(self.primitives):
            raise GenotypeError(
                f"a matrix of shape {edges.shape} and operations {', '.join(operations)}: give a square matrix with "
                f"edges above its diagonal, and for each vertex between the first and last one of "
                f"{', '.join(self.primitives)}"
            )
        found = self._pruned(edges, operations)
        if found is None:
            raise GenotypeError(
                f"no path leads from input to output, or the cell is larger than {MOST_VERTICES} vertices and "
                f"{MOST_EDGES} edges"
            )
        return found

    def to_matrix(self, genotype: Genotype) -> tuple[Matrix, tuple[str, ...]]:
        """Return matrix and operations of a genotype, the inverse of :meth:`from_matrix`."""
        if genotype.space != self.name or genotype.cell_types != self.cell_types:
            raise GenotypeError(
                f"genotype is of space {genotype.space!r} with cells {', '.join(genotype.cell_types)}; "
                f"expected {self.name!r} with {', '.join(self.cell_types)}"
            )
        candidates = genotype.cell("normal")
        last = max(candidate.target for candidate in candidates)
        if last >= MOST_VERTICES or len(candidates) > MOST_EDGES:
            raise GenotypeError(
                f"normal cell has {last + 1} vertices and {len(candidates)} edges; at most {MOST_VERTICES} and "
                f"{MOST_EDGES} are in the space"
            )
        matrix = np.zeros((last + 1, last + 1), dtype=np.bool_)
        operations: dict[int, str] = {}
        for candidate in candidates:
            known = self.primitives if candidate.target < last else (OUTPUT,)
            if candidate.primitive not in known:
                raise GenotypeError(f"normal cell: {candidate} is not in the space; expected {' or '.join(known)}")
            if operations.setdefault(candidate.target, candidate.primitive) != candidate.primitive:
                raise GenotypeError(f"normal cell: vertex {candidate.target} has two operations; give it one")
            matrix[candidate.edge] = True
        between = _between(matrix)
        if not between.all():
            raise GenotypeError(
                f"normal cell: vertex {int(between.argmin())} is on no path from input to output; leave it out"
            )
        return matrix, tuple(operations[vertex] for vertex in range(1, last))

    def validate(self, genotype: Genotype) -> None:
        """Raise a ``GenotypeError`` that names what is not of this space."""
        self.to_matrix(genotype)

    def from_string(self, text: str) -> Genotype:
        """Read a text such as ``110011/3m``: the upper triangle of the matrix, row by row, and letters of operations.

        Raises:
            GenotypeError: If the text is not exactly such a cell.
        """
        upper, slash, letters = text.partition("/")
        names = {letter: name for name, letter in NASBENCH101_LETTERS.items()}
        size = len(letters) + 2
        fits = len(upper) == size * (size - 1) // 2 and set(letters) <= set(names)
        if slash and fits and set(upper) <= set("01"):
            edges = np.zeros((size, size), dtype=np.bool_)
            edges[np.triu_indices(size, 1)] = [bit == "1" for bit in upper]
            found = self._pruned(edges, [names[letter] for letter in letters]) if _between(edges).all() else None
            if found is not None:
                return found
        shown = text if len(text) <= 60 else f"{text[:60]}..."
        raise GenotypeError(
            f"{shown!r} is no NAS-Bench-101 cell; expected the upper triangle of its matrix in 0 and 1, /, and a "
            f"letter 3, 1 or m per inner vertex, at most {MOST_VERTICES} vertices and {MOST_EDGES} edges, all on a "
            "path from input to output"
        )

    def to_string(self, genotype: Genotype) -> str:
        """Write the text of a genotype, the inverse of :meth:`from_string`."""
        matrix, operations = self.to_matrix(genotype)
        upper = "".join("01"[int(edge)] for edge in matrix[np.triu_indices(len(matrix), 1)])
        return f"{upper}/{''.join(NASBENCH101_LETTERS[name] for name in operations)}"

    def sample(self, rng: np.random.Generator) -> Genotype:
        """Draw a cell as the benchmark's code does: uniform matrices and operations, until one is of the space.

        So cells with many matrices are drawn more often than others.
        """
        while True:
            edges = np.triu(rng.integers(2, size=(MOST_VERTICES, MOST_VERTICES)), 1) > 0
            found = self._pruned(edges, self._draw(rng))
            if found is not None:
                return found

    def mutate(self, genotype: Genotype, rng: np.random.Generator) -> Genotype:
        """Draw another cell near a genotype, as the benchmark's code does at mutation rate 1.

        Each of the 21 possible edges is toggled with probability 1/7, each of the 5 operations replaced with
        probability 1/5, until a cell of the space comes out that differs. A smaller cell gets unconnected vertices
        first, so that it can grow.
        """
        matrix, operations = self.to_matrix(genotype)
        inner = np.sort(rng.choice(MOST_VERTICES - 2, size=len(operations), replace=False))
        places = [0, *(inner + 1).tolist(), MOST_VERTICES - 1]
        edges = np.zeros((MOST_VERTICES, MOST_VERTICES), dtype=np.bool_)
        edges[np.ix_(places, places)] = matrix
        names = self._draw(rng)
        for place, name in zip(inner.tolist(), operations, strict=True):
            names[place] = name
        while True:
            toggled = np.triu(rng.random(edges.shape) < 1 / MOST_VERTICES, 1)
            changed = [
                str(rng.choice([other for other in self.primitives if other != name]))
                if rng.random() < 1 / len(names)
                else name
                for name in names
            ]
            found = self._pruned(edges ^ toggled, changed)
            if found is not None and found != genotype:
                return found

    def isomorphism(self, genotype: Genotype) -> str:
        """Return the benchmark's hash of a cell, which does not depend on the order of its vertices.

        A vertex begins with its numbers of edges and its operation. Then it takes in those of its neighbours, as often
        as there are vertices.
        """
        matrix, operations = self.to_matrix(genotype)
        labels = [-1, *map(self.primitives.index, operations), -2]
        leaving, entering = matrix.sum(1).tolist(), matrix.sum(0).tolist()
        hashes = [_md5(str(counts)) for counts in zip(leaving, entering, labels, strict=True)]
        before, behind = ([np.flatnonzero(row).tolist() for row in rows] for rows in (matrix.T, matrix))
        for _ in labels:
            sides = [["".join(sorted(hashes[v] for v in near)) for near in side] for side in (before, behind)]
            hashes = [_md5("|".join(parts)) for parts in zip(*sides, hashes, strict=True)]
        return _md5(str(sorted(hashes)))

    def _draw(self, rng: np.random.Generator) -> list[str]:
        """Draw the operations of a largest cell."""
        return [self.primitives[index] for index in rng.integers(len(self.primitives), size=MOST_VERTICES - 2)]

    def _pruned(self, edges: Matrix, operations: Sequence[str]) -> Genotype | None:
        """The genotype of what is between input and output; ``None`` if nothing is, or too much."""
        between = _between(edges)
        kept = edges[np.ix_(between, between)]
        if not between[0] or len(kept) > MOST_VERTICES or kept.sum() > MOST_EDGES:
            return None
        names = [*(name for name, inside in zip(operations, between[1:-1], strict=True) if inside), OUTPUT]
        candidates = [Candidate(target, source, names[target - 1]) for source, target in np.argwhere(kept).tolist()]
        return Genotype.build(self.name, {"normal": candidates})


def _between(edges: Matrix) -> Matrix:
    """Mark the vertices on a path from the first to the last one, shape ``(V,)``."""
    rows, last = edges.tolist(), len(edges) - 1  # of graphs as small as these, lists are faster
    reached, reaching = {0}, {last}
    for target in range(1, last + 1):
        if any(rows[source][target] for source in reached):
            reached.add(target)
    for source in range(last - 1, -1, -1):
        if any(rows[source][target] for target in reaching):
            reaching.add(source)
    return np.array([vertex in reached and vertex in reaching for vertex in range(last + 1)])


def _md5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()
