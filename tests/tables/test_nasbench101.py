"""NAS-Bench-101: cells by their hash; whole files, samples, and damaged ones."""

import gzip

import numpy as np
import pytest
from scipy.stats import spearmanr

from sparsenas.errors import TableError
from sparsenas.spaces import NasBench101Space
from sparsenas.tables import NasBench101Table, Training

SPACE = NasBench101Space()
#: Texts of cells; the second one has two inner vertices that can change places.
TEXTS = ["1/", "110011/3m", "101/1"]


def rows(texts=TEXTS):
    header = ["hash", "n_vertices", "adj_upper", "ops", "params", "val4", "val108", "test108", "train_time_s"]
    body = []
    for number, text in enumerate(texts):
        upper, _, letters = text.partition("/")
        name = SPACE.isomorphism(SPACE.from_string(text))
        numbers = [f"{10 * number + place}" for place in range(1, 6)]
        body.append([name, str(len(letters) + 2), upper, letters, *numbers])
    return [header, *body]


@pytest.fixture
def write(tmp_path):
    def file(lines):
        path = tmp_path / "nasbench101.csv.gz"
        path.write_bytes(gzip.compress("".join(",".join(line) + "\n" for line in lines).encode()))
        return path

    return file


def test_a_sample_is_read_by_its_columns(write):
    table = NasBench101Table(write(rows()))
    assert table.trainings == tuple(
        Training("cifar10", *training) for training in (("valid", 4), ("valid", 108), ("test", 108))
    )
    assert [SPACE.to_string(genotype) for genotype in table] == TEXTS
    assert table.accuracies("cifar10", "valid", 4).tolist() == [2, 12, 22]
    assert table.accuracies("cifar10", "test", 108).tolist() == [4, 14, 24]
    assert (table.scores("parameters").tolist(), table.seconds.tolist()) == ([1, 11, 21], [5, 15, 25])
    assert [SPACE.isomorphism(genotype) for genotype in table] == list(table.hashes)


def test_a_cell_is_found_in_any_order_of_its_vertices(write):
    table = NasBench101Table(write(rows()))
    other = SPACE.from_string("110011/m3")
    assert other != SPACE.from_string("110011/3m")
    assert table.row(other) == 1
    assert table.accuracy(other, "cifar10", "valid", 108) == 13
    with pytest.raises(TableError, match=r"no 110011/33 \(hash \w{32}\); it holds 3 of 423,624 networks, e\.g\. 1/"):
        table.row(SPACE.from_string("110011/33"))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (rows()[:1], "0 rows; the benchmark has 423,624"),
        ([line[:5] + line[8:] for line in rows()], "no column of accuracies, such as val108: is it another table"),
        ([line[1:] for line in rows()], "no column hash; it has n_vertices, .*: is it another table"),
        ([*rows()[:3], [*rows()[3][:5], "x", *rows()[3][6:]]], "line 4: val4 is 'x'; it must be a number"),
        (rows(["110011/m3", *TEXTS]), r"hash \w{32} occurs twice; list each network once"),
        (rows([TEXTS[0], *TEXTS]), "1/ occurs twice; list each network once"),
    ],
)
def test_damaged_files(write, lines, message):
    with pytest.raises(TableError, match=message):
        NasBench101Table(write(lines))


def test_published_figures(real):
    table = real("nasbench101")
    final = table.accuracies("cifar10", "valid", 108)
    assert len(table) == 30_001
    assert final.max() == pytest.approx(94.91, abs=0.005)
    assert np.median(final) == pytest.approx(91.62, abs=0.005)
    for epochs, expected in ((4, 0.451), (12, 0.618), (36, 0.879)):
        found = spearmanr(table.accuracies("cifar10", "valid", epochs), final).statistic
        assert found == pytest.approx(expected, abs=0.001)
    assert spearmanr(table.scores("parameters"), final).statistic == pytest.approx(0.448, abs=0.001)
