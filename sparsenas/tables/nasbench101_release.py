"""The release of NAS-Bench-101: a file of TFRecords, each one training of one network."""

import base64
import json
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from sparsenas.errors import TableError
from sparsenas.spaces.nasbench101 import NASBENCH101_LETTERS
from sparsenas.tables.nasbench101 import NASBENCH101_SIZE

#: No record is near it, so that a damaged length is noticed.
LONGEST_RECORD = 1 << 20


def nasbench101_rows(path: Path) -> Iterator[Sequence[object]]:
    """Read the release; accuracies in percent and seconds are means over the runs of a network.

    Args:
        path: ``nasbench_only108.tfrecord``, or ``nasbench_full.tfrecord`` with four training budgets.

    Yields:
        The header, then the networks in the order of their hashes. ``adj_upper`` is the upper triangle of the
        adjacency matrix, row by row. ``ops`` has a letter per inner vertex, see :data:`NASBENCH101_LETTERS`.

    Raises:
        TableError: If the file is damaged, incomplete, or of another kind.

    Source: Ying et al., NAS-Bench-101 (ICML 2019), and its code.
    """
    metrics = _metrics_class()
    cells: dict[str, tuple[object, ...]] = {}
    runs: dict[str, dict[int, list[tuple[float, float, float]]]] = {}
    for number, record in enumerate(records(path), start=1):
        try:
            name, epochs, matrix, operations, encoded = json.loads(record)
            found = metrics.FromString(base64.b64decode(encoded))
            end = found.evaluation_data[2]  # after the start and the half
            run = (100 * end.validation_accuracy, 100 * end.test_accuracy, end.training_time)
            if name not in cells:
                cells[name] = (*_cell(matrix, operations), found.trainable_parameters)
            runs.setdefault(name, {}).setdefault(int(epochs), []).append(run)
        except Exception as error:  # of JSON, base64, the protocol buffer, or a field of another type
            raise TableError(f"{path}: record {number} is no training of NAS-Bench-101 ({error!r})") from error
    kinds = {tuple((epochs, len(of_budget)) for epochs, of_budget in sorted(run.items())) for run in runs.values()}
    if len(cells) != NASBENCH101_SIZE or len(kinds) != 1:
        raise TableError(
            f"{path}: {len(cells):,} networks of {NASBENCH101_SIZE:,}, or not equally many runs of each: is the file "
            "complete? download it again"
        )
    budgets = [epochs for epochs, _ in kinds.pop()]
    yield (
        *("hash", "n_vertices", "adj_upper", "ops", "params"),
        *(f"{split}{epochs}" for split in ("val", "test") for epochs in budgets),
        "train_time_s",
    )
    for name in sorted(cells):
        valid, test, seconds = np.mean([runs[name][epochs] for epochs in budgets], axis=1).T.tolist()
        yield name, *cells[name], *(round(value, 4) for value in (*valid, *test)), round(seconds[-1], 2)


def records(path: Path) -> Iterator[bytes]:
    """Read the records of a TFRecord file: length, its checksum, content, its checksum."""
    with path.open("rb") as file:
        while head := file.read(12):
            length = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else LONGEST_RECORD
            record = file.read(length + 4) if length < LONGEST_RECORD else b""
            if len(record) < length + 4:
                raise TableError(f"{path}: damaged or cut off before byte {file.tell():,}; download it again")
            yield record[:-4]


def _cell(matrix: str, operations: str) -> tuple[int, str, str]:
    """Number of vertices, upper triangle, and letters of the inner vertices."""
    first, *inner, last = operations.split(",")
    size = len(inner) + 2
    if (first, last) != ("input", "output") or len(matrix) != size**2 or set(matrix) - set("01"):
        raise ValueError(f"no cell: {matrix}, {operations}")
    upper = "".join(matrix[row * size + row + 1 : (row + 1) * size] for row in range(size))
    return size, upper, "".join(NASBENCH101_LETTERS[operation] for operation in inner)


def _metrics_class() -> Any:
    """Make the class of the protocol buffer ``nasbench/lib/model_metrics.proto``, with the fields that are read."""
    kind = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="model_metrics.proto", package="nasbench")
    evaluation = file.message_type.add(name="EvaluationData")
    for number, name in ((2, "training_time"), (4, "validation_accuracy"), (5, "test_accuracy")):
        evaluation.field.add(name=name, number=number, type=kind.TYPE_DOUBLE, label=kind.LABEL_OPTIONAL)
    metrics = file.message_type.add(name="ModelMetrics")
    metrics.field.add(
        name="evaluation_data",
        number=1,
        type=kind.TYPE_MESSAGE,
        label=kind.LABEL_REPEATED,
        type_name=".nasbench.EvaluationData",
    )
    metrics.field.add(name="trainable_parameters", number=2, type=kind.TYPE_INT32, label=kind.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("nasbench.ModelMetrics"))
