"""What a training's record of parts keeps honest when images come, go, or are divided otherwise."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image

from sparsenas.cli import main
from sparsenas.data import Digits, ImageFolder, NpzImages
from sparsenas.data.part_record import PartRecord
from sparsenas.errors import ConfigError

OPTIONS = {"size": 8, "batch_size": 4, "crop_scale": 1, "num_workers": 0, "arch_fraction": 0.0}


def write(root, numbers, classes="ab"):
    rng = np.random.default_rng(0)
    for name in classes:
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in numbers:
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(root / name / f"{number}.png")
    return root


def parts(data):
    return {name: part for part, _, name in data.parts.table()}


@pytest.fixture
def photos(tmp_path):
    return write(tmp_path / "photos", range(30))


def test_a_record_survives_a_checkpoint(tmp_path):
    names, codes = [f"{i}" for i in range(50)], np.arange(50, dtype=np.uint8) % 4
    torch.save(PartRecord.of(names, codes).to_plain(), tmp_path / "record.pt")
    again = PartRecord.from_plain(torch.load(tmp_path / "record.pt", weights_only=True))
    known, found = again.known(["new", *reversed(names)])
    assert known.tolist() == [False] + [True] * 50
    assert found[1:].tolist() == codes[::-1].tolist()
    assert not PartRecord.of([], codes[:0]).known(names)[0].any()


def test_nothing_is_said_where_nothing_has_changed(photos, capsys):
    data = ImageFolder(str(photos), **OPTIONS)
    data.load_state_dict(data.state_dict())
    assert capsys.readouterr().err == ""


def test_new_and_lost_images_are_told_and_the_others_stay(photos, capsys):
    before = ImageFolder(str(photos), **OPTIONS)
    state, kept = before.state_dict(), parts(before)
    write(photos, range(100, 102))
    (photos / "a" / "7.png").unlink()
    after = ImageFolder(str(photos), **OPTIONS)
    after.load_state_dict(state)
    message = capsys.readouterr().err
    assert "4 of 63 images are new (a/100.png, a/101.png, b/100.png, ...) and 1 images are gone" in message
    assert "renamed ones may have been trained on" in message
    assert {name: part for name, part in parts(after).items() if name in kept} == {
        name: part for name, part in kept.items() if name != "a/7.png"
    }


@pytest.mark.parametrize("options", [{"seed": 5}, {"test_seed": 5}, {"test_fraction": 0.5}, {"val_fraction": 0.0}])
def test_other_seeds_and_shares_move_no_image_of_the_training(options, capsys):
    trained = Digits(arch_fraction=0.0)
    asked = Digits(arch_fraction=0.0, **options)
    assert parts(asked) != parts(trained)
    asked.load_state_dict(trained.state_dict())
    assert parts(asked) == parts(trained)
    assert "images keep the part of the training, whatever data.seed and data.*_fraction say" in capsys.readouterr().err
    assert torch.equal(asked.parts.test.dataset.images, trained.parts.test.dataset.images)


def test_trained_images_that_lie_in_a_test_part_are_told(tmp_path, recorder, trainer, capsys):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (60, 8, 8), dtype=np.uint8), np.arange(60) % 2
    np.savez(tmp_path / "first.npz", x_train=images, y_train=labels)
    trained = NpzImages(str(tmp_path / "first.npz"), batch_size=4)
    in_training = np.flatnonzero(trained.parts.codes == 0)[:5]
    rest = np.setdiff1d(np.arange(60), in_training)
    np.savez(
        tmp_path / "second.npz",
        **{
            "x_train": images[rest],
            "y_train": labels[rest],
            "x_test": images[in_training],
            "y_test": labels[in_training],
        },
    )
    second = NpzImages(str(tmp_path / "second.npz"), batch_size=4)
    second.load_state_dict(trained.state_dict())
    trainer().test(recorder(), second, verbose=False)
    assert "5 test images were trained on, or decided something (" in capsys.readouterr().err


def test_checkpoints_of_earlier_versions_have_no_record(photos, capsys):
    data = ImageFolder(str(photos), **OPTIONS)
    state = {name: value for name, value in data.state_dict().items() if name != "parts"}
    data.load_state_dict(state)
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_commands_stay_with_the_parts_of_the_training(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tiny = "--model.network.channels 4 --model.network.cells 3 --trainer.max_epochs 1 --trainer.log_every_n_steps 1"
    data = "--data ImageFolder --data.path photos --data.size 8 --data.batch_size 8 --data.num_workers 0"
    fit = ["fit", "--config", "train_digits", *data.split(), "--data.arch_fraction", "0", *tiny.split()]
    fit += ["--model.training.schedule.warmup_epochs", "0", "--trainer.accelerator", "cpu"]
    assert main(fit) == 0
    output = capsys.readouterr().out
    assert "images        train: 60 images of 2 classes in photos (a 30, b 30)\n" in output
    run = tmp_path / "lightning_logs" / "version_0"
    with (run / "parts.csv").open() as file:
        kept = {row["image"]: row["part"] for row in csv.DictReader(file)}
    assert set(kept.values()) == {"weights", "val", "test"}
    write(photos, range(200, 210))
    last = str(run / "checkpoints" / "last.ckpt")
    assert main(["fit", "--config", str(run / "config.yaml"), "--ckpt_path", last, "--trainer.max_epochs", "2"]) == 0
    assert "20 of 80 images are new" in capsys.readouterr().err
    with (run / "parts.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["image"]: row["part"] for row in rows if row["image"] in kept} == kept
    assert len(rows) == 80
    assert (
        main(["predict", "--config", str(run / "config.yaml"), "--ckpt_path", last, "--trainer.logger", "false"]) == 0
    )
    with (run / "predictions.csv").open() as file:
        predicted = [row["file"] for row in csv.DictReader(file)]
    assert predicted == [row["image"] for row in rows if row["part"] == "test"]
    assert main(["export", last, "--to", "exported"]) == 0
    assert f"of {len(predicted)} images" in capsys.readouterr().out


def test_names_are_those_below_the_folder_however_it_is_given(photos, monkeypatch):
    monkeypatch.chdir(photos)
    for path in (".", "./", str(photos), f"{photos}/../photos"):
        assert ImageFolder(path, **OPTIONS).parts.names[:2] == ["a/0.png", "a/1.png"]


@pytest.mark.parametrize("part", ["val", "test"])
def test_copies_of_training_files_in_a_part_are_told(folder, tmp_path, recorder, trainer, capsys, part):
    root = folder({"ant": 10, "bee": 10}, "set/train").parent
    folder({"ant": 10, "bee": 10}, f"set/{part}")  # the same names; some pixels are those of the training
    other = root / part / "bee"
    for number in range(10):
        Image.new("RGB", (9, 9), (number, 0, 0)).save(other / f"{number:02}.png")
    data = ImageFolder(str(root), **OPTIONS)
    (trainer().test if part == "test" else trainer().validate)(recorder(), data, verbose=False)
    trained = {"test": 10, "val": 8}[part]  # two are held out of the training for the test
    assert f"{trained} {part} images were trained on, or decided something (ant/0" in capsys.readouterr().err


def test_validation_images_that_become_test_images_are_told(folder, tmp_path, recorder, trainer, capsys):
    root = folder({"ant": 10, "bee": 10}, "set/train").parent
    folder({"new": 3}, "set/val")
    (root / "val" / "new").rename(root / "val" / "ant")
    for number in range(3):
        (root / "val" / "ant" / f"{number:02}.png").rename(root / "val" / "ant" / f"v{number}.png")
    state = ImageFolder(str(root), **OPTIONS).state_dict()
    (root / "val").rename(root / "test")
    after = ImageFolder(str(root), **OPTIONS)
    after.load_state_dict(state)
    assert "3 images are gone" in capsys.readouterr().err
    trainer().test(recorder(), after, verbose=False)
    assert "3 test images were trained on, or decided something (ant/v0.png, ...)" in capsys.readouterr().err


def test_validation_without_the_images_of_the_training_is_refused(folder, tmp_path, recorder, trainer):
    root = folder({"ant": 10, "bee": 10}, "set/train").parent
    folder({"ant": 3, "bee": 3}, "set/val")
    state = ImageFolder(str(root), **OPTIONS).state_dict()
    (root / "val").rename(tmp_path / "away")
    after = ImageFolder(str(root), **OPTIONS)
    after.load_state_dict(state)
    with pytest.raises(ConfigError, match="the validation images of the training are gone; bring them back"):
        trainer().validate(recorder(), after, verbose=False)


def test_copies_in_an_archive_share_a_part(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    twice, labels = np.concatenate([images, images]), np.tile(np.arange(60) % 3, 2)
    np.savez(tmp_path / "twice.npz", x_train=twice, y_train=labels)
    codes = NpzImages(str(tmp_path / "twice.npz"), batch_size=4).parts.codes
    assert (codes[:60] == codes[60:]).all()
