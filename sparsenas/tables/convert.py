"""From the files that the authors of a benchmark publish to the tables that are read here."""

import csv
import gzip
import io
import math
import tarfile
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from sparsenas.errors import TableError
from sparsenas.reading import ReadingError, parse_json, read_text
from sparsenas.tables.files import Floats
from sparsenas.tables.nasbench101_release import nasbench101_rows
from sparsenas.tables.nasbench201 import NASBENCH201_COLUMNS, NASBENCH201_SIZE
from sparsenas.tables.nats_bench import NatsBenchTable
from sparsenas.tables.releases import (
    LATENCIES,
    NASBENCH101,
    NASBENCH201,
    NASBENCH_MACRO,
    WEIGHT_SHARING64,
    Release,
)
from sparsenas.tables.weight_sharing64 import SNAPSHOT, WEIGHT_SHARING64_SIZE

Rows = Iterator[Sequence[object]]


def recognise(path: Path) -> Release:
    """Tell by its content which benchmark a downloaded file or folder is of.

    Raises:
        TableError: If it is missing, cannot be read, or is of none that can be converted.
    """
    try:
        if path.is_dir():
            found = _folder(path)
        else:
            with path.open("rb") as file:
                found = _file(path, file.read(64))
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror}); name a downloaded file or folder") from error
    if found is None:
        raise TableError(
            f"{path}: not of a benchmark that can be converted; `python -m sparsenas tables` lists what to download"
        )
    return found


def convert(path: Path, release: Release) -> bytes:
    """Make the table, as gzipped CSV, of a file or folder that :func:`recognise` has told.

    Raises:
        TableError: If the file or folder is damaged or incomplete.
    """
    text = io.StringIO()
    try:
        csv.writer(text, lineterminator="\n").writerows(CONVERTERS[release](path))
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror or error}); download it again") from error
    return gzip.compress(text.getvalue().encode(), mtime=0)


def _folder(path: Path) -> Release | None:
    if (path / "meta.pickle.pbz2").is_file():
        return NASBENCH201
    if (path / GT_MEANS).is_file():
        return WEIGHT_SHARING64
    return LATENCIES if any(path.glob("*.pt")) else None


def _file(path: Path, start: bytes) -> Release | None:
    if start.startswith(b"BZh") and not tarfile.is_tarfile(path):
        return NASBENCH201
    if start.lstrip().startswith(b"{"):
        return NASBENCH_MACRO
    if start[4:8] == bytes(4) and start[12:14] == b'["':  # a length below 2^32, and a row in JSON
        return NASBENCH101
    if tarfile.is_tarfile(path):
        raise TableError(f"{path}: unpack this archive, and name the folder")
    return None


def _nats_bench(path: Path) -> Rows:
    """The topology space, in the columns of :class:`NasBench201Table`; all accuracies are means over seeds."""
    table = NatsBenchTable(path)
    yield "index", "arch", "params_m", "flops_c10_m", *NASBENCH201_COLUMNS.values()
    for row, text in enumerate(table.texts):
        genotype = table.space.from_string(text)
        cost = table.cost(genotype)
        accuracies = [round(table.accuracy(genotype, *training), 4) for training in NASBENCH201_COLUMNS]
        yield row, text, cost.parameters / 1e6, cost.flops / 1e6, *accuracies
        table.forget()


