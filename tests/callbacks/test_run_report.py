"""The report of a run, and the files beside it, from the command line and from a trainer."""

import csv
import io
import os
import re
import shlex
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning.loggers import CSVLogger, MLFlowLogger, WandbLogger
from sklearn.metrics import precision_recall_fscore_support

from sparsenas.callbacks import RunReport
from sparsenas.cli import main

CLASSES = ("<i>cats", "d & c", "mice")
TINY = shlex.split(
    "fit --config train_digits --model.network.channels 4 --model.network.cells 3 --trainer.accelerator cpu "
    "--trainer.max_epochs 2 --trainer.limit_train_batches 2 --trainer.log_every_n_steps 1 "
    "--trainer.callbacks ModelCheckpoint --trainer.callbacks.filename last "
    "--data ImageFolder --data.path photos --data.size 8 --data.batch_size 8 --data.num_workers 0"
)
RUN = Path("lightning_logs", "version_0")


def rows(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


@contextmanager
def inside(folder):
    here = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder with photos of three classes, and a run that has trained on them."""
    folder, rng = tmp_path_factory.mktemp("report"), np.random.default_rng(0)
    for number in range(90):
        path = folder / "photos" / CLASSES[number % 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        looks = number % 3 if number % 4 else int(rng.integers(3))  # some are mistaken
        pixels = rng.integers(0, 120, (9, 11, 3)) + np.array([0, 60, 120])[looks]
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    with inside(folder):
        assert main(TINY) == 0
    return folder


@pytest.fixture(scope="module")
def tested(folder):
    """Folder of a test of that run, and the accuracy that it has printed."""
    output = io.StringIO()
    with inside(folder), redirect_stdout(output):
        assert main(["test", *TINY[1:], "--ckpt_path", str(RUN / "checkpoints" / "last.ckpt")]) == 0
    return folder / RUN, float(re.search(r"test/acc +(\S+)", output.getvalue())[1])


def test_a_fit_ends_with_a_report_of_its_validation(folder):
    text = (folder / RUN / "report.html").read_text(encoding="utf-8")
    assert len(text) < 1_000_000
    assert "validation accuracy" in text
    assert "&lt;i&gt;cats" in text
    assert "<i>" not in text
    assert f"export {RUN}/checkpoints/last.ckpt --to {RUN}/export" in text
    (found,) = rows(folder / RUN / "results.csv")
    assert (found["kind"], found["trained"], found["test_accuracy"]) == ("trained", "2 epochs", "")
    assert 0 <= float(found["val_accuracy"]) <= 1
    assert (folder / RUN / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert not (folder / RUN / "predictions_test.csv").exists()


def test_a_test_writes_what_it_saw(folder, tested):
    run, accuracy = tested
    predictions = rows(run / "predictions_test.csv")
    label, predicted = ([row[name] for row in predictions] for name in ("label", "predicted"))
    parts = list(csv.reader((folder / RUN / "parts.csv").read_text().splitlines()))
    assert [row["file"] for row in predictions] == sorted(image for part, _, image in parts if part == "test")
    assert [f"{one}/" in row["file"] for one, row in zip(label, predictions, strict=True)] == [True] * len(label)
    assert np.mean(np.array(label) == predicted) == pytest.approx(accuracy)
    by_hand = np.array(precision_recall_fscore_support(label, predicted, labels=CLASSES, zero_division=0))
    names = ("precision", "recall", "f1", "support")
    classes = rows(run / "classes.csv")
    assert [row["class"] for row in classes] == list(CLASSES)
    assert np.array([[float(row[name]) for row in classes] for name in names]) == pytest.approx(by_hand, abs=1e-6)
    assert float(rows(run / "results.csv")[0]["test_accuracy"]) == pytest.approx(accuracy, abs=1e-6)
    for name in ("confusion", "mistakes"):
        assert (run / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    report = (run / "report.html").read_text(encoding="utf-8")
    assert "test accuracy" in report
    assert f"export {RUN}/checkpoints/last.ckpt --to {RUN}/export" in report


def test_the_exported_network_predicts_each_file_as_the_test_did(folder, tested, monkeypatch):
    monkeypatch.chdir(folder)
    run, _ = tested
    export = ["export", str(RUN / "checkpoints" / "last.ckpt"), "--to", str(run / "export"), "--formats", "safetensors"]
    assert main(export) == 0
    assert main(["predict", str(run / "export"), "photos", "--csv", "all.csv"]) == 0
    exported = {row["file"]: row for row in rows(Path("all.csv"))}
    for row in rows(run / "predictions_test.csv"):
        other = exported[f"photos/{row['file']}"]
        assert (other["label"], other["predicted"]) == (row["label"], row["predicted"])
        for name in CLASSES:
            assert float(other[f"p({name})"]) == pytest.approx(float(row[f"p({name})"]), abs=1e-4)


@pytest.mark.slow
def test_a_resumed_run_keeps_the_earlier_part_of_its_curves(folder, monkeypatch):
    monkeypatch.chdir(folder)
    last = next((folder / RUN).rglob("last.ckpt"))
    first = torch.load(last, weights_only=True)["callbacks"]["RunReport"]["curves"]
    assert main([*TINY, "--ckpt_path", str(last), "--trainer.max_epochs", "3"]) == 0
    second = torch.load(last, weights_only=True)["callbacks"]["RunReport"]["curves"]
    assert not (last.parents[1] / "predictions_test.csv").exists()  # that of other weights is gone
    assert [x for x, _ in second["val/loss"]] == [2.0, 4.0, 6.0]
    for name in ("val/loss", "val/acc"):
        assert second[name][:2] == first[name]


def test_a_run_outlives_its_report(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)

    def fail(*_):
        raise RuntimeError("no ink")

    monkeypatch.setattr("sparsenas.callbacks.run_report.page", fail)
    assert main([*TINY, "--trainer.max_epochs", "1"]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("note: no report: RuntimeError: no ink") == 1
    assert "\nreport " not in captured.out
    assert "checkpoint " in captured.out


class Wandb(WandbLogger):
    """A logger of Weights & Biases without Weights & Biases."""

    def __init__(self, folder):
        self.folder, self.images = str(folder), {}

    name = version = "run"
    save_dir = property(lambda self: self.folder)
    experiment = None

    def log_image(self, key, images, step=None, **_):
        self.images[key] = (images, step)

    def log_metrics(self, metrics, step=None): ...

    def log_hyperparams(self, params): ...

    def log_graph(self, model): ...

    def after_save_checkpoint(self, checkpoint_callback): ...

    def finalize(self, status): ...


class Mlflow(MLFlowLogger):
    """A logger of MLflow without MLflow."""

    __init__, name, version, save_dir, finalize = (
        Wandb.__init__,
        "run",
        "run",
        Wandb.save_dir,
        Wandb.finalize,
    )
    log_metrics, log_hyperparams, log_graph = Wandb.log_metrics, Wandb.log_hyperparams, Wandb.log_graph
    after_save_checkpoint = Wandb.after_save_checkpoint
    run_id = "seven"
    experiment = property(lambda self: self)

    def log_image(self, run_id, image, artifact_file):
        self.images[artifact_file] = (run_id, image)


@pytest.mark.slow
def test_every_logger_or_none_gets_the_same_report(fit, tmp_path):
    fit(RunReport(), logger=False)
    assert (tmp_path / "report.html").is_file()
    (tmp_path / "report.html").unlink()
    fit(RunReport(), logger=CSVLogger(str(tmp_path)))
    assert len(list(tmp_path.rglob("report.html"))) == 1
    wandb = Wandb(tmp_path / "wandb")
    fit(RunReport(), logger=wandb)
    ((image,), step) = wandb.images["report/curves"]
    assert (image.mode, step) == ("RGB", 8)
    assert (tmp_path / "report.html").is_file()
    assert not (tmp_path / "wandb").exists()
    assert "report/curves" in fit(RunReport()).events.Tags()["images"]


def test_mlflow_gets_the_pictures(fit, tmp_path):
    mlflow = Mlflow(tmp_path)
    fit(RunReport(), logger=mlflow)
    assert mlflow.images["report/curves.png"][0] == "seven"


def test_a_dry_run_leaves_no_report(fit, tmp_path):
    fit(RunReport(), fast_dev_run=True)
    assert list(tmp_path.rglob("report.html")) == []


def test_a_run_in_double_precision_has_a_report(folder, capfd):
    with inside(folder):
        assert main([*TINY, "--trainer.precision", "64-true", "--name", "double"]) == 0
    assert "no report" not in "".join(capfd.readouterr())
    assert (folder / "lightning_logs" / "double" / "report.html").is_file()
