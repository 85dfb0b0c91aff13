"""A table made up on the spot, whose accuracies are a sum over the operations, and nearly known early."""

import textwrap
from itertools import product

import pytest

#: Importable here and in the processes of the runs, as a user's own classes are.
PLANTED = """
import zlib
from sparsenas.spaces import WeightSharing64Space
from sparsenas.tables import BenchmarkTable, Training

class SumTable(BenchmarkTable):
    def __init__(self, texts: list[str]):
        trainings = [Training("digits", "valid", epochs) for epochs in (2, 5, 9, 30)]
        super().__init__("sums", WeightSharing64Space(), texts, trainings)

    def _accuracy(self, row, training):
        noise = zlib.crc32(f"{self.texts[row]} {training.epochs}".encode()) / 2**32
        final = 60 + sum(map(int, self.texts[row])) + zlib.crc32(self.texts[row].encode()) / 2**36
        return final if training.epochs == 30 else final - 30 / training.epochs + noise
"""


@pytest.fixture(scope="session")
def sums(tmp_path_factory):
    """Folder of the module ``sums``."""
    folder = tmp_path_factory.mktemp("sums")
    (folder / "sums.py").write_text(textwrap.dedent(PLANTED))
    return folder


@pytest.fixture
def settings(sums, monkeypatch):
    """A small ranking as nested plain values; its table can be imported."""
    monkeypatch.syspath_prepend(sums)
    texts = ["".join(digits) for digits in product("1234", repeat=3)]
    return {
        "table": {"class_path": "sums.SumTable", "init_args": {"texts": texts}},
        "accuracy": {"dataset": "digits", "split": "valid", "epochs": 30},
        "early": [2, 5, 9],
        "sizes": [4, 20],
        "test": 30,
        "seeds": 2,
        "predictors": ["random_forest", "early_stop_accuracy"],
    }
