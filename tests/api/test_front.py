"""The front door for Python: search, train, predict, export, and reading all of it back."""

import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import sparsenas
from sparsenas.api import Prediction, TrainedNetwork
from sparsenas.api.front import written_after
from sparsenas.api.image_settings import save_arrays
from sparsenas.api.shipped import find_config
from sparsenas.data import Augmentation, Digits, NpzImages
from sparsenas.errors import ConfigError, DataError
from sparsenas.spaces import DartsSpace


@pytest.fixture
def config(tmp_path):
    """The shipped config, small enough for a test."""
    settings = yaml.safe_load(Path(find_config("photos")).read_text())
    settings["model"]["init_args"]["space"] = {"class_path": "DartsSpace", "init_args": {"nodes": 2}}
    settings["model"]["init_args"]["network"] = {"cells": 3, "channels": None, "stem": "small"}
    settings["model"]["init_args"]["training"] |= {"seconds": None, "steps": 12, "schedule": {}}
    settings["model"]["init_args"]["tournament"] = {
        "rungs": [1 / 6],
        "random": 3,
        "governor": {"share": 0.5, "most": 0.6},
    }
    settings["model"]["init_args"]["budget"] = {"max_per_cell": {"normal": {"skip_connect": 1}}}
    settings["trainer"] |= {
        "check_val_every_n_epoch": 1,
        "limit_train_batches": 3,
        "limit_val_batches": 1,
        "limit_test_batches": 1,
    }
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(settings))
    return str(path)


def arrays(count=60, side=12, channels=()):
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 3
    images = rng.integers(0, 80, (count, side, side, *channels)) + 60 * labels.reshape(-1, *[1] * (2 + len(channels)))
    return images.astype(np.uint8), labels


@pytest.mark.slow
def test_search_then_predict_export_and_read_back(tmp_path, config):
    images, labels = arrays()
    found = sparsenas.search((images, labels), max_params=4_000, folder=tmp_path / "runs", config=config)
    assert isinstance(found, TrainedNetwork)
    assert sum(p.numel() for p in found.network.parameters()) <= 4_000
    kept = [candidate.primitive for candidate in found.genotype.cell("normal")]
    assert kept.count("skip_connect") <= 1  # rules of the config for primitives stay
    assert set(found.accuracy) == {"val", "test"}
    Image.fromarray(images[0]).resize((40, 30)).save(tmp_path / "new.png")
    (best,) = found.predict(tmp_path / "new.png")
    assert isinstance(best, Prediction)
    assert best.label in found.data.class_names
    assert 1 / 3 <= best.probability <= 1
    manifest = found.export(tmp_path / "network", formats=("safetensors",))
    loaded, again = sparsenas.load(tmp_path / "network"), sparsenas.load_checkpoint(found.checkpoint)
    batch, _ = next(found.data.evaluation_batches("val"))
    with torch.no_grad():
        torch.testing.assert_close(loaded(batch), found.network(batch), rtol=0, atol=1e-4)
        torch.testing.assert_close(again.network(batch), found.network(batch), rtol=0, atol=0)
    right = torch.cat([again.network(x).argmax(1) == y for x, y in found.data.evaluation_batches("test")])
    assert manifest.accuracy["test"].accuracy == pytest.approx(float(right.float().mean()))
    text, html = str(found), found._repr_html_()
    for word in ("network", "accuracy", "found", "the most promising of 3 networks", str(found.folder)):
        assert word in text
        assert word in html
    assert "data:image/png;base64," in html
    measurements = (found.folder / "tournament.jsonl").read_text().splitlines()
    assert len(measurements) == 1 + 3  # the settings and three networks
    assert json.loads((found.folder / "genotype.json").read_text()) == json.loads(found.genotype.to_json())


@pytest.mark.slow
def test_train_takes_a_genotype_in_any_form_and_a_data_module(tmp_path, config):
    data = Digits(batch_size=16, arch_fraction=0.0, augmentation=Augmentation(0, flip=False))
    settings = yaml.safe_load(Path(find_config("train_digits")).read_text())
    settings["model"]["init_args"]["network"] |= {"cells": 3, "channels": 4}
    settings["trainer"] |= {"limit_train_batches": 2, "limit_val_batches": 1, "limit_test_batches": 1, "max_epochs": 1}
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(settings))
    genotype = DartsSpace().sample(np.random.default_rng(0))
    file = tmp_path / "genotype.json"
    file.write_text(genotype.to_json())
    trained = [sparsenas.train(form, data, folder=tmp_path / "runs", config=str(path)) for form in (genotype, file)]
    assert [network.genotype for network in trained] == [genotype, genotype]
    assert [network.folder.name for network in trained] == ["version_0", "version_1"]
    first, second = (network.network.state_dict() for network in trained)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert trained[0].result is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("nowhere", r"nowhere: no such folder; give a folder with a folder of images per class"),
        ((np.zeros((4, 8, 8)), np.zeros(4, int)), r"images are float64 of shape \(4, 8, 8\).*give uint8 images"),
        ((np.zeros((4, 8, 8), np.uint8), np.zeros(3, int)), r"labels of shape \(3,\); give uint8 images"),
        ((np.zeros((4, 8, 8), np.uint8), np.zeros(4)), r"labels are float64; give whole numbers from 0 on"),
        ((np.zeros((4, 8, 8), np.uint8),), r"data is a tuple of 1; give \(images, labels\)"),
    ],
)
def test_images_that_are_none_are_refused(tmp_path, data, message):
    with pytest.raises(DataError, match=message):
        sparsenas.search(data, folder=tmp_path)


def test_options_are_refused_by_text(tmp_path):
    with pytest.raises(ConfigError, match=r"minutes is 0; use a positive number, or None"):
        sparsenas.search("digits", minutes=0, folder=tmp_path)
    with pytest.raises(
        ConfigError, match=r"config search_gdas: its model is RelaxedSearch; name one of TournamentSearch"
    ):
        sparsenas.search("digits", config="search_gdas", folder=tmp_path)


def test_the_checkpoint_is_that_of_the_last_weights(tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for name, step in (("last", 8), ("best", 4)):  # the best one is newer where callbacks stand in that order
        torch.save({"global_step": step}, folder / f"{name}.ckpt")
    assert written_after(tmp_path, 8) == folder / "last.ckpt"
    assert written_after(tmp_path, 12) is None


def test_channels_first_arrays_are_understood(tmp_path):
    images, labels = arrays(channels=(3,))
    last = save_arrays(images, labels, tmp_path / "last.npz")
    first = save_arrays(torch.from_numpy(images).permute(0, 3, 1, 2), labels, tmp_path / "first.npz")
    assert NpzImages(str(first)).image_shape == NpzImages(str(last)).image_shape == (3, 12, 12)
    assert (np.load(first)["x_train"] == np.load(last)["x_train"]).all()


def test_the_room_and_the_function_have_one_name():
    import sparsenas.search

    assert inspect.ismodule(sparsenas.search)
    assert callable(sparsenas.search)
    assert sparsenas.search.TournamentSearch.__name__ == "TournamentSearch"
