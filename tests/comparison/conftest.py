"""A comparison of seconds: the 64 cells of the weight-sharing study, digits, and a table made up on the spot."""

import textwrap
from itertools import product

import pytest
import yaml

#: Parameters of the published network; 26 of the 64 cells have at most so many.
CAP = 2000

#: Importable here and in the processes of the runs, as a user's own classes are.
PLANTED = '''
import os, sys, time, zlib
from pathlib import Path
from sparsenas.search import SinglePathSearch
from sparsenas.spaces import WeightSharing64Space
from sparsenas.tables import BenchmarkTable, Training

class PlantedTable(BenchmarkTable):
    """Accuracies made of the texts; refuses to be made, or asked, before all runs have chosen."""

    def __init__(self, texts: list[str]):
        if Path(sys.argv[0]).parts[-2:] == ("comparison", "__main__.py"):
            raise RuntimeError("a run has read the table")
        super().__init__("planted", WeightSharing64Space(), texts, (Training("digits", "test", 1),))

    def _accuracy(self, row, training):
        log = os.environ.get("PLANTED_RUNS")
        if log and len(Path(log).read_text().splitlines()) < int(os.environ["PLANTED_COUNT"]):
            raise RuntimeError("accuracies were read before all runs had chosen")
        return 60 + zlib.crc32(self.texts[row].encode()) % 3500 / 100

class Crashing(SinglePathSearch):
    def on_train_epoch_end(self):
        raise RuntimeError("planted crash")

class Waiting(SinglePathSearch):
    """Says that it runs, and never ends."""

    def training_step(self, batch, batch_idx):
        Path(os.environ["PLANTED_PIDS"], str(os.getpid())).touch()
        time.sleep(600)
'''


@pytest.fixture(scope="session")
def planted(tmp_path_factory):
    """Folder of the module ``planted``."""
    folder = tmp_path_factory.mktemp("planted")
    (folder / "planted.py").write_text(textwrap.dedent(PLANTED))
    return folder


@pytest.fixture
def settings(planted, monkeypatch):
    """A small comparison as nested plain values; its classes can be imported."""
    monkeypatch.syspath_prepend(planted)
    return small_settings()


@pytest.fixture
def write(tmp_path):
    """Writes a config; gives its path."""

    def run(settings, name="small"):
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(settings, sort_keys=False))
        return path

    return run


def small_settings():
    texts = ["".join(digits) for digits in product("1234", repeat=3)]
    network = {"channels": 4, "cells": 1}
    model = {
        "class_path": "SinglePathSearch",
        "init_args": {"selection": {"class_path": "BestOf", "init_args": {"count": 40}}, "measure_batches": 1},
    }
    return {
        "budget_seconds": 60,
        "caps": [None, CAP],
        "table": {"class_path": "planted.PlantedTable", "init_args": {"texts": texts}},
        "accuracy": {"dataset": "digits", "split": "test", "epochs": 1},
        "published": {"image_shape": [1, 8, 8], "num_classes": 10, "channels": 4, "cells": 1},
        "common": {
            "model": {"init_args": {"space": {"class_path": "WeightSharing64Space"}, "network": network}},
            "data": {"class_path": "Digits", "init_args": {"batch_size": 16, "arch_fraction": 0.4}},
            "trainer": {"limit_train_batches": 2, "limit_val_batches": 0},
        },
        "searchers": {
            "measured": {"seeds": 2, "max_epochs": 1, "model": model},
            "coded": {
                "seeds": 2,
                "max_epochs": 2,
                "model": {"class_path": "TwoStageSearch", "init_args": {"recovery": {"compressed_size": 8}}},
            },
        },
    }