def _nasbench_macro(path: Path) -> Rows:
    """The authors average 32-bit floats, whose noise the rounding removes."""
    try:
        networks = parse_json(read_text(path))
    except ReadingError as error:
        raise TableError(f"{path}: not readable as JSON ({error}); download it again") from error
    texts = ["".join(digits) for digits in product("012", repeat=8)]
    if networks.keys() != set(texts):
        raise TableError(
            f"{path}: {len(networks):,} keys, which are not the {len(texts):,} networks of NAS-Bench-Macro, "
            f"{texts[0]} to {texts[-1]}; is it complete, and of this benchmark?"
        )
    yield "arch", "test_acc_1", "test_acc_2", "test_acc_3", "mean_acc", "std", "params", "flops"
    for text in texts:
        try:
            first, second, third = (round(float(value), 2) for value in networks[text]["test_acc"])
            mean, deviation = (round(float(networks[text][name]), 4) for name in ("mean_acc", "std"))
            size = [int(networks[text][name]) for name in ("params", "flops")]
        except (TypeError, KeyError, ValueError, OverflowError) as error:
            raise TableError(
                f"{path}: {text} must have three numbers as test_acc, and mean_acc, std, params, flops ({error!r})"
            ) from error
        if not all(map(math.isfinite, (first, second, third, mean, deviation))):
            raise TableError(f"{path}: {text} has an accuracy that is no finite number; download it again")
        yield text, first, second, third, mean, deviation, *size


#: Files of the weight-sharing study: accuracies trained alone, their deviations, and shared ones by mini-batch.
GT_MEANS, GT_STDS, SHARED = (
    "figures/assets/gt_acc.txt",
    "assets/gt_std.txt",
    "figures/clustering/share_all_acc_last128.csv",
)


def _weight_sharing64(path: Path) -> Rows:
    means, deviations = (_numbers(path / name, WEIGHT_SHARING64_SIZE) for name in (GT_MEANS, GT_STDS))
    shared = _numbers(path / SHARED, WEIGHT_SHARING64_SIZE + 1, delimiter=",", skiprows=1, ndmin=2).T
    yield "arch", "label", "gt_mean", "gt_std", *(f"{SNAPSHOT}{step:.0f}" for step in shared[0])
    for row, digits in enumerate(product("1234", repeat=3)):
        mean, deviation = round(float(means[row]), 5), round(float(deviations[row]), 6)
        yield row, "".join(digits), mean, deviation, *shared[row + 1].tolist()


def _latencies(path: Path) -> Rows:
    """One file of 15,625 milliseconds for each device; five digits, more than a measured time has."""
    devices = {file.stem: _measured(file) for file in sorted(path.glob("*.pt"))}
    yield "index", *devices
    for row, times in enumerate(zip(*devices.values(), strict=True)):
        yield row, *(f"{time:.5g}" for time in times)


def _measured(file: Path) -> Floats:
    import torch  # listing the tables is to answer at once

    # a list, an array or a tensor, all without code; the module of numpy was renamed after the files were written
    makers = [(np.empty(0).__reduce__()[0], "_reconstruct"), (np.float64(0).__reduce__()[0], "scalar")]
    safe: list[Any] = [
        (maker, f"numpy.{core}.multiarray.{name}") for maker, name in makers for core in ("core", "_core")
    ]
    safe += [np.ndarray, np.dtype, *(type(np.dtype(letter)) for letter in "fdl")]
    try:
        with torch.serialization.safe_globals(safe):
            times = np.asarray(torch.load(file, weights_only=True), dtype=np.float64)
    except Exception as error:  # of a damaged or malicious pickle, anything
        raise TableError(
            f"{file}: not readable as numbers ({str(error).splitlines()[0]}); download it again"
        ) from error
    return _checked(file, times, NASBENCH201_SIZE)


def _numbers(file: Path, columns: int, **options: Any) -> Floats:
    try:
        numbers = np.loadtxt(file, **options)
    except ValueError as error:
        raise TableError(f"{file}: not readable as numbers ({error}); download it again") from error
    return _checked(file, numbers, columns)


def _checked(file: Path, numbers: Floats, last: int) -> Floats:
    if numbers.shape[-1:] != (last,) or not np.isfinite(numbers).all():
        raise TableError(f"{file}: must hold {last:,} finite numbers, has shape {numbers.shape}; download it again")
    return numbers


#: What makes the rows of a table, the header first.
CONVERTERS: dict[Release, Callable[[Path], Rows]] = {
    NASBENCH201: _nats_bench,
    LATENCIES: _latencies,
    NASBENCH_MACRO: _nasbench_macro,
    WEIGHT_SHARING64: _weight_sharing64,
    NASBENCH101: nasbench101_rows,
}
