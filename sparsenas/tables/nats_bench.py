"""Files of NATS-Bench that a user has downloaded, through the benchmark's own package."""

import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsenas.errors import TableError
from sparsenas.spaces import NasBench201Space
from sparsenas.tables.base import BenchmarkTable, Cost, Training
from sparsenas.tables.files import table_path
from sparsenas.tables.nasbench201 import NASBENCH201_SIZE, nasbench201_classes
from sparsenas.tables.releases import NATS_BENCH

#: Splits of the data sets; ``cifar10`` was trained on all training images.
NATS_SPLITS = {
    "cifar10": ("test",),
    "cifar10-valid": ("valid", "test"),
    "cifar100": ("valid", "test"),
    "ImageNet16-120": ("valid", "test"),
}

#: The one device, a GTX 1080 Ti with a batch of 256, named as in :class:`NasBench201Table`.
NATS_DEVICE = "1080ti_256"


class NatsBenchTable(BenchmarkTable):
    """The topology space of NATS-Bench, the 15,625 cells of NAS-Bench-201, read from the published files.

    Accuracies are means over all seeds of the file. Costs and latency are those of the CIFAR-10 network, the latency on
    a GTX 1080 Ti. **The files are pickles, which can run code when they are read: open only files you trust.**

    Args:
        path: The unpacked folder ``NATS-tss-v1_0-3ffb9-simple``, read network by network, or the file
            ``NATS-tss-v1_0-3ffb9.pickle.pbz2``, read at once; by default the folder, in ``SPARSENAS_DATA``.

    Raises:
        TableError: If the package ``nats_bench`` is not installed, or the files are missing, damaged or of another
            space.

    Source: Dong et al., NATS-Bench (TPAMI 2021).
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = table_path(path, NATS_BENCH)
        try:
            from nats_bench import create
        except ImportError as error:
            raise TableError(
                "the files of NATS-Bench are read by the package nats_bench; pip install 'sparsenas[nats]'"
            ) from error
        try:
            self._api = create(str(self.path), "tss", fast_mode=self.path.is_dir(), verbose=False)
            texts = [self._api.arch(row) for row in range(len(self._api))]
        except Exception as error:  # a pickle can raise anything
            raise TableError(f"{self.path}: not readable as NATS-Bench's topology space ({error!r})") from error
        if len(texts) != NASBENCH201_SIZE:
            raise TableError(f"{self.path}: {len(texts)} networks; the topology space has {NASBENCH201_SIZE:,}")
        trainings = [
            Training(dataset, split, epochs)
            for dataset, splits in NATS_SPLITS.items()
            for split in splits
            for epochs in (12, 200)
        ]
        super().__init__(str(self.path), NasBench201Space(), texts, trainings)

    @cached_property
    def classes(self) -> NDArray[np.int64]:
        """See :attr:`BenchmarkTable.classes`."""
        return nasbench201_classes(self)

    @property
    def devices(self) -> tuple[str, ...]:
        """The one device."""
        return (NATS_DEVICE,)

    def forget(self) -> None:
        """Free the memory of all networks that were read; a folder is read again when one is asked for."""
        if self.path.is_dir():
            self._api.arch2infos_dict.clear()

    def _accuracy(self, row: int, training: Training) -> float:
        # the mean over seeds: by default the package draws one
        found = self._ask("get_more_info", row, training.dataset, hp=str(training.epochs), is_random=False)
        return self._number(found, f"{training.split}-accuracy", row)

    def _cost(self, row: int) -> Cost:
        found = self._ask("get_cost_info", row, "cifar10")
        return Cost(round(1e6 * self._number(found, "params", row)), round(1e6 * self._number(found, "flops", row)))

    def _latency(self, row: int, device: str) -> float:
        return 1000 * self._number(self._ask("get_cost_info", row, "cifar10"), "latency", row)

    def _ask(self, question: str, row: int, dataset: str, **options: Any) -> Mapping[str, Any]:
        try:
            found: Mapping[str, Any] = getattr(self._api, question)(row, dataset, **options)
        except Exception as error:  # the package raises ValueError, KeyError or AssertionError, and a pickle anything
            raise TableError(f"{self.path}: network {row} cannot be read for {dataset} ({error!r})") from error
        return found

    def _number(self, found: Mapping[str, Any], name: str, row: int) -> float:
        value = found.get(name)
        if value is None or not math.isfinite(value):
            raise TableError(f"{self.path}: network {row} has no {name}; it has {', '.join(found)}")
        return float(value)
