"""Small image sets and a model without secrets, for tests of the data room."""

from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torchvision.utils import save_image


class Recorder(pl.LightningModule):
    """Keeps every batch it is shown; learns next to nothing."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.train_batches = []
        self.eval_batches = []

    def training_step(self, batch, batch_idx):
        self.train_batches.append(batch)
        return self.weight.square()

    def validation_step(self, batch, batch_idx):
        self.eval_batches.append(batch)

    def test_step(self, batch, batch_idx):
        self.eval_batches.append(batch)

    def predict_step(self, batch, batch_idx):
        return batch[1]

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture
def recorder():
    return Recorder


@pytest.fixture
def trainer(tmp_path):
    def build(**options):
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        return pl.Trainer(accelerator="cpu", devices=1, default_root_dir=tmp_path, **quiet, **options)

    return build


@pytest.fixture
def arrays():
    """Arrays of a good archive: 60 + 20 colour images of 6x8 in 4 classes."""
    rng = np.random.default_rng(0)

    def images(count):
        return rng.integers(0, 256, (count, 6, 8, 3), dtype=np.uint8)

    return {
        "x_train": images(60),
        "y_train": np.arange(60, dtype=np.uint8) % 4,
        "x_test": images(20),
        "y_test": np.arange(20, dtype=np.uint8) % 4,
        "classes": np.array(["ant", "bee", "cat", "dog"]),
    }


@pytest.fixture
def archive(tmp_path):
    """Writes an archive and gives its path."""

    def write(arrays, name="images.npz"):
        path = tmp_path / name
        np.savez(path, **arrays)
        return str(path)

    return write


@pytest.fixture
def folder(tmp_path):
    """Writes ``counts[class]`` image files of different sizes into ``tmp_path / where / class``."""

    def write(counts, where="pictures") -> Path:
        generator = torch.Generator().manual_seed(0)
        for name, count in counts.items():
            (tmp_path / where / name).mkdir(parents=True)
            for number in range(count):
                size = (3, 12 + number % 5, 10 + number % 3)
                save_image(torch.rand(size, generator=generator), tmp_path / where / name / f"{number:02}.png")
        return tmp_path / where

    return write
