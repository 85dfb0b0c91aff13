"""Images with several labels, from a table to predictions: every way to predict says the same."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import sparsenas
from sparsenas.api.trained import TrainedNetwork
from sparsenas.cli import main
from sparsenas.data import NpzImages
from sparsenas.errors import DataError
from sparsenas.export import read_manifest
from sparsenas.networks import NetworkConfig
from sparsenas.reporting import Evaluation, RunFacts, page
from sparsenas.training import StandAloneTraining, WeightTraining


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folder of a short run on photos whose red, green or blue is bright, or several of these, or none."""
    folder = tmp_path_factory.mktemp("colours")
    rng, names = np.random.default_rng(0), ("blue", "green", "red")
    rows = [("path", "label")]
    for number in range(150):
        labels = rng.integers(2, size=3)
        pixels = rng.normal(70, 25, (20, 24, 3)) + 110 * labels
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number:03d}.png")
        rows.append((f"{number:03d}.png", "; ".join(n for n, has in zip(names, labels[::-1], strict=True) if has)))
    with (folder / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    settings = {
        "model": {
            "class_path": "StandAloneTraining",
            "init_args": {
                "genotype": "plain_cnn",
                "network": {"channels": 8, "cells": None},
                "training": {"steps": 60, "drop_path": 0.0, "auxiliary_weight": 0.0},
            },
        },
        "data": {
            "class_path": "ImageFolder",
            "init_args": {"path": str(folder / "table.csv"), "size": 16, "batch_size": 16, "arch_fraction": 0.0},
        },
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": -1,
            "log_every_n_steps": 1,
            "logger": {"class_path": "CSVLogger", "init_args": {"save_dir": str(folder)}},
        },
        "seed_everything": 0,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    assert main(["fit", "--config", str(folder / "config.yaml"), "--name", "colours"]) == 0
    return next(folder.rglob("colours"))


@pytest.fixture(scope="module")
def checkpoint(run):
    """Checkpoint of the run, whose test files are beside it."""
    found = next(run.rglob("*.ckpt"))
    assert main(["test", "--config", str(run / "config.yaml"), "--ckpt_path", str(found)]) == 0
    return found


@pytest.fixture(scope="module")
def exported(run, checkpoint):
    """Folder of its export."""
    formats = "safetensors,pt2,python,onnx,onnx-int8"
    assert main(["export", str(checkpoint), "--to", str(run / "export"), "--formats", formats]) == 0
    return run / "export"


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_manifest_says_how_good_the_labels_are(exported):
    manifest = read_manifest(exported)
    assert manifest.multilabel
    assert manifest.class_names == ("blue", "green", "red")
    assert 0.8 < manifest.accuracy["test"].map <= 1
    assert json.loads((exported / "manifest.json").read_text())["multilabel"] is True
    quantised = manifest.files["model.int8.onnx"]
    assert abs(quantised.accuracy["val"].map - manifest.accuracy["val"].map) < 0.1


def test_the_export_predicts_each_test_file_as_the_test_did(run, exported):
    tested = rows_of(run / "predictions_test.csv")
    assert {";" in row["predicted"] for row in tested} == {True, False}
    said = sparsenas.predict(exported, [run.parents[1] / row["file"] for row in tested], adapt=True)
    assert [one.label for one in said] == [row["predicted"] for row in tested]
    expected = torch.tensor([[float(row[f"p({name})"]) for name in said.class_names] for row in tested])
    torch.testing.assert_close(said.probabilities, expected, rtol=0, atol=1e-4)
    assert said.report is None  # no folder says several labels
    labels = [{name for name in row["label"].split(";") if name} for row in tested]
    found = [{name for name in one.label.split(";") if name} for one in said]
    right = np.mean([one == other for one, other in zip(found, labels, strict=True)])
    assert right == pytest.approx(read_manifest(exported).accuracy["test"].accuracy)


@pytest.mark.slow
def test_the_source_prints_the_same_labels(run, exported):
    file = run.parents[1] / "007.png"
    script = [sys.executable, str(exported / "model.py"), str(file)]
    printed = subprocess.run(script, capture_output=True, text=True, check=True).stdout.split()
    (said,) = sparsenas.predict(exported, file, adapt=True)
    assert ";".join(printed[1::2]) == said.label


def test_the_report_has_figures_of_labels_and_no_confusion_matrix(run, checkpoint):
    classes = rows_of(run / "classes.csv")
    assert [row["class"] for row in classes] == ["blue", "green", "red"]
    assert all(0 < float(row["average_precision"]) <= 1 for row in classes)
    assert (run / "report.html").is_file()
    assert not (run / "confusion.png").exists()


def test_arrays_with_rows_of_labels_are_understood(tmp_path):
    from sparsenas.api.image_settings import save_arrays

    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (40, 8, 8), dtype=np.uint8), rng.integers(2, size=(40, 3))
    for kind in (np.int64, np.float32, bool):
        data = NpzImages(str(save_arrays(images, labels.astype(kind), tmp_path / f"{np.dtype(kind)}.npz")))
        assert data.multilabel
        assert (data.source.labels("train") == labels).all()
    with pytest.raises(DataError, match=r"labels \(N,\), or \(N, K\) of 0 and 1"):
        save_arrays(images, labels[:, :, None], tmp_path / "wrong.npz")


def test_images_without_any_label_leave_export_and_report_readable(tmp_path):
    rng, names = np.random.default_rng(0), ("cat", "dog")
    images, labels = rng.integers(0, 256, (40, 8, 8), dtype=np.uint8), rng.integers(2, size=(40, 2))
    parts = {f"x_{part}": images for part in ("train", "val", "test")}
    none = np.zeros_like(labels)
    np.savez(tmp_path / "few.npz", **parts, y_train=labels, y_val=none, y_test=none, classes=names)
    model = StandAloneTraining((1, 8, 8), 2, "plain_cnn", NetworkConfig(4, None), WeightTraining()).eval()
    data = NpzImages(str(tmp_path / "few.npz"), augmentation="none")
    TrainedNetwork(model, model.deployable(), data).export(tmp_path / "export", ["safetensors"])
    accuracy = read_manifest(tmp_path / "export").accuracy
    assert accuracy["val"].map is accuracy["test"].map is None
    assert accuracy["val"].images == 40
    evaluation = Evaluation("val", torch.arange(40), torch.randn(40, 2), torch.zeros(40, 2), names, names * 20, False)
    facts = RunFacts(title="", images="", asked=[], counts={}, class_names=names, evaluation=evaluation)
    assert "nan" not in page(facts)
    assert "mAP" not in page(facts)
