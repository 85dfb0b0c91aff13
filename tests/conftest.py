"""What several rooms' tests share."""

import os
import shlex
import signal
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from sparsenas.cli import main
from sparsenas.imports import VARIABLE

TINY_TRAINING = shlex.split(
    "fit --config train_digits --model.network.channels 4 --model.network.cells 3 --trainer.accelerator cpu "
    "--trainer.max_epochs 2 --trainer.limit_train_batches 2 --trainer.limit_val_batches 1 "
    "--trainer.log_every_n_steps 1 --trainer.callbacks ModelCheckpoint --trainer.callbacks.filename last"
)

#: Lightning's warnings about toy sizes and about resuming.
LIGHTNING_NOISE = (
    "Checkpoint directory .* exists and is not empty",
    "You're resuming from a checkpoint",
    "The dirpath has changed",
)


@pytest.fixture(autouse=True)
def _trust_is_forgotten(monkeypatch):
    """What a test trusts, another one does not."""
    monkeypatch.setenv(VARIABLE, os.environ.get(VARIABLE, ""))


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """Checkpoint of a tiny training on the digits, by the command line; nobody changes it."""
    folder, here = tmp_path_factory.mktemp("trained"), Path.cwd()
    os.chdir(folder)
    try:
        assert main(TINY_TRAINING) == 0
    finally:
        os.chdir(here)
    return next(folder.rglob("last.ckpt"))


@pytest.fixture
def fit_briefly(tmp_path):
    """Fit a model for seconds; gives the trainer. Every epoch ends with a checkpoint ``epoch=K.ckpt``."""

    def run(model, data, *callbacks, folder="run", ckpt_path=None, batches=4, epochs=2, **options):
        checkpoint = ModelCheckpoint(
            tmp_path / folder, filename="{epoch}", save_top_k=-1, save_last=True, save_on_train_epoch_end=True
        )
        settings = {"accelerator": "cpu", "devices": 1, "logger": False, "limit_val_batches": 1}
        settings |= {"default_root_dir": tmp_path} | options
        trainer = pl.Trainer(
            max_epochs=epochs,
            limit_train_batches=batches,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[checkpoint, *callbacks],
            **settings,
        )
        with warnings.catch_warnings():
            for noise in LIGHTNING_NOISE:
                warnings.filterwarnings("ignore", noise)
            trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=True)
        return trainer

    return run


@pytest.fixture(scope="session")
def run_in():
    """A function that runs a Python program in a folder; in several processes by ``torchrun``."""

    def run(folder, text, *args, processes=1):
        (folder / "program.py").write_text(text, encoding="utf-8")
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        process = subprocess.run(
            [sys.executable, *(launcher if processes > 1 else []), "program.py", *args],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1]), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert process.returncode == 0, process.stderr[-3000:]

    return run


@pytest.fixture
def run_program(tmp_path, run_in):
    """A function that runs a Python program in ``tmp_path``, which may start further processes."""
    return partial(run_in, tmp_path)


def state_differences(first, second, path=""):
    """Paths at which two nested states differ."""
    if isinstance(first, torch.Tensor):
        same = isinstance(second, torch.Tensor) and torch.equal(first, second)
    elif isinstance(first, dict) and isinstance(second, dict):
        if first.keys() != second.keys():
            return [f"{path}: {first.keys() ^ second.keys()}"]
        return [line for key in first for line in state_differences(first[key], second[key], f"{path}/{key}")]
    elif isinstance(first, (list, tuple)) and type(first) is type(second) and len(first) == len(second):
        return [line for i in range(len(first)) for line in state_differences(first[i], second[i], f"{path}/{i}")]
    else:
        same = type(first) is type(second) and first == second
    return [] if same else [path]


@pytest.fixture
def differences():
    """Gives the paths at which two nested states differ."""
    return state_differences


@pytest.fixture
def run_error(capsys):
    """Run a command that must fail as an error of the user; gives its message."""

    def run(*args):
        assert main(list(args)) == 2
        lines = capsys.readouterr().err.splitlines()
        errors = [line.removeprefix("sparsenas: error: ") for line in lines if line.startswith("sparsenas: error: ")]
        assert len(errors) == 1
        assert "Traceback" not in "".join(lines)
        return errors[0]

    return run


@pytest.fixture(scope="session")
def python_m():
    """A function that starts ``python -m sparsenas`` in a process of its own, and returns it."""

    def start(*args, **options):
        return subprocess.Popen(
            [sys.executable, "-m", "sparsenas", *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
                "PYTHONUNBUFFERED": "1",
                "OMP_NUM_THREADS": "1",
            },
            # a shell's background jobs ignore Ctrl-C, and what they start inherits that
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            **options,
        )

    return start


@pytest.fixture(scope="session")
def schedules():
    """Lists every schedule in settings, wherever it is."""
    return _schedules


def _schedules(tree):
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        if isinstance(key, str) and "schedule" in key:
            yield value
        yield from _schedules(value)


@pytest.fixture(scope="session")
def random_archive():
    """Writes an archive of random images of so many pixels a side, 20 of each of ten classes in each part."""

    def write(path, side):
        rng = np.random.default_rng(0)
        labels = np.arange(10).repeat(20)
        parts = ("train", "test")
        arrays = {f"x_{part}": rng.integers(256, size=(200, side, side, 3), dtype=np.uint8) for part in parts}
        np.savez(path, **arrays, y_train=labels, y_test=labels)
        return path

    return write
