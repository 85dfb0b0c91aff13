"""The data module as a Trainer uses it, on every kind of source."""

import numpy as np
import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from sparsenas.data import Augmentation, Digits, ImageData, NpzImages
from sparsenas.data.npz import NpzSource
from sparsenas.data.statistics import look_at
from sparsenas.errors import ConfigError, DataError


@pytest.fixture
def images(archive, arrays):
    """An archive of 60 + 20 images as a data module."""

    def build(**options):
        options = {
            "batch_size": 5,
            "eval_batch_size": 8,
            "val_fraction": 0.2,
            "augmentation": Augmentation(cutout=2),
        } | options
        return NpzImages(archive(arrays), **options)

    return build


def pairs(batches):
    """Pairs of images and labels in all batches, whatever their kind."""
    for batch in batches:
        yield from batch.values() if isinstance(batch, dict) else [batch]


def equal(first, second):
    pairs_of_pairs = zip(pairs(first), pairs(second), strict=True)
    return all(torch.equal(one[0], two[0]) and torch.equal(one[1], two[1]) for one, two in pairs_of_pairs)


def test_attributes_are_known_after_construction(images):
    data = images()
    assert data.image_shape == (3, 6, 8)
    assert data.num_classes == 4
    assert data.class_names == ("ant", "bee", "cat", "dog")


@pytest.mark.parametrize("arch_fraction", [0.0, 0.3])
def test_batches_in_all_stages(images, recorder, trainer, arch_fraction):
    data, model = images(arch_fraction=arch_fraction), recorder()
    loop = trainer(max_epochs=2, enable_checkpointing=False)
    loop.fit(model, data)
    split = data.parts.split
    assert len(model.train_batches) == 2 * (len(split.weights) // 5)
    loop.test(model, data, verbose=False)
    assert torch.cat(loop.predict(model, data)).tolist() == data.source.labels("test").tolist()
    if arch_fraction:
        assert all(list(batch) == ["weights", "arch"] for batch in model.train_batches)
    for batch_images, labels in pairs(model.train_batches + model.eval_batches):
        assert batch_images.dtype == torch.float32
        assert batch_images.shape == (len(labels), 3, 6, 8)
        assert batch_images.is_contiguous(memory_format=torch.channels_last)
        assert labels.dtype == torch.int64


def test_evaluation_images_are_normalised_and_otherwise_untouched(images, recorder, trainer, arrays):
    data, model = images(), recorder()
    trainer().test(model, data, verbose=False)
    seen = torch.cat([batch[0] for batch in model.eval_batches])
    restored = seen * torch.tensor(data.std)[:, None, None] + torch.tensor(data.mean)[:, None, None]
    expected = torch.from_numpy(arrays["x_test"][data.parts.test.mixed]).permute(0, 3, 1, 2)
    assert torch.equal((restored * 255).round().to(torch.uint8), expected)


def test_mean_and_deviation_are_of_images_that_train_something(images, arrays):
    data = images(arch_fraction=0.5)
    trained = arrays["x_train"][data.parts.split.train] / 255
    np.testing.assert_allclose(data.mean, trained.mean((0, 1, 2)), rtol=1e-9)
    np.testing.assert_allclose(data.std, trained.std((0, 1, 2)), rtol=1e-9)
    sample = look_at(data.parts.weights.dataset, np.arange(48), np.arange(48) % 4, sample=16, batch_size=5)
    np.testing.assert_allclose(sample.mean, arrays["x_train"][:48][data_positions(data)][::3].mean((0, 1, 2)) / 255)


def data_positions(data):
    """Development images of an archive with a test part are all its training images, in order."""
    assert len(data.parts.weights.dataset) == 60
    return np.arange(48)


def test_given_mean_and_deviation_are_used(images):
    data = images(mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 3.0))
    assert data.mean == (0.1, 0.2, 0.3)
    assert data.std == (1.0, 2.0, 3.0)


