"""The command ``export`` as its user sees it."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import sparsenas
from sparsenas.api.shipped import shipped_configs
from sparsenas.cli import main
from sparsenas.data import Digits
from sparsenas.export import read_manifest

TINY = shlex.split(
    "--trainer.accelerator cpu --trainer.max_epochs 2 --trainer.limit_train_batches 4 --trainer.limit_val_batches 1 "
    "--trainer.log_every_n_steps 1 --trainer.callbacks ModelCheckpoint --trainer.callbacks.filename last"
)
TRAINING = ["fit", "--config", "train_digits", "--model.network.channels", "4", "--model.network.cells", "3", *TINY]
QUICK = ["--formats", "safetensors"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Commands run in an empty folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def changed(checkpoint, tmp_path):
    """A copy of the checkpoint with some entries replaced, or removed where the value is None."""

    def write(**entries):
        content = torch.load(checkpoint, weights_only=True) | entries
        torch.save({key: value for key, value in content.items() if value is not None}, tmp_path / "changed.ckpt")
        return tmp_path / "changed.ckpt"

    return write


def test_a_checkpoint_is_all_that_is_needed(digits_export, checkpoint):
    manifest = read_manifest(digits_export)
    data = Digits(arch_fraction=0.0)
    assert sorted(path.name for path in digits_export.iterdir()) == [
        "genotype.json",
        "manifest.json",
        "model.safetensors",
    ]
    assert manifest.class_names == data.class_names
    assert (manifest.preparation.mean, manifest.preparation.std) == (data.mean, data.std)
    network = sparsenas.load(digits_export)
    for part in ("val", "test"):
        found = manifest.accuracy[part]
        right = [(network(images).argmax(1) == labels) for images, labels in data.evaluation_batches(part)]
        assert found.accuracy == torch.cat(right).double().mean().item()
        assert found.images == len(torch.cat(right))


@pytest.mark.slow
def test_export_says_what_it_wrote_and_what_comes_next(checkpoint, digits, capsys):
    assert main(["export", str(checkpoint), "--to", "my digits", *QUICK, "--fuse"]) == 0
    lines = capsys.readouterr().out.splitlines()
    measured = r"max\. difference \d\.\de-\d\d  \d+\.\d\d ms an image"
    assert re.fullmatch(rf"file +my digits/model\.safetensors  \d+ bytes  {measured}", lines[1])
    assert re.fullmatch(r"val accuracy +0\.\d{4} of 14\d images", lines[2])
    assert re.fullmatch(r"test accuracy +0\.\d{4} of 3[56]\d images", lines[3])
    assert lines[-1].endswith("python -m sparsenas predict 'my digits' IMAGE.png")
    assert main(["predict", "my digits", str(digits[0])]) == 0


def test_export_refuses_before_any_work(checkpoint, run_error, tmp_path, monkeypatch):
    monkeypatch.setattr("sparsenas.cli.export.load_checkpoint", None)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").touch()
    for args, message in (
        (["--to", "full"], "full: is not empty and holds no earlier export"),
        (["--to", "full", "--overwrite"], "full: is not empty and holds no earlier export"),
        (["--to", "full/letter.txt"], "full/letter.txt: is a file; name a folder"),
        (["--to", "no/where"], "no/where: no is no folder; make it first, or name another target"),
        (["--to", "new", "--formats", "pt2,tflite"], "formats: 'tflite' is unknown; known are safetensors, pt2"),
        ([], "the following arguments are required: --to; see python -m sparsenas export --help"),
        (["--to", "new", "--fus"], "unrecognized arguments: --fus; see python -m sparsenas export --help"),
    ):
        assert run_error("export", checkpoint, *args).startswith(message)
    monkeypatch.setattr("sparsenas.runtimes.find_spec", lambda name: None)
    message = run_error("export", checkpoint, "--to", "new", "--formats", "onnx")
    assert message.startswith("the format onnx needs onnx, onnxscript, onnxruntime: install them by pip install 'spars")
    assert os.listdir() == ["full"]


@pytest.mark.slow
def test_an_earlier_export_is_replaced_only_if_told_to(checkpoint, digits_export, run_error, capsys):
    export = ["export", checkpoint, "--to", digits_export, *QUICK]
    assert run_error(*export).endswith("holds an earlier export; replace it by --overwrite, or name another folder")
    assert main([*map(str, export), "--overwrite"]) == 0


def test_damaged_and_foreign_checkpoints(checkpoint, run_error, tmp_path):
    whole = checkpoint.read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.ckpt").write_text("hello")
    torch.save({"weights": 1}, "other.ckpt")
    for name, message in (
        ("absent.ckpt", "absent.ckpt: no such file; give a .ckpt file that a run wrote"),
        ("cut.ckpt", "cut.ckpt: damaged, or not a checkpoint; give a .ckpt file that a run wrote"),
        ("text.ckpt", "text.ckpt: damaged, or not a checkpoint; give"),
        (".", ".: is no file; give a .ckpt file"),
        ("other.ckpt", "other.ckpt: not a checkpoint of a run; give"),
    ):
        assert run_error("export", name, "--to", "new").startswith(message)
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_checkpoints_without_a_trained_network_or_images(checkpoint, changed, run_error, tmp_path, monkeypatch):
    monkeypatch.setenv("SPARSENAS_TRUST", "nowhere,os,pytorch_lightning")
    content = torch.load(checkpoint, weights_only=True)
    model, data = content["hyper_parameters"], content["datamodule_hyper_parameters"]
    anonymous = {key: value for key, value in model.items() if key != "_class_path"}
    for entries, message in (
        (
            {"hyper_parameters": anonymous},
            "does not say of which class its model is; checkpoints of `python -m sparsen",
        ),
        ({"datamodule_hyper_parameters": None}, "does not say of which class its data is; checkpoints of"),
        ({"hyper_parameters": model | {"_class_path": "nowhere.Net"}}, "cannot import nowhere.Net (No module named"),
        ({"hyper_parameters": model | {"_class_path": "os.path"}}, "os.path is no LightningModule"),
        ({"hyper_parameters": model | {"_class_path": "sparsenas.data.Digits"}}, "Digits is no LightningModule"),
        (
            {"hyper_parameters": model | {"_class_path": "pytorch_lightning.LightningModule"}},
            "has no method deployable()",
        ),
        (
            {"hyper_parameters": model | {"bogus": 3}},
            "rebuilt: StandAloneTraining.__init__() got an unexpected keyword argument",
        ),
        (
            {"hyper_parameters": model | {"genotype": "darts_v2"}},
            "rebuilt: the checkpoint does not fit the model: Missing",
        ),
        ({"hyper_parameters": model | {"genotype": "nope"}}, "its model cannot be rebuilt: nope: no such file"),
        (
            {"Digits": content["Digits"] | {"class_names": tuple("abcdefghij")}},
            "digits: class 0 is '0', but the checkpoint",
        ),
    ):
        found = run_error("export", changed(**entries), "--to", "new", *QUICK)
        assert found.startswith(f"{tmp_path}/changed.ckpt: ")
        assert message in found
    search = model | {"_class_path": "sparsenas.search.TwoStageSearch"}
    message = run_error("export", changed(hyper_parameters=search), "--to", "new")
    assert (
        "is of TwoStageSearch, which finds a genotype but trains no network for it; train it first: python" in message
    )
    assert run_error("export", checkpoint, "--to", "new", "--data-path", "x").startswith("--data-path x: Digits has no")
    absent = data | {"_class_path": "sparsenas.data.NpzImages", "path": "${ABSENT}/x.npz"}
    message = run_error("export", changed(datamodule_hyper_parameters=absent), "--to", "new")
    assert "the environment variable ABSENT is not set" in message
    assert "if they have moved, give --data-path" in message
    assert [path.name for path in tmp_path.iterdir()] == ["changed.ckpt"]


@pytest.mark.slow
def test_images_that_have_moved_are_named_by_data_path(run_error, capsys, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"x_train": rng.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8), "y_train": np.arange(40) % 2}
    np.savez("before.npz", **arrays)
    assert main([*TRAINING, "--data", "NpzImages", "--data.path", "before.npz", "--data.batch_size", "4"]) == 0
    last = next(tmp_path.rglob("last.ckpt"))
    capsys.readouterr()
    os.rename("before.npz", "after.npz")
    message = run_error("export", last, "--to", "new", *QUICK)
    assert "its images cannot be read: before.npz: no such file; " in message
    assert message.endswith("if they have moved, give --data-path")
    assert main(["export", str(last), "--to", "new", *QUICK, "--data-path", "after.npz"]) == 0
    capsys.readouterr()
    arrays["x_train"] = arrays["x_train"][..., :1]
    np.savez("grey.npz", **arrays)
    message = run_error("export", last, "--to", "grey", *QUICK, "--data-path", "grey.npz")
    assert "was trained with image_shape (3, 8, 8), but --data-path has (1, 8, 8)" in message


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero")  # what is tested
def test_without_validation_images_training_images_are_compared_on(tmp_path):
    none = ["--data.val_fraction", "0.0", "--data.test_fraction", "0.0", "--data.eval_batch_size", "100"]
    assert main([*TRAINING, "--trainer.callbacks.save_on_train_epoch_end", "true", *none]) == 0
    assert main(["export", str(next(tmp_path.rglob("last.ckpt"))), "--to", "new", *QUICK]) == 0
    manifest = read_manifest(tmp_path / "new")
    assert manifest.accuracy == {"val": None, "test": None}
    assert manifest.compared_images == 256


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "recipe"),
    [("9", {"shorter_side": 9, "centre_crop": [8, 8]}), ("auto", {"squash": [8, 8]})],
)
def test_networks_of_folders_take_images_of_any_size(tmp_path, capsys, option, recipe):
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(20):
            image = Image.fromarray(rng.integers(0, 256, (20 + number, 25, 3), dtype=np.uint8))
            image.save(tmp_path / "photos" / name / f"{number}.png")
    images = ["--data", "ImageFolder", "--data.path", "photos", "--data.size", "8", "--data.eval_resize", option]
    assert main([*TRAINING, *images, "--data.batch_size", "4", "--data.num_workers", "0"]) == 0
    assert main(["export", str(next(tmp_path.rglob("last.ckpt"))), "--to", "new", *QUICK]) == 0
    assert json.loads((tmp_path / "new" / "manifest.json").read_text())["input"]["resize"] == {
        "orientation": "upright, by EXIF",
        "interpolation": "bilinear, antialiased",
        **recipe,
    }
    assert read_manifest(tmp_path / "new").preparation.resize == (9 if option == "9" else "squash")
    capsys.readouterr()
    assert main(["predict", "new", "photos/cat/0.png", "photos/dog/9.png"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == ["photos/cat/0.png", "photos/dog/9.png"]
    assert {row[1] for row in rows} <= {"cat", "dog"}


@pytest.mark.slow
def test_a_one_stage_search_is_exported_when_it_is_over(tmp_path, run_error, capsys):
    small = {"channels": 4, "cells": 3, "stem": "small"}
    config = yaml.safe_load(shipped_configs()["search_one_stage_cifar10_16px"].read_text())
    config["model"]["init_args"] |= {"network": small, "space": {"class_path": "DartsSpace", "init_args": {"nodes": 2}}}
    config["model"]["init_args"]["phases"]["search_epochs"] = 2
    config["data"] = {"class_path": "Digits", "init_args": {"batch_size": 64, "arch_fraction": 0.0}}
    (tmp_path / "one_stage.yaml").write_text(yaml.safe_dump(config))
    search = ["fit", "--config", "one_stage.yaml", *TINY, "--trainer.callbacks.save_top_k", "-1"]
    assert main([*search, "--trainer.callbacks.filename", "{epoch}", "--trainer.max_epochs", "3"]) == 0
    capsys.readouterr()
    folder = next(tmp_path.rglob("epoch=0.ckpt")).parent
    assert main(["export", str(folder / "epoch=2.ckpt"), "--to", "new", *QUICK, "--fuse"]) == 0
    assert read_manifest(tmp_path / "new").accuracy["test"].images > 300
    capsys.readouterr()
    message = run_error("export", folder / "epoch=0.ckpt", "--to", "early", *QUICK)
    assert message.startswith(f"{folder}/epoch=0.ckpt: no epoch of the training phase is over")


class _RunsCode:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def test_a_checkpoint_cannot_run_code(changed, run_error, tmp_path):
    path = changed(extra=_RunsCode())
    assert "damaged, or not a checkpoint" in run_error("export", path, "--to", "new")
    assert not (tmp_path / "executed").exists()


def test_an_interruption_leaves_nothing(checkpoint, monkeypatch, capsys, tmp_path):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("sparsenas.export.formats.Safetensors.write", interrupt)
    assert main(["export", str(checkpoint), "--to", "new"]) == 130
    assert capsys.readouterr().err == "sparsenas: interrupted; nothing was trained or written\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_onnx_has_the_accuracy_of_the_manifest(checkpoint, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    source = str(Path(__file__).resolve().parents[2])
    command = [sys.executable, "-m", "sparsenas", "export", str(checkpoint), "--to", "all", "--fuse"]
    environment = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--formats", "safetensors,pt2,onnx"], check=True, capture_output=True, text=True, env=environment
    )
    assert done.stderr == ""
    names = [*["file"] * 4, "val", "test", "temperature", "compared", "next"]
    assert [line.split()[0] for line in done.stdout.splitlines()] == names
    tree = json.loads((tmp_path / "all" / "manifest.json").read_text())
    assert sorted(tree["files"]) == ["genotype.json", "model.onnx", "model.pt2", "model.safetensors"]
    session = onnxruntime.InferenceSession(tmp_path / "all" / "model.onnx", providers=["CPUExecutionProvider"])
    mean, std = (np.array(tree["input"][name], np.float32)[:, None, None] for name in ("mean", "std"))
    pixels, labels = Digits().parts.test.dataset.images.numpy(), Digits().parts.test.dataset.labels.numpy()
    (logits,) = session.run(["logits"], {"images": (pixels.astype(np.float32) / 255 - mean) / std})
    assert tree["accuracy"]["test"] == {"accuracy": (logits.argmax(1) == labels).mean(), "images": len(labels)}
