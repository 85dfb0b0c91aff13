"""NAS-Bench-201: accuracies on three data sets, and latencies on 27 devices."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsenas.errors import TableError
from sparsenas.spaces import Genotype, NasBench201Space
from sparsenas.tables.base import BenchmarkTable, Cost, Training
from sparsenas.tables.files import Floats, check_order, read_columns, table_path
from sparsenas.tables.releases import LATENCIES, NASBENCH201

#: Column of every accuracy; where it is missing, the one that ends in :data:`ONE_SEED` is read. Proxies are left out.
NASBENCH201_COLUMNS = {
    Training("cifar10", "test", 200): "c10_test200",
    Training("cifar10", "test", 12): "c10_test12",
    Training("cifar10-valid", "valid", 200): "c10_val200",
    Training("cifar10-valid", "test", 200): "c10valid_test200",
    Training("cifar10-valid", "valid", 12): "c10_val12",
    Training("cifar100", "valid", 200): "c100_val200",
    Training("cifar100", "test", 200): "c100_test200",
    Training("cifar100", "valid", 12): "c100_val12",
    Training("cifar100", "test", 12): "c100_test12",
    Training("ImageNet16-120", "valid", 200): "in16_val200",
    Training("ImageNet16-120", "test", 200): "in16_test200",
    Training("ImageNet16-120", "valid", 12): "in16_val12",
    Training("ImageNet16-120", "test", 12): "in16_test12",
}

#: Column of every score, all of the CIFAR-10 network. ``naswot_c10`` is the first version of NASWOT, which is that
#: covariance.
NASBENCH201_SCORES = {
    "parameters": "params_m",
    "flops": "flops_c10_m",
    "jacobian_covariance": "naswot_c10",
    "zen": "zen_c10",
}

#: Ending of columns that hold one run and no mean.
ONE_SEED = "_1seed"

#: Number of networks.
NASBENCH201_SIZE = 15_625


def nasbench201_classes(genotypes: Iterable[Genotype]) -> NDArray[np.int64]:
    """Number the isomorphism classes of cells, shape ``(R,)``; all cells have 6,466."""
    space = NasBench201Space()
    return np.unique([space.isomorphism(genotype) for genotype in genotypes], return_inverse=True)[1]


class NasBench201Table(BenchmarkTable):
    """All 15,625 cells of NAS-Bench-201, with latencies of HELP and HW-NAS-Bench.

    Data sets have the names of the benchmark. ``cifar10-valid`` was trained on half of CIFAR-10's training images; its
    ``valid`` accuracy is on the other half. ``cifar10`` was trained on all of them, and has no validation accuracy.
    After 200 epochs, accuracies are means over one to three seeds; those of a column that ends in ``_1seed``, and
    everything after 12 epochs, are one run. :attr:`trainings` are those that the file has. Costs are those of the
    CIFAR-10 network, FLOPs rounded to hundreds.

    :meth:`scores` are parameters and FLOPs in millions, and published zero-cost scores, where the file has them:
    ``jacobian_covariance`` and ``zen``.

    Latencies are measured times of a whole network; devices ending in ``_1``, ``_32``, ``_256`` name the batch size. In
    341 cells the input does not reach the output, and most of them take less than a millisecond on raspi4 and pixel3.
    Leave those cells out of relative errors.

    Args:
        path: ``nasbench201.csv.gz``; by default in the folder ``SPARSENAS_DATA``.
        latency_path: ``nasbench201_latency_ms.csv.gz``; by default beside ``path``. Read when first asked for.

    Raises:
        TableError: If the file is missing, damaged, or of another benchmark.

    Source: Dong and Yang, NAS-Bench-201 (ICLR 2020); Lee et al., HELP (NeurIPS 2021).
    """

    space: NasBench201Space

    def __init__(self, path: str | Path | None = None, latency_path: str | Path | None = None) -> None:
        self.path = table_path(path, NASBENCH201)
        self._latency_path = latency_path or self.path.with_name(LATENCIES.table)
        (index, texts), self._columns = read_columns(
            self.path,
            NASBENCH201_SIZE,
            ("index", "arch"),
            ("params_m", "flops_c10_m"),
            [column + ending for column in NASBENCH201_COLUMNS.values() for ending in ("", ONE_SEED)],
            gaps=[column for column in NASBENCH201_SCORES.values() if not column.endswith("_m")],
        )
        check_order(self.path, index)
        self._held = {
            training: name
            for training, column in NASBENCH201_COLUMNS.items()
            for name in (column + ONE_SEED, column)  # the later one wins
            if name in self._columns
        }
        if not self._held:
            raise TableError(f"{self.path}: no column of accuracies, such as c10_test200: is it another table?")
        super().__init__(str(self.path), NasBench201Space(), texts, tuple(self._held))

    @cached_property
    def classes(self) -> NDArray[np.int64]:
        """See :attr:`BenchmarkTable.classes`."""
        return nasbench201_classes(self)

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the 27 devices; a ``TableError`` if the file of latencies is missing or damaged."""
        return tuple(self._latencies)

    @cached_property
    def _latencies(self) -> dict[str, Floats]:
        """Milliseconds of all cells, by device."""
        path = table_path(self._latency_path, LATENCIES)
        (index,), columns = read_columns(path, NASBENCH201_SIZE, ("index",))
        check_order(path, index)
        return columns

    @property
    def _scores(self) -> Mapping[str, Floats]:
        return {name: self._columns[column] for name, column in NASBENCH201_SCORES.items() if column in self._columns}

    def _accuracy(self, row: int, training: Training) -> float:
        return float(self._columns[self._held[training]][row])

    def _cost(self, row: int) -> Cost:
        parameters, flops = self._columns["params_m"][row], self._columns["flops_c10_m"][row]
        return Cost(round(1e6 * parameters), round(1e6 * flops))

    def _latency(self, row: int, device: str) -> float:
        return float(self._latencies[device][row])
