"""Encodings of genotypes, from which predictors learn: one-hot, paths, graph, sequence."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sparsenas.errors import ConfigError
from sparsenas.spaces.base import SearchSpace
from sparsenas.spaces.genotype import Genotype
from sparsenas.spaces.nasbench101 import MOST_VERTICES, Matrix, NasBench101Space
from sparsenas.spaces.topology import Candidate

#: Encodings that are vectors of zeros and ones.
VectorEncoding = Literal["one_hot", "paths"]
#: Operations of the vertices at which a graph begins and ends.
INPUT, OUTPUT = "input", "output"
#: Most paths of a space: rows of more numbers fit no memory.
MOST_PATHS = 20_000
#: Tokens of a sequence: nothing (padding, and the start), no edge, an edge; operations follow.
PADDING, NO_EDGE, EDGE, FIRST_OPERATION = 0, 1, 2, 3


@dataclass(frozen=True, eq=False)
class Graph:
    """An architecture as a graph with operations on its vertices, in a topological order.

    Attributes:
        operations: Number of each vertex's operation in :attr:`Encoding.operations`, shape ``(V,)``.
        adjacency: True where an edge leads from the vertex of the row to that of the column, shape ``(V, V)``; only
            above the diagonal.
        parts: Number of the cell that each vertex is of, shape ``(V,)``; cells that repeat beside each other have no
            edge between them.
    """

    operations: NDArray[np.int64]
    adjacency: NDArray[np.bool_]
    parts: NDArray[np.int64]


class Encoding(ABC):
    """Encodings of the genotypes of a space. Methods raise a ``GenotypeError`` for one that is not of it.

    Attributes:
        operations: Names of the operations of vertices: :data:`INPUT`, the primitives, :data:`OUTPUT`.
        vertices: Most vertices of a graph.
        parts: Number of cells with a graph each.
    """

    operations: tuple[str, ...]
    vertices: int
    parts: int

    @abstractmethod
    def one_hot(self, genotype: Genotype) -> NDArray[np.bool_]:
        """Mark the decisions of a genotype; any two genotypes differ."""

    @abstractmethod
    def paths(self, genotype: Genotype) -> NDArray[np.bool_]:
        """Mark the sequences of operations on the paths from an input to the output.

        Genotypes that compute the same by the same paths are equal. There is a bit for each possible sequence, the
        shorter ones first.

        Raises:
            ConfigError: If the space has too many; the message names another encoding.

        Source: White et al., BANANAS (AAAI 2021).
        """

    @abstractmethod
    def graph(self, genotype: Genotype) -> Graph:
        """Make the graph of a genotype."""

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> Genotype:
        """Draw a genotype of the space, for predictors that learn from networks without an accuracy."""

    def vectors(self, genotypes: Sequence[Genotype], kind: VectorEncoding) -> NDArray[np.float64]:
        """Encode genotypes as rows, shape ``(N, D)``."""
        return np.array([getattr(self, kind)(genotype) for genotype in genotypes], dtype=np.float64)

    @property
    def tokens(self) -> int:
        """Size of the vocabulary of :meth:`sequence`."""
        return FIRST_OPERATION + len(self.operations)

    @property
    def length(self) -> int:
        """Length of a sequence: that of a graph with ``V`` vertices in each of its parts is ``(V + 2)(V - 1) / 2``."""
        each = self.vertices // self.parts
        return self.parts * (each + 2) * (each - 1) // 2

    def sequence(self, genotype: Genotype) -> NDArray[np.int64]:
        """Write the graph as tokens, shape ``(length,)``.

        For each vertex but the first of its cell, these are the edges from those before it, then its operation. A
        shorter graph ends with :data:`PADDING`.

        Source: Luo et al., Neural Architecture Optimization (NeurIPS 2018), in the form of White et al. (NeurIPS 2021).

        Differs: tokens of operations count the input too, which is a vertex of its own where a cell has two.
        """
        graph = self.graph(genotype)
        written: list[int] = []
        for part in range(self.parts):
            (members,) = np.nonzero(graph.parts == part)
            for place, vertex in enumerate(members[1:], start=1):
                edges = graph.adjacency[members[:place], vertex]
                written += [*np.where(edges, EDGE, NO_EDGE).tolist(), FIRST_OPERATION + int(graph.operations[vertex])]
        return np.array(written + [PADDING] * (self.length - len(written)), dtype=np.int64)


class CellEncoding(Encoding):
    """Encodings of the genotypes of a space of blocks; each kept candidate is a vertex.

    Cells of one input follow one another, as the stages of a chain. Cells of two are repeated in the network: their
    graphs stand beside each other, and all computed nodes enter their output, as in the DARTS space. The page on search
    spaces has the sizes.

    Args:
        space: The space.

    Source: encodings of White et al., How Powerful are Performance Predictors (NeurIPS 2021), and its code.

    Differs: the code writes a DARTS cell as two matrices and numbers of operations, which are not one-hot. It counts
        paths of no operation there, which no cell has, and pads sequences to 629 tokens.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        primitives = dict.fromkeys(c.primitive for block in space.blocks for c in block.candidates)
        self.primitives = tuple(primitives)
        self.operations = (INPUT, *self.primitives, OUTPUT)
        self._number = {name: number for number, name in enumerate(self.operations)}
        self.parts = len(space.cell_types) if space.num_inputs > 1 else 1
        kept = len(space.blocks) * space.inputs_per_node
        self.vertices = kept + len(space.cell_types) * (space.num_inputs + 1)
        if self.parts == 1:
            self.vertices = kept + 2  # cells follow one another
        self._graphs: dict[Genotype, Graph] = {}

    def one_hot(self, genotype: Genotype) -> NDArray[np.bool_]:
        """See :meth:`Encoding.one_hot`: the candidates that are kept, of all blocks."""
        return self.space.encode(genotype)

    def paths(self, genotype: Genotype) -> NDArray[np.bool_]:
        """See :meth:`Encoding.paths`: those from each input of each cell."""
        self.space.validate(genotype)
        marks = np.zeros(self._starts[-1], dtype=np.bool_)
        number = {name: digit for digit, name in enumerate(self.primitives)}
        shorter = np.cumsum([0, *(len(self.primitives) ** n for n in range(1, self._longest + 1))])
        for cell, candidates in enumerate(self._cells(genotype)):
            for source in range(self.space.num_inputs):
                for path in _paths(candidates, source, self.parts > 1):
                    index = 0
                    for name in path:
                        index = index * len(self.primitives) + number[name]
                    marks[self._starts[cell * self.space.num_inputs + source] + shorter[len(path) - 1] + index] = True
        return marks

    @cached_property
    def _longest(self) -> int:
        """Most operations on a path."""
        targets = {(block.cell, c.target) for block in self.space.blocks for c in block.candidates}
        return len(targets) // self.parts

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        """First bit of each input of each cell, and the number of all."""
        of_one = sum(len(self.primitives) ** length for length in range(1, self._longest + 1))
        total = of_one * self.parts * self.space.num_inputs
        if total > MOST_PATHS:
            raise ConfigError(
                f"encoding: the space {self.space.name!r} has {total:,} possible paths, and {MOST_PATHS:,} are the "
                "most; use one_hot"
            )
        starts: NDArray[np.int64] = of_one * np.arange(self.parts * self.space.num_inputs + 1)
        return starts

    def sample(self, rng: np.random.Generator) -> Genotype:
        """See :meth:`Encoding.sample`."""
        return self.space.sample(rng)

    def _cells(self, genotype: Genotype) -> list[tuple[Candidate, ...]]:
        """Candidates of each cell; those that follow one another are one, its nodes numbered through."""
        if self.parts > 1:
            return [genotype.cell(cell) for cell in self.space.cell_types]
        found: list[Candidate] = []
        last = 0
        for cell in self.space.cell_types:
            found += [Candidate(last + c.target, last + c.source, c.primitive) for c in genotype.cell(cell)]
            last = found[-1].target
        return [tuple(found)]

    def graph(self, genotype: Genotype) -> Graph:
        """See :meth:`Encoding.graph`: inputs, kept candidates by target and source, output."""
        if genotype not in self._graphs:  # rankings of a table ask for each many times
            self._graphs[genotype] = self._graph(genotype)
        return self._graphs[genotype]

    def _graph(self, genotype: Genotype) -> Graph:
        self.space.validate(genotype)
        operations: list[int] = []
        parts: list[int] = []
        adjacency = np.zeros((self.vertices, self.vertices), dtype=np.bool_)
        for part, candidates in enumerate(self._cells(genotype)):
            first, inputs = len(operations), self.space.num_inputs
            output = first + inputs + len(candidates)
            last = max(c.target for c in candidates)
            for place, candidate in enumerate(candidates, start=first + inputs):
                if candidate.source < inputs:
                    adjacency[first + candidate.source, place] = True
                for other, earlier in enumerate(candidates, start=first + inputs):
                    adjacency[other, place] |= earlier.target == candidate.source
                adjacency[place, output] = self.parts > 1 or candidate.target == last
            names = [*[INPUT] * inputs, *(c.primitive for c in candidates), OUTPUT]
            operations += [self._number[name] for name in names]
            parts += [part] * len(names)
        return Graph(np.array(operations, dtype=np.int64), adjacency, np.array(parts, dtype=np.int64))


