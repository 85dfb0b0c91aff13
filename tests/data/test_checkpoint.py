"""What a data module leaves in a checkpoint, and takes back from it."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from pytorch_lightning import LightningDataModule
from pytorch_lightning.cli import instantiate_module

from sparsenas.cli import main
from sparsenas.data import Digits, ImageData, NpzImages
from sparsenas.data.part_record import PartRecord
from sparsenas.errors import DataError

TINY = "--model.network.channels 4 --model.network.cells 3 --trainer.max_epochs 1 --trainer.limit_train_batches 1"


def fitted(tmp_path, monkeypatch, *data):
    """Checkpoint of the briefest training on some images, by the command line."""
    monkeypatch.chdir(tmp_path)
    tiny = [
        *TINY.split(),
        "--trainer.accelerator",
        "cpu",
        "--trainer.limit_val_batches",
        "1",
        "--trainer.log_every_n_steps",
        "1",
    ]
    assert main(["fit", "--config", "train_digits", *tiny, "--data.batch_size", "4", *data]) == 0
    return torch.load(next(tmp_path.rglob("last.ckpt")), weights_only=True)


def rebuilt(checkpoint):
    settings = {k: v for k, v in checkpoint["datamodule_hyper_parameters"].items() if k != "_instantiator"}
    return instantiate_module(LightningDataModule, settings)


@pytest.mark.slow
def test_options_stay_as_the_user_wrote_them(tmp_path, monkeypatch, archive, arrays):
    arrays = {key: value[:, :4].repeat(2, 1) if key.startswith("x") else value for key, value in arrays.items()}
    archive(arrays)
    monkeypatch.setenv("HERE", str(tmp_path))
    data = [
        "--data",
        "NpzImages",
        "--data.path",
        "${HERE}/images.npz",
        "--data.arch_fraction",
        "0.0",
        "--data.augmentation.cutout",
        "2",
    ]
    checkpoint = fitted(tmp_path, monkeypatch, *data)
    settings = checkpoint["datamodule_hyper_parameters"]
    assert settings["_class_path"] == "sparsenas.data.NpzImages"
    assert settings["path"] == "${HERE}/images.npz"
    again = rebuilt(checkpoint)
    assert (again.augmentation.cutout, again.batch_size) == (2, 4)
    state = checkpoint["NpzImages"]
    assert (state["mean"], state["std"], state["class_names"]) == (again.mean, again.std, ("ant", "bee", "cat", "dog"))
    known, codes = PartRecord.from_plain(state["parts"]).known(again.parts.names)
    assert known.all()
    assert (codes == again.parts.codes).all()


class Brighter(ImageData):
    """A class of the user's, with an option of its own."""

    def __init__(self, path: str, names: list[str] | None = None, **options: int):
        self.names = names
        super().__init__(NpzImages(path).source, **options)


@pytest.mark.slow
def test_options_of_a_class_of_ones_own(tmp_path, monkeypatch, archive, arrays):
    module = ModuleType("users_images")
    module.Brighter = Brighter
    monkeypatch.setattr(Brighter, "__module__", "users_images")
    monkeypatch.setitem(sys.modules, "users_images", module)
    arrays = {key: value[:, :4].repeat(2, 1) if key.startswith("x") else value for key, value in arrays.items()}
    archive(arrays)
    data = ["--data", "users_images.Brighter", "--data.path", "images.npz", "--data.names", "[a, b]"]
    checkpoint = fitted(tmp_path, monkeypatch, *data, "--data.arch_fraction", "0")
    again = rebuilt(checkpoint)
    assert type(again) is Brighter
    assert again.names == ["a", "b"]
    assert "Brighter" in checkpoint


def test_made_in_python_options_are_not_kept(archive, arrays):
    odd = Brighter(archive(arrays), names=[object()])
    assert dict(odd.hparams) == {}
    assert odd.state_dict()["class_names"] == ("ant", "bee", "cat", "dog")


def test_normalisation_is_that_of_the_training(archive, arrays, recorder, trainer):
    first = NpzImages(archive(arrays), batch_size=5)
    darker = {key: value // 2 if key.startswith("x") else value for key, value in arrays.items()}
    second, model = NpzImages(archive(darker, "darker.npz"), batch_size=5), recorder()
    state = first.state_dict()
    assert all(type(value) is float for value in (*state["mean"], *state["std"]))
    assert second.mean != first.mean
    second.load_state_dict(state)
    assert (second.mean, second.std) == (first.mean, first.std)
    trainer().test(model, second, verbose=False)
    mean, std = (torch.tensor(values)[:, None, None] for values in (first.mean, first.std))
    seen = torch.from_numpy(darker["x_test"][second.parts.test.mixed])
    expected = (seen.permute(0, 3, 1, 2) / 255 - mean) / std
    torch.testing.assert_close(torch.cat([batch[0] for batch in model.eval_batches]), expected)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (
            ["ant", "bee", "cow", "dog"],
            "class 2 is 'cow', but the checkpoint was trained with 'cat'; give images of the",
        ),
        (["ant", "bee", "cat", "dog", "eel"], "has 5 classes, but the checkpoint was trained on 4; give images of the"),
    ],
)
def test_other_classes(archive, arrays, classes, message):
    state = NpzImages(archive(arrays)).state_dict()
    arrays |= {"classes": np.array(classes), "y_train": np.arange(60) % len(classes)}
    with pytest.raises(DataError, match=message):
        NpzImages(archive(arrays, "other.npz")).load_state_dict(state)


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_evaluation_batches_are_those_of_a_trainer(part, recorder, trainer):
    data, model = Digits(batch_size=32, eval_batch_size=100, arch_fraction=0.0), recorder()
    batches = list(data.evaluation_batches(part))
    if part == "train":
        assert sum(len(labels) for _, labels in batches) == len(data.parts.split.weights)
        return
    loop = trainer()
    (loop.validate if part == "val" else loop.test)(
        model, Digits(eval_batch_size=100, arch_fraction=0.0), verbose=False
    )
    for (images, labels), (expected, expected_labels) in zip(batches, model.eval_batches, strict=True):
        assert torch.equal(images, expected)
        assert torch.equal(labels, expected_labels)


def test_which_parts_there_are():
    assert [Digits().has(part) for part in ("train", "val", "test")] == [True, True, True]
    none = Digits(val_fraction=0.0, test_fraction=0.0)
    assert [none.has(part) for part in ("train", "val", "test")] == [True, False, False]
    assert none.eval_resize is None
