"""NAS-Bench-Macro: accuracies and costs of chains of eight layers."""

from collections.abc import Mapping
from pathlib import Path

from sparsenas.spaces import NasBenchMacroSpace
from sparsenas.tables.base import BenchmarkTable, Cost, Training
from sparsenas.tables.files import Floats, read_columns, table_path
from sparsenas.tables.releases import NASBENCH_MACRO

#: Number of networks, 3^8.
NASBENCH_MACRO_SIZE = 6_561


class NasBenchMacroTable(BenchmarkTable):
    """All 6,561 networks of NAS-Bench-Macro, on CIFAR-10.

    The accuracy is the mean over three seeds of the best test accuracy during 50 epochs. The benchmark's training code
    keeps the maximum, so it is optimistic, and there is no validation accuracy to search with. Networks that differ
    only in the place of an ``identity`` within a stage are the same network, trained once.

    Args:
        path: ``nasbench_macro.csv.gz``; by default in the folder ``SPARSENAS_DATA``.

    Raises:
        TableError: If the file is missing, damaged, or of another benchmark.

    Source: Su et al., Prioritized Architecture Sampling with Monto-Carlo Tree Search (CVPR 2021), and its code.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = table_path(path, NASBENCH_MACRO)
        (texts,), columns = read_columns(self.path, NASBENCH_MACRO_SIZE, ("arch",), ("mean_acc", "params", "flops"))
        self._columns = columns
        super().__init__(str(self.path), NasBenchMacroSpace(), texts, [Training("cifar10", "test", 50)])

    @property
    def _scores(self) -> Mapping[str, Floats]:
        return {"parameters": self._columns["params"], "flops": self._columns["flops"]}

    def _accuracy(self, row: int, training: Training) -> float:
        return float(self._columns["mean_acc"][row])

    def _cost(self, row: int) -> Cost:
        return Cost(int(self._columns["params"][row]), int(self._columns["flops"][row]))
