"""A command that trains briefly, and one that must be refused: one message, exit code 2, before any training."""

import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

from sparsenas.cli import main


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Run a command that must be refused; gives the message.

    It runs in a folder with a ``file``, an ``empty`` folder, and an archive ``other.npz`` without images.
    """
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("x", encoding="utf-8")
    Path("empty").mkdir()
    np.savez("other.npz", x=np.zeros(3))

    def trained(*_):
        raise AssertionError("something is trained")

    monkeypatch.setattr(torch.Tensor, "backward", trained)

    def run(*parts):
        assert main([word for part in parts for word in shlex.split(part)]) == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("Seed set")]
        assert len(lines) <= 6
        assert lines[-1].startswith("sparsenas: error: ")
        assert len(lines[-1]) <= 520
        assert not list(Path().rglob("*.ckpt"))
        return lines[-1]

    return run


@pytest.fixture(scope="session")
def train():
    """The smallest training that goes through everything: two epochs of two batches of a tiny chain."""
    return shlex.split(
        "fit --config train_digits --model.genotype plain_cnn --model.network.channels 4 --model.network.cells null "
        "--model.network.stem cifar --model.training.drop_path 0 --model.training.auxiliary_weight 0 "
        "--trainer.accelerator cpu --trainer.max_epochs 2 --trainer.limit_train_batches 2 "
        "--trainer.limit_val_batches 1 --trainer.log_every_n_steps 1"
    )
