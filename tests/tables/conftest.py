"""Real tables, once per run; tests that need them are skipped where there are none."""

import csv
import gzip
import os
import sys
from itertools import product
from pathlib import Path
from types import ModuleType

import pytest

from sparsenas.cli import main
from sparsenas.spaces import NASBENCH201_PRIMITIVES
from sparsenas.tables import (
    NasBench101Table,
    NasBench201Table,
    NasBenchMacroTable,
    NatsBenchTable,
    WeightSharing64Table,
)

TABLES = {
    "nasbench101": lambda: NasBench101Table("$SPARSENAS_DATA/nasbench101_30k.csv.gz"),
    "nasbench201": NasBench201Table,
    "nasbench_macro": NasBenchMacroTable,
    "weight_sharing64": WeightSharing64Table,
}


@pytest.fixture(scope="session")
def real():
    """Reads a table by its name."""
    if "SPARSENAS_DATA" not in os.environ:
        pytest.skip("SPARSENAS_DATA is not set: no real tables")
    read = {}

    def table(name):
        if name not in read:
            read[name] = TABLES[name]()
        return read[name]

    return table


class FakeApi:
    """Answers as ``nats_bench.api_topology.NATStopology`` of version 1.8 does, from formulas."""

    def __init__(self, texts, missing):
        self.texts, self.missing = texts, missing
        self.arch2infos_dict = {}  # networks in memory

    def __len__(self):
        return len(self.texts)

    def arch(self, index):
        return self.texts[index]

    def get_more_info(self, index, dataset, iepoch=None, hp="12", is_random=True):
        assert not is_random, "one seed was drawn"
        self.arch2infos_dict[index] = {}
        if index in self.missing:
            raise AssertionError("invalid data path")
        accuracy = 40 + index / 1000 + float(hp) / 100
        info = {"train-accuracy": 99.0, "test-accuracy": accuracy}
        if dataset != "cifar10":
            info["valid-accuracy"] = accuracy - 1
        return info

    def get_cost_info(self, index, dataset, hp="12"):
        return {"flops": 220.1, "params": 0.073306, "latency": None if index in self.missing else 0.0139}


@pytest.fixture
def fake_nats(monkeypatch, tmp_path):
    """A stand-in for the package, and a folder for it to read; gives both."""
    texts = [
        "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|".format(*primitives)
        for primitives in product(NASBENCH201_PRIMITIVES, repeat=6)
    ]
    module = ModuleType("nats_bench")
    module.calls = []

    def create(path, space, fast_mode=False, verbose=True):
        module.calls.append((path, space, fast_mode, verbose))
        module.api = FakeApi(module.texts, module.missing)
        return module.api

    module.create, module.texts, module.missing = create, texts, set()
    monkeypatch.setitem(sys.modules, "nats_bench", module)
    folder = tmp_path / "NATS-tss-v1_0-3ffb9-simple"
    folder.mkdir()
    return module, folder


@pytest.fixture
def nats(fake_nats):
    """The table of the stand-in."""
    return NatsBenchTable(fake_nats[1])


def rows_of(path):
    """Rows of a table, the header first."""
    with gzip.open(path, "rt", newline="") as file:
        return list(csv.reader(file))


@pytest.fixture
def ours():
    """Rows of a table in the folder ``SPARSENAS_DATA``, the header first."""
    if "SPARSENAS_DATA" not in os.environ:
        pytest.skip("SPARSENAS_DATA is not set: no real tables")
    folder = Path(os.environ["SPARSENAS_DATA"])
    return lambda name: rows_of(folder / name)


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Convert a release by the command, where no folder is named; gives the path of the table and its rows."""
    monkeypatch.delenv("SPARSENAS_DATA", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(release):
        assert main(["tables", str(release)]) == 0
        (table,) = Path("tables").iterdir()
        return table, rows_of(table)

    return run
