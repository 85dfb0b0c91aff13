"""NAS-Bench-101: cells as matrices, texts and genotypes; hashes against the published ones; encodings."""

import csv
import gzip
import os
from itertools import pairwise, permutations
from pathlib import Path

import numpy as np
import pytest

from sparsenas.errors import GenotypeError
from sparsenas.spaces import Candidate, Genotype, NasBench101Space, encoding_of
from sparsenas.spaces.encodings import INPUT, OUTPUT, PADDING

SPACE = NasBench101Space()
ENCODING = encoding_of(SPACE)
DATA = os.environ.get("SPARSENAS_DATA")
needs_table = pytest.mark.skipif(DATA is None, reason="SPARSENAS_DATA is not set: no published cells")
CONV3, CONV1, POOL = SPACE.primitives
#: Input to 3x3 and 1x1, both to pool, pool to output, and a skip from input to output.
TEXT = "1101" + "010" + "10" + "1"


def build(*candidates):
    return Genotype.build("nasbench101", {"normal": [Candidate(*candidate) for candidate in candidates]})


@pytest.fixture(scope="module")
def cells():
    """Large ones, which draws of the benchmark seldom are: each vertex gets an edge from before and one to behind."""
    rng, found = np.random.default_rng(0), []
    while len(found) < 200:
        size = int(rng.integers(4, 8))
        matrix = np.zeros((size, size))
        for vertex in range(1, size):
            matrix[rng.integers(vertex), vertex] = matrix[vertex - 1, rng.integers(vertex, size)] = 1
        if matrix.sum() <= 9:
            found.append(SPACE.from_matrix(matrix, [SPACE.primitives[i] for i in rng.integers(3, size=size - 2)]))
    return found


def reordered(genotype):
    """The same cell with its inner vertices in each other order that edges allow."""
    matrix, operations = SPACE.to_matrix(genotype)
    last = len(matrix) - 1
    for order in permutations(range(1, last)):
        places = [0, *order, last]
        moved = matrix[np.ix_(places, places)]
        if not np.tril(moved).any():
            yield SPACE.from_matrix(moved, [operations[vertex - 1] for vertex in order])


def test_a_cell_by_hand():
    genotype = SPACE.from_string(TEXT + "/31m")
    assert genotype == build(
        (1, 0, CONV3), (2, 0, CONV1), (3, 1, POOL), (3, 2, POOL), (4, 0, OUTPUT), (4, 3, OUTPUT)
    )  # fmt: skip
    matrix, operations = SPACE.to_matrix(genotype)
    assert np.argwhere(matrix).tolist() == [[0, 1], [0, 2], [0, 4], [1, 3], [2, 3], [3, 4]]
    assert operations == (CONV3, CONV1, POOL)
    assert SPACE.to_string(SPACE.from_string("1/")) == "1/"  # the smallest


@pytest.mark.slow
@needs_table
def test_published_hashes_and_texts():
    with gzip.open(Path(DATA, "nasbench101_30k.csv.gz"), "rt") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30_001
    for row in rows:
        genotype = SPACE.from_string(f"{row['adj_upper']}/{row['ops']}")
        assert SPACE.isomorphism(genotype) == row["hash"]
        assert SPACE.to_string(genotype) == f"{row['adj_upper']}/{row['ops']}"


def test_texts_and_matrices_give_the_cell_back(cells):
    for genotype in cells:
        SPACE.validate(genotype)
        assert SPACE.from_string(SPACE.to_string(genotype)) == genotype
        assert SPACE.from_matrix(*SPACE.to_matrix(genotype)) == genotype


def test_draws_are_those_of_the_benchmark():
    """Its code drew 500 cells for published scores, of which 292 were distinct: small cells come from many matrices."""
    rng, found = np.random.default_rng(0), set()
    for _ in range(500):
        genotype = SPACE.sample(rng)
        SPACE.validate(genotype)
        found.add(SPACE.isomorphism(genotype))
    assert len(found) == pytest.approx(292, abs=30)


def test_the_largest_cells_keep_the_limits(cells):
    sizes = [(len(matrix), int(matrix.sum())) for matrix, _ in map(SPACE.to_matrix, cells)]
    assert max(vertices for vertices, _ in sizes) == 7
    assert max(edges for _, edges in sizes) == 9


def test_dead_ends_are_pruned():
    matrix = np.zeros((5, 5))
    matrix[[0, 0, 2, 1], [1, 2, 4, 3]] = 1  # vertex 3 leads nowhere, and so does 1
    assert SPACE.to_string(SPACE.from_matrix(matrix, [CONV3, POOL, CONV1])) == "101/m"


def overlap(genotype, other):
    """Share of candidates that the other one has too."""
    mine = set(genotype.cell("normal"))
    return len(mine & set(other.cell("normal"))) / len(mine)


