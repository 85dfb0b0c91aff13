"""Settings that must be refused: one message, exit code 2, before anything is trained."""

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
