"""Reading tables: what a damaged, wrong or missing file says."""

import gzip
from itertools import product

import pytest

from sparsenas.errors import TableError
from sparsenas.tables import (
    NasBench101Table,
    NasBench201Table,
    NasBenchMacroTable,
    NatsBenchTable,
    WeightSharing64Table,
)
from sparsenas.tables.releases import (
    LATENCIES,
    NASBENCH101,
    NASBENCH201,
    NASBENCH_MACRO,
    NATS_BENCH,
    RELEASES,
    WEIGHT_SHARING64,
)

LABELS = ["".join(digits) for digits in product("1234", repeat=3)]


def rows():
    """A table of the 64 cells: the header, and a row per cell."""
    body = [[str(number), label, "0.8", "0.004", "0.5", "0.6"] for number, label in enumerate(LABELS)]
    return [["arch", "label", "gt_mean", "gt_std", "ss_9", "ss_10"], *body]


@pytest.fixture
def write(tmp_path):
    def file(lines, name="weight_sharing_64.csv.gz"):
        path = tmp_path / name
        path.write_bytes(gzip.compress("".join(",".join(line) + "\n" for line in lines).encode()))
        return path

    return file


def test_a_whole_file_is_read(write):
    lines = rows()
    lines[5][2] = "0.9"
    table = WeightSharing64Table(write(lines))
    best = table.best("cifar10", "test", 200)
    assert (table.space.to_string(best.genotype), best.accuracy) == (LABELS[4], 90)
    # in the order of time, which is not that of the names
    assert table.steps.tolist() == [9, 10]
    assert table.snapshots[:, 0].tolist() == [50, 60]


def test_files_are_found_by_the_environment_or_a_path(write, monkeypatch, tmp_path):
    path = write(rows())
    monkeypatch.setenv("SPARSENAS_DATA", str(tmp_path))
    for given in (None, path, str(path), "${SPARSENAS_DATA}/weight_sharing_64.csv.gz"):
        assert len(WeightSharing64Table(given)) == 64
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(WeightSharing64Table("~/weight_sharing_64.csv.gz")) == 64


@pytest.mark.parametrize(
    ("table", "release"),
    [
        (NasBench101Table, NASBENCH101),
        (NasBench201Table, NASBENCH201),
        (NasBenchMacroTable, NASBENCH_MACRO),
        (NatsBenchTable, NATS_BENCH),
        (WeightSharing64Table, WEIGHT_SHARING64),
    ],
)
def test_a_missing_file_says_where_it_is_published(monkeypatch, tmp_path, table, release):
    monkeypatch.setenv("SPARSENAS_DATA", str(tmp_path))
    for folder, start in (
        (tmp_path, rf"{tmp_path}/{release.table} is not there\. "),
        (None, f"{release.table}: no path"),
    ):
        if folder is None:
            monkeypatch.delenv("SPARSENAS_DATA")
        with pytest.raises(TableError, match=start) as caught:
            table()
        for part in (release.benchmark, release.published, release.download, release.step, "set SPARSENAS_DATA to"):
            assert part in str(caught.value)


def test_every_release_but_the_one_read_as_it_is_names_the_command():
    assert [release for release in RELEASES if "`python -m sparsenas tables " not in release.step] == [NATS_BENCH]


def changed(line, column, entry):
    lines = rows()
    lines[line][column] = entry
    return lines


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (changed(0, 1, "name"), "no column label; it has arch, name, .* is it another table"),
        (changed(0, 2, "mean"), "no column gt_mean, gt_std or ss_..."),
        (rows()[:-1], "63 rows; the benchmark has 64"),
        (changed(3, 1, "111"), "111 occurs twice"),
        (changed(7, 0, "9"), "line 8: number is '9'; rows must be numbered from 0 in order"),
        (changed(7, 2, ""), "line 8: gt_mean is ''; it must be a number"),
        (changed(7, 3, "nan"), "line 8: gt_std is 'nan'; it must be a number"),
        (changed(7, 4, "high"), "line 8: ss_9 is 'high'; it must be a number"),
        ([*rows(), ["64", "555"]], "line 66: 2 entries, but the header names 6"),
        ([], "the file is empty"),
    ],
)
def test_wrong_tables(write, lines, message):
    with pytest.raises(TableError, match=message):
        WeightSharing64Table(write(lines))


def test_damaged_files(write, tmp_path):
    path = write(rows())
    whole = path.read_bytes()
    middle = len(whole) // 2
    for damaged in (
        whole[:middle],
        whole[:-4] + b"abcd",
        b"arch,label\n",
        whole[:middle] + b"\0\0" + whole[middle + 2 :],
    ):
        path.write_bytes(damaged)
        with pytest.raises(TableError, match=r"weight_sharing_64.csv.gz: not a readable .csv.gz file \("):
            WeightSharing64Table(path)
    path.write_bytes(gzip.compress(b"\xff\xfe"))
    with pytest.raises(TableError, match=r"not a readable .csv.gz file"):
        WeightSharing64Table(path)
    with pytest.raises(TableError, match=r"not a readable .csv.gz file"):
        WeightSharing64Table(tmp_path)


def test_a_table_of_another_benchmark(write, real):
    path = write(rows(), "nasbench201.csv.gz")
    with pytest.raises(TableError, match="no column index, params_m"):
        NasBench201Table(path)
    with pytest.raises(TableError, match="no column label"):
        WeightSharing64Table(real("nasbench_macro").path)


def test_latencies_are_read_when_asked_for(real, tmp_path):
    table = NasBench201Table(real("nasbench201").path, latency_path=tmp_path / "none.csv.gz")
    assert len(table) == 15_625
    with pytest.raises(TableError, match=r"none.csv.gz is not there") as caught:
        table.latency(table.space.from_string(table.texts[0]), "raspi4")
    assert LATENCIES.advice in str(caught.value)


@pytest.mark.slow
def test_accuracies_that_a_file_lacks_are_not_offered(real, write):
    whole = real("nasbench201")
    lines = [["index", "arch", "params_m", "flops_c10_m", "c100_val200", "c100_val200_1seed"]]
    lines += [[str(row), text, "1", "2", "70.5", "60"] for row, text in enumerate(whole.texts)]
    table = NasBench201Table(write(lines, "few.csv.gz"))
    assert table.accuracy(table.genotypes[3], "cifar100", "valid", 200) == 70.5  # the mean, not the one run
    with pytest.raises(TableError, match=r"no accuracy cifar10/test/200 .* it has cifar100/valid/200$"):
        table.accuracy(table.genotypes[3], "cifar10", "test", 200)
    with pytest.raises(TableError, match="no column of accuracies, such as c10_test200"):
        NasBench201Table(write([line[:4] for line in lines], "none.csv.gz"))