def test_neighbours_differ_and_reach_larger_cells(cells):
    rng = np.random.default_rng(0)
    for genotype in cells[:50]:
        mutant = SPACE.mutate(genotype, rng)
        SPACE.validate(mutant)
        assert mutant != genotype
    grown = [len(SPACE.to_matrix(SPACE.mutate(SPACE.from_string("1/"), rng))[0]) for _ in range(100)]
    assert min(grown) > 2
    assert max(grown) >= 5
    kept = np.mean([overlap(genotype, SPACE.mutate(genotype, rng)) for genotype in cells])
    assert kept > 1.5 * np.mean([overlap(*pair) for pair in pairwise(cells)])


def test_the_hash_and_the_paths_do_not_depend_on_the_order_of_the_vertices(cells):
    several = 0
    for genotype in cells[:40]:
        same = set(reordered(genotype))
        several += len(same) > 1
        assert {SPACE.isomorphism(other) for other in same} == {SPACE.isomorphism(genotype)}
        assert {ENCODING.paths(other).tobytes() for other in same} == {ENCODING.paths(genotype).tobytes()}
    assert several > 5


@pytest.mark.parametrize("kind", ["one_hot", "sequence"])
def test_cells_that_differ_are_encoded_apart(cells, kind):
    different = set(cells)
    assert len({getattr(ENCODING, kind)(genotype).tobytes() for genotype in different}) == len(different)


def test_sizes_of_the_encodings(cells):
    for genotype in cells:
        graph, vector = ENCODING.graph(genotype), ENCODING.one_hot(genotype)
        matrix, operations = SPACE.to_matrix(genotype)
        assert vector.shape == (36,)
        assert vector[:21].sum() == matrix.sum()
        assert vector[21:].sum() == len(operations)
        assert ENCODING.paths(genotype).shape == (364,)
        assert np.array_equal(graph.adjacency, matrix)
        assert [ENCODING.operations[number] for number in graph.operations] == [INPUT, *operations, OUTPUT]
        sequence = ENCODING.sequence(genotype)
        assert sequence.shape == (27,)
        assert sequence.max() == ENCODING.tokens - 1
        written = (len(matrix) + 2) * (len(matrix) - 1) // 2
        assert (sequence[:written] > PADDING).all()
        assert (sequence[written:] == PADDING).all()


def test_paths_by_hand():
    """Bits count upwards: no operation, three of one, nine of two."""
    marked = np.flatnonzero(ENCODING.paths(SPACE.from_string(TEXT + "/31m"))).tolist()
    assert marked == [0, 1 + 3 + 3 * 0 + 2, 1 + 3 + 3 * 1 + 2]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "0/",
        "11/3",
        "101/3 ",
        "101/x",
        "121/3",
        "110/3",  # vertex 1 leads nowhere
        "010/3",  # and is not connected
        "011/3",
        "1" * 21 + "/33333",  # too many edges
        "1" * 28 + "/333333",
    ],
)
def test_texts_that_are_no_cell(text):
    with pytest.raises(GenotypeError, match="is no NAS-Bench-101 cell; expected the upper triangle of its matrix"):
        SPACE.from_string(text)


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ([(1, 0, "none"), (2, 1, OUTPUT)], "none on edge 0->1 is not in the space; expected conv3x3-bn-relu or"),
        ([(1, 0, CONV3), (2, 1, POOL)], "maxpool3x3 on edge 1->2 is not in the space; expected output"),
        ([(1, 0, CONV3), (2, 0, POOL), (2, 1, CONV3), (3, 2, OUTPUT)], "vertex 2 has two operations"),
        ([(1, 0, CONV3), (2, 0, OUTPUT)], "vertex 1 is on no path from input to output"),
        ([(2, 0, OUTPUT), (2, 1, OUTPUT)], "vertex 1 is on no path from input to output"),
        ([(v + 1, v, CONV3 if v < 7 else OUTPUT) for v in range(8)], "has 9 vertices and 8 edges; at most 7 and 9"),
    ],
)
def test_genotypes_that_are_no_cell(candidates, message):
    with pytest.raises(GenotypeError, match=message):
        SPACE.validate(build(*candidates))


@pytest.mark.parametrize(
    ("matrix", "operations", "message"),
    [
        ([[0, 1], [1, 0]], [], r"a matrix of shape \(2, 2\) and operations : give a square matrix with edges above"),
        ([[0, 1], [0, 0]], [CONV3], r"a matrix of shape \(2, 2\) and operations conv3x3-bn-relu: give"),
        ([[0, 1, 0], [0, 0, 1], [0, 0, 0]], ["none"], "for each vertex between the first and last one of conv3x3"),
        ([[0, 0], [0, 0]], [], "no path leads from input to output, or the cell is larger than 7 vertices and 9"),
        (np.triu(np.ones((6, 6)), 1), [POOL] * 4, "no path leads from input to output, or the cell is larger"),
    ],
)
def test_matrices_that_are_no_cell(matrix, operations, message):
    with pytest.raises(GenotypeError, match=message):
        SPACE.from_matrix(matrix, operations)
