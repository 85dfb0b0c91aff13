"""The release of NAS-Bench-101, encoded by hand and by TensorBoard: second opinions on its formats."""

import base64
import json
import struct

import numpy as np
import pytest
from tensorboard.summary.writer.record_writer import RecordWriter

from sparsenas.errors import TableError
from sparsenas.tables import NasBench101Table, nasbench101_release
from sparsenas.tables.convert import convert, recognise
from sparsenas.tables.releases import NASBENCH101


def varint(number):
    return bytes([number & 127 | 128]) + varint(number >> 7) if number > 127 else bytes([number])


def field(number, value):
    if isinstance(value, float):
        return bytes([number << 3 | 1]) + struct.pack("<d", value)
    if isinstance(value, int):
        return bytes([number << 3]) + varint(value)
    return bytes([number << 3 | 2]) + varint(len(value)) + value


def training(name, epochs, matrix, operations, params, valid, test, seconds):
    """One record: a start and a half, which are not read, then the end."""
    evaluations = [
        (0.0, 0.0, 0.1, 0.1, 0.1),
        (epochs / 2, 1.0, 0.5, 0.5, 0.5),
        (float(epochs), seconds, 1.0, valid, test),
    ]
    message = b"".join(
        field(1, b"".join(field(number, value) for number, value in enumerate(evaluation, start=1)) + field(6, b"ckpt"))
        for evaluation in evaluations
    )
    message += field(2, params) + field(3, 2000.0)
    return json.dumps([name, epochs, matrix, operations, base64.b64encode(message).decode()]).encode()


def tfrecord(path, rows):
    with path.open("wb") as file:
        writer = RecordWriter(file)
        for row in rows:
            writer.write(row)
    return path


CELL = ("0110" + "0001" + "0001" + "0000", "input,conv3x3-bn-relu,maxpool3x3,output", 3_000_000)


def test_nasbench101_becomes_means_over_runs(make, tmp_path, monkeypatch):
    monkeypatch.setattr(nasbench101_release, "NASBENCH101_SIZE", 2)
    rows = [
        training(name, epochs, *CELL, 0.5 + epochs / 1000 + run, 0.25 + run, 100.0 + epochs + 300 * run)
        for name in ("b" * 32, "a" * 32)
        for epochs in (108, 4)
        for run in (0.0, 0.01, 0.02)
    ]
    assert make(tfrecord(tmp_path / "nasbench_full.tfrecord", rows))[1] == [
        ["hash", "n_vertices", "adj_upper", "ops", "params", "val4", "val108", "test4", "test108", "train_time_s"],
        ["a" * 32, "4", "110011", "3m", "3000000", "51.4", "61.8", "26.0", "26.0", "211.0"],
        ["b" * 32, "4", "110011", "3m", "3000000", "51.4", "61.8", "26.0", "26.0", "211.0"],
    ]


def test_nasbench101_becomes_our_rows(ours, make, tmp_path, monkeypatch):
    header, *rows = ours("nasbench101_30k.csv.gz")
    rows = rows[:500]
    monkeypatch.setattr(nasbench101_release, "NASBENCH101_SIZE", len(rows))
    names = {"3": "conv3x3-bn-relu", "1": "conv1x1-bn-relu", "m": "maxpool3x3"}
    records = []
    for name, size, upper, letters, params, *accuracies, seconds in rows:
        matrix = np.zeros((int(size), int(size)), dtype=int)
        matrix[np.triu_indices(int(size), 1)] = list(map(int, upper))
        text = "".join(map(str, matrix.flatten()))
        operations = ",".join(["input", *(names[letter] for letter in letters), "output"])
        for epochs, value in zip((4, 12, 36, 108), accuracies, strict=True):
            run = (float(value) / 100, 0.9, float(seconds))
            records.append(training(name, epochs, text, operations, int(params), *run))
    path, (found_header, *found) = make(tfrecord(tmp_path / "release", records))
    table = NasBench101Table(path)
    assert [table.space.isomorphism(genotype) for genotype in table] == [row[0] for row in rows]
    assert table.accuracies("cifar10", "valid", 36).tolist() == pytest.approx([float(row[7]) for row in rows])
    assert [name for name in found_header if not name.startswith("test")] == header
    kept = [position for position, name in enumerate(found_header) if name in header]
    found = [[row[position] for position in kept] for row in found]
    assert [row[:5] for row in found] == [row[:5] for row in rows]
    np.testing.assert_allclose(
        [list(map(float, row[5:])) for row in found], [list(map(float, row[5:])) for row in rows]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda whole: whole[:-3], r"damaged or cut off before byte"),
        (lambda whole: whole[: len(whole) // 2], r"1 networks of 423,624"),
        (lambda whole: whole + b"\1", r"damaged or cut off before byte"),
        (lambda whole: whole.replace(b"conv3x3", b"conv9x9"), r"record 1 is no training of NAS-Bench-101 \(KeyError"),
        (lambda whole: whole.replace(b'4, "0110', b'4, "0210'), r"record 1 is no training .*no cell: 0210"),
        (lambda whole: whole.replace(b'"]', b'A]'), r"record 1 is no training of NAS-Bench-101 \(JSONDecodeError"),
        (lambda whole: whole, r"2 networks of 423,624"),
    ],
)  # fmt: skip
def test_damaged_files_of_nasbench101(tmp_path, change, message):
    rows = [training(name * 32, 4, *CELL, 0.9, 0.9, 10.0) for name in "ab"]
    path = tfrecord(tmp_path / "release", rows)
    path.write_bytes(change(path.read_bytes()))
    assert recognise(path) is NASBENCH101
    with pytest.raises(TableError, match=message):
        convert(path, NASBENCH101)
