"""Commands on two processes of one machine: every word is said once."""

import csv
import operator
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from sparsenas.cli import processes
from sparsenas.data import Digits

TINY = shlex.split(
    "--config train_digits --model.network.channels 4 --model.network.cells 3 --trainer.max_epochs 1 "
    "--trainer.limit_train_batches 2 --trainer.accelerator cpu --trainer.devices 2 --trainer.strategy ddp"
)


def run(folder, *args):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1]), "OMP_NUM_THREADS": "1"}
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        environment.pop(name, None)  # left behind where another test ran on several processes
    command = [sys.executable, "-m", "sparsenas", *args]
    options = {"cwd": folder, "env": environment, "capture_output": True, "text": True, "check": False}
    done = subprocess.run(command, timeout=300, **options)
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.slow
def test_fit_and_predict_end_with_one_summary(tmp_path):
    done = run(tmp_path, "fit", *TINY)
    assert (done.returncode, done.stdout.count("best val/acc")) == (0, 1)
    checkpoint = next(tmp_path.rglob("best.ckpt"))
    done = run(tmp_path, "predict", *TINY, "--model.network.channels", "8", "--ckpt_path", str(checkpoint))
    assert (done.returncode, done.stdout.count("predictions   ")) == (0, 1)
    assert done.stderr.count("--model.network.channels: 4, not 8") == 1
    with (tmp_path / "lightning_logs" / "version_0" / "predictions.csv").open() as file:
        predicted, told = zip(*((row["predicted"], row["label"]) for row in csv.DictReader(file)), strict=True)
    data = Digits()
    labels = [data.class_names[label] for label in data.parts.test.dataset.labels]
    assert len(predicted) == len(labels) == 359  # odd, and none counts twice
    assert list(told) == labels
    right = sum(map(operator.eq, predicted, labels))
    tested = run(tmp_path, "test", *TINY, "--ckpt_path", str(checkpoint)).stdout
    (folder,) = (tmp_path / "lightning_logs").iterdir()
    assert (folder / "predictions_test.csv").read_bytes() == (folder / "predictions.csv").read_bytes()
    assert "test accuracy" in (folder / "report.html").read_text(encoding="utf-8")
    assert float(re.search(r"test/acc +(\S+)", tested)[1]) == pytest.approx(right / len(labels))


SEARCHES = "--trainer.accelerator cpu --trainer.devices 2 --trainer.strategy ddp_find_unused_parameters_true "
SMALL = "--model.network.channels 4 --model.network.cells 3 --model.network.stem small --model.space.nodes 2 "
BRIEF = "--trainer.max_epochs 2 --trainer.limit_train_batches 3 --data Digits --data.batch_size 16 "


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        "--config search_two_stage_digits --model.architecture.warmup_epochs 1 --data.arch_fraction 0.4 "
        + SMALL
        + BRIEF,
        "--config search_one_stage_cifar10_16px --model.phases.search_epochs 1 --model.architecture.warmup_epochs 0 "
        "--data.arch_fraction 0 " + SMALL + BRIEF,
        "--config search_gdas --data.arch_fraction 0.4 " + SMALL + BRIEF,
        "--config search_random_weight_sharing --model.selection.count 4 --model.selection.finalists 2 "
        "--data.arch_fraction 0.4 " + SMALL + BRIEF,
        "--model.training.seconds null --model.training.steps 64 --model.budget.max_params 8000",
    ],
    ids=["two-stage", "one-stage", "gdas", "single-path", "tournament"],
)
def test_every_searcher_ends_with_one_summary(tmp_path, options):
    done = run(tmp_path, "fit", *shlex.split(SEARCHES + options))
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("checkpoint    ") == 1
    assert done.stdout.count("\nnext          ") == 1


@pytest.mark.slow
def test_a_mistake_that_every_process_meets_is_told_once(tmp_path):
    done = run(tmp_path, "fit", *TINY, "--data.batch_size", "5000")
    assert (done.returncode, done.stderr.count("sparsenas: error: data.batch_size is 5000")) == (2, 1)


def test_the_first_process_speaks_at_once(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setattr(processes.time, "sleep", lambda _: pytest.fail("waits"))
    assert processes.is_first()
    assert not processes.is_spoken_for()


@pytest.mark.parametrize("ends", [True, False])
def test_another_process_speaks_only_if_the_first_goes_on(monkeypatch, ends):
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(processes, "PATIENCE", 0.3)
    parents = iter([7, 7])
    monkeypatch.setattr(processes.os, "getppid", lambda: next(parents, 1 if ends else 7))
    assert processes.is_spoken_for() == ends