def test_a_blank_channel_does_not_divide_by_zero(archive, arrays, recorder, trainer):
    arrays["x_train"][..., 1] = 7
    data, model = NpzImages(archive(arrays), batch_size=5), recorder()
    trainer(max_epochs=1, enable_checkpointing=False).fit(model, data)
    assert all(batch.isfinite().all() for batch, _ in pairs(model.train_batches))


def test_fit_and_validate_never_read_images_of_the_test_part(archive, arrays, recorder, trainer, monkeypatch):
    read = []
    before = NpzSource._read
    monkeypatch.setattr(NpzSource, "_read", lambda source, key: read.append(key) or before(source, key))
    data, model = NpzImages(archive(arrays), batch_size=5), recorder()
    loop = trainer(max_epochs=1, enable_checkpointing=False)
    loop.fit(model, data)
    loop.validate(model, data, verbose=False)
    assert "x_train" in read
    assert "x_test" not in read
    loop.test(model, data, verbose=False)
    assert "x_test" in read


def test_images_set_aside_for_testing_are_not_loaded_for_fit(archive, arrays, recorder, trainer):
    del arrays["x_test"], arrays["y_test"]
    data, model = NpzImages(archive(arrays), batch_size=5, test_fraction=0.2, val_fraction=0.2), recorder()
    trainer(max_epochs=1, enable_checkpointing=False).fit(model, data)
    fit, test = data.parts.weights.dataset.images, data.parts.test.dataset.images
    assert len(fit) == 48
    assert len(test) == 12
    everything = {image.tobytes() for image in arrays["x_train"]}
    as_bytes = [{image.permute(1, 2, 0).numpy().tobytes() for image in part} for part in (fit, test)]
    assert not as_bytes[0] & as_bytes[1]
    assert as_bytes[0] | as_bytes[1] == everything


def test_same_seed_same_batches(images, recorder, trainer):
    def run(seed):
        model = recorder()
        trainer(max_epochs=2, enable_checkpointing=False).fit(model, images(seed=seed))
        return model.train_batches

    torch.manual_seed(1)
    first = run(0)
    torch.manual_seed(2)
    assert equal(first, run(0))
    assert not equal(first, run(1))


def test_both_streams_are_augmented_differently(archive, arrays, recorder, trainer, monkeypatch):
    monkeypatch.setattr("sparsenas.data.parts.check_varied", lambda *_: None)
    monkeypatch.setattr(NpzSource, "names", lambda source, part: [str(i) for i in range(len(source.labels(part)))])
    arrays["x_train"] = np.tile(np.arange(48, dtype=np.uint8).reshape(6, 8, 1), (60, 1, 1, 3))  # all alike
    data, model = (
        NpzImages(archive(arrays), batch_size=8, val_fraction=0.2, mean=(0.0,) * 3, std=(1.0,) * 3),
        recorder(),
    )
    trainer(max_epochs=1, enable_checkpointing=False).fit(model, data)
    batch = model.train_batches[0]
    assert not torch.equal(batch["weights"][0], batch["arch"][0])


def test_images_that_are_all_alike_are_refused(archive, arrays):
    arrays["x_train"][:] = 255
    with pytest.raises(DataError, match=r"\d+ training images .* have the same pixels \(values 255 to 255\); look at"):
        NpzImages(archive(arrays), batch_size=5).setup("fit")


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")  # the resumed run saves nothing
@pytest.mark.parametrize("save_on_train_epoch_end", [None, True])  # by default, after validation
@pytest.mark.parametrize("arch_fraction", [0.0, 0.3])
def test_resumed_run_sees_the_batches_of_an_uninterrupted_one(
    images, recorder, trainer, tmp_path, arch_fraction, save_on_train_epoch_end
):
    def run(epochs, resume_from=None, **options):
        model = recorder()
        trainer(max_epochs=epochs, **options).fit(model, images(arch_fraction=arch_fraction), ckpt_path=resume_from)
        return model.train_batches

    saving = ModelCheckpoint(tmp_path / "kept", save_last=True, save_on_train_epoch_end=save_on_train_epoch_end)
    whole = run(4, enable_checkpointing=False)
    first = run(2, callbacks=[saving])
    second = run(4, tmp_path / "kept" / "last.ckpt", enable_checkpointing=False)
    assert equal(whole, first + second)


