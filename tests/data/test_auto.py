"""What follows from the training images: augmentation and batch size."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from sparsenas.data import Augmentation, Cifar10, Digits, ImageFolder, NpzImages
from sparsenas.data.auto import chosen_batch_size
from sparsenas.data.npz import NpzSource
from sparsenas.data.statistics import look_at
from sparsenas.errors import ConfigError


@pytest.fixture
def photos(archive):
    """Archives of grey images in two classes, which are mirror images of each other if they are told to."""

    def write(count, mirrored, side=8, name="photos.npz"):
        rng = np.random.default_rng(0)
        ramp = np.linspace(0, 200, side)
        patterns = np.stack([ramp, ramp[::-1]]) if mirrored else np.stack([np.zeros(side), np.full(side, 150)])
        labels = np.arange(count) % 2
        images = patterns[labels][:, None, :] + rng.integers(0, 50, (count, side, side))
        return archive({"x_train": images.astype(np.uint8), "y_train": labels}, name)

    return write


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("side", "shift"), [(7, 0), (8, 1), (15, 1), (16, 2), (32, 2), (64, 4), (80, 5)])
def test_shifts_follow_from_the_size_and_flips_from_the_images(photos, mirrored, side, shift):
    data = NpzImages(photos(80, mirrored, side), arch_fraction=0.0)
    assert data.augmentation == Augmentation(shift, not mirrored, 0, "reflect")


@pytest.mark.parametrize(("size", "crop", "shift"), [(8, 1.0, 1), (64, 1.0, 4), (65, 0.5, 0)])
def test_windows_follow_from_the_size(folder, size, crop, shift):
    root = str(folder({"ant": 12, "bee": 12}))
    data, none = ImageFolder(root, size), ImageFolder(root, size, augmentation="none")
    assert data.source._crop_scale == crop
    assert data.augmentation.crop_padding == shift
    assert none.source._crop_scale == 1.0
    recipe = ImageFolder(root, size, crop_scale=0.08)
    assert recipe.source._crop_scale == 0.08
    assert recipe.augmentation.crop_padding == 0  # windows move the image already


@pytest.mark.parametrize("kind", ["archive", "folder"])
def test_none_shows_the_images_as_they_are(photos, folder, recorder, trainer, kind):
    options = {"augmentation": "none", "arch_fraction": 0.0, "batch_size": 4}
    if kind == "archive":
        data = NpzImages(photos(40, mirrored=False), **options)
    else:
        data = ImageFolder(str(folder({"ant": 15, "bee": 15})), 72, num_workers=0, **options)
    model = recorder()
    trainer(max_epochs=1, enable_checkpointing=False).fit(model, data)
    own = {image.numpy().tobytes() for images, _ in data.evaluation_batches("train") for image in images}
    seen = [image.numpy().tobytes() for images, _ in model.train_batches for image in images]
    assert set(seen) <= own
    assert len(set(seen)) == len(seen)


def test_published_sets_keep_their_own_settings_and_take_the_words(tmp_path):
    assert Digits().augmentation == Augmentation(1, False, 0, "zeros")
    assert Cifar10(str(tmp_path)).augmentation == Augmentation(4, True, 0, "zeros")
    assert (Digits().batch_size, Cifar10(str(tmp_path)).batch_size) == (64, 64)
    assert Digits("auto", batch_size="auto").augmentation == Augmentation(1, False, 0, "reflect")
    none = Cifar10(str(tmp_path), augmentation="none").augmentation
    assert (none.crop_padding, none.flip, none.cutout) == (0, False, 0)


def test_what_is_given_is_taken_as_it_is(photos):
    path = photos(80, mirrored=True)
    given = Augmentation(2, True, 3, "zeros")
    assert NpzImages(path, augmentation=given).augmentation == given
    assert NpzImages(path, augmentation=Augmentation(flip=False)).augmentation == Augmentation(1, False, 0, "reflect")
    assert NpzImages(path, batch_size=5).batch_size == 5


def test_only_training_images_decide(archive, arrays, monkeypatch):
    read = []
    load = NpzSource.load
    monkeypatch.setattr(
        NpzSource, "load", lambda source, part, indices: read.append((part, indices)) or load(source, part, indices)
    )
    data = NpzImages(archive(arrays), batch_size=5, val_fraction=0.2)
    assert data.augmentation.crop_padding == 0  # of 6 pixels
    assert {part for part, _ in read} == {"train"}
    images = torch.from_numpy(arrays["x_train"][data.parts.split.train]).permute(0, 3, 1, 2)
    pooled = functional.adaptive_avg_pool2d(images.float(), 8)
    assert torch.equal(data.parts.look.thumbnails, pooled)
    assert (data.parts.look.labels == arrays["y_train"][data.parts.split.train]).all()


def test_a_look_takes_about_as_many_images_of_each_class(monkeypatch, archive, arrays):
    monkeypatch.setattr("sparsenas.data.statistics.MOST", 20)
    data = NpzImages(archive(arrays))
    labels = np.repeat([0, 1, 2, 3], [3, 40, 5, 12])
    look = look_at(data.parts.weights.dataset, np.arange(60), labels, batch_size=7)
    assert np.bincount(look.labels).tolist() == [3, 5, 5, 5]
    whole = look_at(data.parts.weights.dataset, np.arange(60), labels)
    assert look.mean == whole.mean
    assert torch.equal(look.thumbnails, whole.thumbnails)


def test_batch_sizes_follow_from_the_number_of_images():
    sizes = {images: chosen_batch_size(images) for images in (1, 5, 16, 100, 432, 1000, 10_000, 40_000, 1_200_000)}
    assert all(size <= images for images, size in sizes.items())
    assert all(size % 8 == 0 and 16 <= size <= 128 for images, size in sizes.items() if images >= 16)
    assert 12 <= 432 / sizes[432] <= 16  # updates an epoch
    assert (sizes[1000], sizes[10_000], sizes[40_000], sizes[1_200_000]) == (64, 64, 128, 128)
    every = [chosen_batch_size(images) for images in range(1, 40_000, 7)]
    assert every == sorted(every)


@pytest.mark.parametrize("processes", [1, 2, 3, 16])
def test_several_processes_share_a_batch(photos, trainer, monkeypatch, processes):
    data = NpzImages(photos(60, mirrored=False), val_fraction=0.2, arch_fraction=0.0)
    monkeypatch.setattr(NpzImages, "_world_size", processes)
    data.setup("fit")
    assert 1 <= data.batch_size * processes <= max(16, processes)
    assert data.batch_size == max(16 // processes, 1)


def test_the_smaller_stream_decides(photos):
    data = NpzImages(photos(600, mirrored=False), arch_fraction=0.1)
    assert data.batch_size == chosen_batch_size(len(data.parts.split.arch))


def test_a_fit_says_once_what_was_chosen_and_why(photos, recorder, trainer, capsys):
    data = NpzImages(photos(80, mirrored=True), arch_fraction=0.0)
    loop = trainer(max_epochs=1, enable_checkpointing=False)
    loop.fit(recorder(), data)
    loop.fit(recorder(), data)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("images        augmentation: ")]
    assert len(lines) == 1
    assert "never mirrored (a linear rule gets" in lines[0]
    NpzImages(photos(80, mirrored=True), arch_fraction=0.0, augmentation="none", batch_size=4).setup("fit")
    assert "augmentation" not in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")  # the runs save by hand
def test_a_resumed_run_keeps_what_was_chosen(photos, recorder, trainer, tmp_path, capsys):
    def run(path, epochs, resume_from=None, **options):
        data = NpzImages(path, arch_fraction=0.0, test_fraction=0.0, **options)
        loop = trainer(max_epochs=epochs, enable_checkpointing=False)
        loop.fit(recorder(), data, ckpt_path=resume_from)
        loop.save_checkpoint(tmp_path / "last.ckpt")
        return data

    first = run(photos(80, mirrored=False), 1)
    assert (first.augmentation.flip, first.batch_size) == (True, 16)
    more = photos(400, mirrored=True, name="more.npz")
    fresh = NpzImages(more, arch_fraction=0.0, test_fraction=0.0)
    assert (fresh.augmentation.flip, fresh.batch_size) == (False, 24)
    capsys.readouterr()
    again = run(more, 2, tmp_path / "last.ckpt")
    assert (again.augmentation, again.batch_size) == (first.augmentation, 16)
    told = capsys.readouterr().err
    assert "more.npz: images are augmented as in the training so far: shifts up to 1 px, mirrored" in told
    given = run(more, 3, tmp_path / "last.ckpt", augmentation=Augmentation(0, False), batch_size=8)
    assert (given.augmentation.crop_padding, given.augmentation.flip, given.batch_size) == (0, False, 8)


def test_checkpoints_of_earlier_versions_hold_no_choices(photos, capsys):
    data = NpzImages(photos(80, mirrored=True))
    state = {name: value for name, value in data.state_dict().items() if name != "choices"}
    data.load_state_dict(state)
    assert not data.augmentation.flip
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"augmentation": "some"}, r"data\.augmentation is 'some'; use auto, none, or options of Augmentation"),
        ({"augmentation": None}, r"data\.augmentation is None; use auto, none, or options of Augmentation"),
        ({"batch_size": "some"}, r"data\.batch_size is 'some'; use auto, or a whole number"),
        (
            {"augmentation": Augmentation(8, padding_mode="reflect")},
            r"crop_padding is 8; an image of 8 pixels reflects",
        ),
    ],
)
def test_words_and_options_out_of_range(photos, options, message):
    with pytest.raises(ConfigError, match=message):
        NpzImages(photos(20, mirrored=False), **options)


def test_unknown_padding():
    with pytest.raises(ConfigError, match=r"data\.augmentation\.padding_mode is 'edge'; use zeros or reflect"):
        replace(Augmentation(), padding_mode="edge")
