"""The 64 cells of the weight-sharing study: stand-alone accuracies, and shared ones over time."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sparsenas.errors import TableError
from sparsenas.spaces import WeightSharing64Space
from sparsenas.tables.base import BenchmarkTable, Training
from sparsenas.tables.files import Floats, check_order, read_columns, table_path
from sparsenas.tables.releases import WEIGHT_SHARING64

#: Number of cells, 4^3.
WEIGHT_SHARING64_SIZE = 64

#: Prefix of columns of shared accuracies; the number of the mini-batch follows.
SNAPSHOT = "ss_"


class WeightSharing64Table(BenchmarkTable):
    """The 64 cells with their stand-alone accuracy, and their shared accuracy after each of the last mini-batches.

    Stand-alone accuracies are means over ten seeds. There are no costs and no latencies. The last shared accuracy is
    one of :meth:`scores`.

    Args:
        path: ``weight_sharing_64.csv.gz``; by default in the folder ``SPARSENAS_DATA``.

    Attributes:
        steps: Mini-batch after which each snapshot was taken, shape ``(N,)``, ascending.
        snapshots: Shared accuracy of every cell at each of them, in percent, shape ``(N, 64)``.
        deviations: Standard deviation of the stand-alone accuracy over seeds, in percent, shape ``(64,)``.

    Raises:
        TableError: If the file is missing, damaged, or of another benchmark.

    Source: Zhang et al., Deeper Insights into Weight Sharing in Neural Architecture Search (2020), and its code.
    """

    steps: np.ndarray
    snapshots: Floats
    deviations: Floats

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = table_path(path, WEIGHT_SHARING64)
        (index, texts), columns = read_columns(self.path, WEIGHT_SHARING64_SIZE, ("arch", "label"))
        steps = sorted(int(name.removeprefix(SNAPSHOT)) for name in columns if re.fullmatch(rf"{SNAPSHOT}\d+", name))
        if not {"gt_mean", "gt_std"} <= columns.keys() or not steps:
            raise TableError(f"{self.path}: no column gt_mean, gt_std or {SNAPSHOT}...: is it another table?")
        check_order(self.path, index)
        self._accuracies = 100 * columns["gt_mean"]
        self.deviations = 100 * columns["gt_std"]
        self.steps = np.array(steps)
        self.snapshots = 100 * np.stack([columns[f"{SNAPSHOT}{step}"] for step in steps])
        super().__init__(str(self.path), WeightSharing64Space(), texts, [Training("cifar10", "test", 200)])

    @property
    def _scores(self) -> Mapping[str, Floats]:
        return {"shared_accuracy": self.snapshots[-1]}

    def _accuracy(self, row: int, training: Training) -> float:
        return float(self._accuracies[row])