def _paths(candidates: Sequence[Candidate], source: int, everywhere: bool) -> set[tuple[str, ...]]:
    """Sequences of primitives from a source to the output, which is the last node, or ``everywhere`` each node."""
    last, found = max(c.target for c in candidates), set()
    open_paths: list[tuple[int, tuple[str, ...]]] = [(source, ())]
    while open_paths:
        node, path = open_paths.pop()
        for c in candidates:
            if c.source == node:
                longer = (*path, c.primitive)
                open_paths.append((c.target, longer))
                if everywhere or c.target == last:
                    found.add(longer)
    return found


class NasBench101Encoding(Encoding):
    """Encodings of the cells of NAS-Bench-101, whose vertices are those of the graph: at most 7.

    The one-hot vector holds the 21 places above the diagonal of the largest matrix, then 3 places for each of 5 inner
    vertices. In a smaller cell, those that it lacks are unconnected, without an operation, before the output. There are
    364 paths, that without an operation among them, 5 operations, and 27 tokens in a sequence.

    Args:
        space: The space.

    Source: encodings of White et al., How Powerful are Performance Predictors (NeurIPS 2021), and its code.

    Differs: the code draws matrices of 7 vertices, and encodes them with what is on no path from input to output.
    """

    vertices = MOST_VERTICES
    parts = 1

    def __init__(self, space: NasBench101Space) -> None:
        self.space = space
        self.operations = (INPUT, *space.primitives, OUTPUT)

    def one_hot(self, genotype: Genotype) -> NDArray[np.bool_]:
        """See :meth:`Encoding.one_hot`."""
        matrix, operations = self.space.to_matrix(genotype)
        places = [*range(len(matrix) - 1), self.vertices - 1]
        edges = np.zeros((self.vertices, self.vertices), dtype=np.bool_)
        edges[np.ix_(places, places)] = matrix
        kept = np.zeros((self.vertices - 2, len(self.space.primitives)), dtype=np.bool_)
        kept[range(len(operations)), [self.space.primitives.index(name) for name in operations]] = True
        return np.concatenate([edges[np.triu_indices(self.vertices, 1)], kept.ravel()])

    def paths(self, genotype: Genotype) -> NDArray[np.bool_]:
        """See :meth:`Encoding.paths`."""
        matrix, operations = self.space.to_matrix(genotype)
        base = len(self.space.primitives)
        first = np.cumsum([0, *(base**length for length in range(self.vertices - 1))])  # bit of each length
        found: list[set[tuple[int, int]]] = [{(0, 0)}]  # length and number of the paths to each vertex
        for vertex in range(1, len(matrix)):
            before = set().union(*(found[source] for source in np.flatnonzero(matrix[:, vertex])))
            if vertex <= len(operations):
                digit = self.space.primitives.index(operations[vertex - 1])
                before = {(length + 1, base * number + digit) for length, number in before}
            found.append(before)
        marks: Matrix = np.zeros(first[-1], dtype=np.bool_)
        marks[[first[length] + number for length, number in found[-1]]] = True
        return marks

    def graph(self, genotype: Genotype) -> Graph:
        """See :meth:`Encoding.graph`."""
        matrix, operations = self.space.to_matrix(genotype)
        numbers = [self.operations.index(name) for name in (INPUT, *operations, OUTPUT)]
        return Graph(np.array(numbers, dtype=np.int64), matrix, np.zeros(len(matrix), dtype=np.int64))

    def sample(self, rng: np.random.Generator) -> Genotype:
        """See :meth:`Encoding.sample`."""
        return self.space.sample(rng)


def encoding_of(space: object) -> Encoding:
    """Make the encoding of a space.

    Raises:
        ConfigError: If it has none.
    """
    if isinstance(space, NasBench101Space):
        return NasBench101Encoding(space)
    if not isinstance(space, SearchSpace):
        raise ConfigError(f"encoding: {type(space).__name__} has no encoding; use a search space")
    return CellEncoding(space)
