"""NAS-Bench-101: accuracies of cells on CIFAR-10 at up to four training budgets."""

from collections.abc import Mapping
from pathlib import Path

from sparsenas.errors import TableError
from sparsenas.spaces import Genotype, NasBench101Space
from sparsenas.tables.base import BenchmarkTable, Training
from sparsenas.tables.files import Floats, read_columns, table_path
from sparsenas.tables.releases import NASBENCH101

#: Number of networks.
NASBENCH101_SIZE = 423_624

#: Column of every accuracy.
NASBENCH101_COLUMNS = {
    Training("cifar10", split, epochs): f"{column}{epochs}"
    for split, column in (("valid", "val"), ("test", "test"))
    for epochs in (4, 12, 36, 108)
}


class NasBench101Table(BenchmarkTable):
    """The 423,624 cells of NAS-Bench-101 on CIFAR-10, or a sample of them.

    A genotype is found in any order of its vertices. :attr:`trainings` are those that the file has. Budgets are
    separate trainings, not points of one curve. Accuracies of the release are means over three runs; those of a sample
    are what its file holds. The number of weights is the score ``parameters``. There are no FLOPs, so no costs, and no
    latencies.

    Args:
        path: ``nasbench101.csv.gz``, or a file with some of its rows and columns; by default that one in the folder
            ``SPARSENAS_DATA``.

    Attributes:
        hashes: The benchmark's hash of each cell, ``R`` of them.
        seconds: Seconds of the longest training, shape ``(R,)``.

    Raises:
        TableError: If the file is missing, damaged, or of another benchmark.

    Source: Ying et al., NAS-Bench-101 (ICML 2019).
    """

    space: NasBench101Space
    hashes: tuple[str, ...]
    seconds: Floats

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = table_path(path, NASBENCH101)
        (self.hashes, uppers, letters), self._columns = read_columns(
            self.path,
            NASBENCH101_SIZE,
            ("hash", "adj_upper", "ops"),
            ("params", "train_time_s"),
            NASBENCH101_COLUMNS.values(),
            sample=True,
        )
        self.seconds = self._columns["train_time_s"]
        trainings = [training for training, column in NASBENCH101_COLUMNS.items() if column in self._columns]
        if not trainings:
            raise TableError(f"{self.path}: no column of accuracies, such as val108: is it another table?")
        self._row_of_hash = {name: row for row, name in enumerate(self.hashes)}
        texts = [f"{upper}/{operations}" for upper, operations in zip(uppers, letters, strict=True)]
        super().__init__(str(self.path), NasBench101Space(), texts, trainings)
        if len(self._row_of_hash) < len(self):
            double = next(name for row, name in enumerate(self.hashes) if self._row_of_hash[name] != row)
            raise TableError(f"{self}: hash {double} occurs twice; list each network once")

    def row(self, genotype: Genotype) -> int:
        """See :meth:`BenchmarkTable.row`; any order of the vertices is the same network."""
        name = self.space.isomorphism(genotype)
        if name not in self._row_of_hash:
            raise TableError(
                f"{self}: no {self.space.to_string(genotype)} (hash {name}); it holds {len(self):,} of "
                f"{NASBENCH101_SIZE:,} networks, e.g. {self.texts[0]}"
            )
        return self._row_of_hash[name]

    @property
    def _scores(self) -> Mapping[str, Floats]:
        return {"parameters": self._columns["params"]}

    def _accuracy(self, row: int, training: Training) -> float:
        return float(self._columns[NASBENCH101_COLUMNS[training]][row])