def test_overfitting_repeats_the_same_batches(images, recorder, trainer):
    data, model = images(augmentation=Augmentation(0, flip=False)), recorder()
    with pytest.warns(UserWarning, match="You requested to overfit"):
        trainer(max_epochs=2, overfit_batches=2, enable_checkpointing=False).fit(model, data)
    assert equal(model.train_batches[:2], model.train_batches[2:])


def test_no_validation_part_means_no_validation(images, recorder, trainer):
    data, model = images(val_fraction=0.0), recorder()
    loop = trainer(max_epochs=1, enable_checkpointing=False)
    with pytest.warns(UserWarning, match="Please make sure this was your intention"):
        loop.fit(model, data)
    assert not model.eval_batches
    with pytest.raises(ConfigError, match=r"data\.val_fraction is 0, so there is nothing to validate on"):
        loop.validate(model, data)


def test_no_test_part_is_reported_by_test_only(archive, arrays, recorder, trainer):
    del arrays["x_test"], arrays["y_test"]
    data, model = NpzImages(archive(arrays), batch_size=5, test_fraction=0.0), recorder()
    loop = trainer(max_epochs=1, enable_checkpointing=False)
    loop.fit(model, data)
    with pytest.raises(ConfigError, match=r"no test part and data\.test_fraction is 0; set it above 0"):
        loop.test(model, data)


@pytest.mark.parametrize("arch_fraction", [0.0, 0.5])
def test_batch_larger_than_a_part(images, arch_fraction):
    data = images(batch_size=50, arch_fraction=arch_fraction)
    with pytest.raises(ConfigError, match=r"data\.batch_size is 50 on 1 process\(es\), more than .* val 12 images\)"):
        data.setup("fit")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, r"data\.batch_size is 0; it must be at least 1"),
        ({"seed": -1}, r"data\.seed is -1; it must be at least 0"),
        ({"arch_fraction": 1.0}, r"data\.arch_fraction is 1\.0; a share"),
        ({"test_fraction": -0.5}, r"data\.test_fraction is -0\.5; a share"),
        ({"mean": (0.5,), "std": (0.5,)}, r"data\.mean has 1 values; the images have 3 channels"),
        ({"mean": (0.5,) * 3}, r"data\.mean and data\.std belong together"),
        ({"mean": (0.5,) * 3, "std": (1.0, 0.0, 1.0)}, r"data\.std is \[1\.0, 0\.0, 1\.0\]; every deviation must be"),
    ],
)
def test_options_out_of_range(images, options, message):
    with pytest.raises(ConfigError, match=message):
        images(**options)


@pytest.mark.parametrize("name", ["cutout", "crop_padding"])
def test_augmentation_out_of_range(name):
    with pytest.raises(ConfigError, match=rf"data\.augmentation\.{name} is -1; it must be at least 0"):
        Augmentation(**{name: -1})


class TestDigits:
    def test_attributes(self):
        data = Digits()
        assert isinstance(data, ImageData)
        assert data.image_shape == (1, 8, 8)
        assert data.class_names == tuple("0123456789")
        assert data.augmentation.crop_padding == 1
        assert not data.augmentation.flip

    def test_test_part_does_not_depend_on_the_seed(self):
        first, second, other = Digits(seed=0), Digits(seed=1), Digits(test_seed=1)
        assert torch.equal(first.parts.test.dataset.images, second.parts.test.dataset.images)
        assert not (first.parts.split.val == second.parts.split.val).all()
        assert not torch.equal(first.parts.test.dataset.images, other.parts.test.dataset.images)

    def test_grey_levels_use_the_whole_range(self):
        levels = Digits().parts.weights.dataset.images.unique()
        assert len(levels) == 17
        assert levels[0] == 0
        assert levels[-1] == 255
