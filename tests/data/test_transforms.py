"""Augmentation that a run asks for: it repeats, it is what torchvision defines, and mistakes are told."""

import random

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torchvision.transforms import v2

from sparsenas.data import Augmentation, Digits, NpzImages
from sparsenas.data.augment import ARCH, Augmenter, normalise
from sparsenas.data.transforms import ALIKE
from sparsenas.errors import ConfigError
from sparsenas.networks import NetworkConfig
from sparsenas.training import StandAloneTraining, WeightTraining

MEAN, STD = torch.tensor([0.2, 0.5, 0.7]), torch.tensor([0.1, 0.2, 0.3])
STILL = {"crop_padding": 0, "flip": False}
KINDS = {
    "randaugment": Augmentation(randaugment=2),
    "own": Augmentation(transforms=(v2.RandomInvert(), v2.ColorJitter(0.5))),
    "mixup": Augmentation(mixup=0.4),
    "cutmix": Augmentation(cutmix=1.0),
    "both": Augmentation(mixup=0.4, cutmix=1.0, randaugment=1),
}


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (32, 3, 12, 10), dtype=torch.uint8, generator=generator)
    return images, torch.arange(32) % 5


def augmented(batch, augmentation, number=0, epoch=0, stream=0, rank=0, seed=0):
    augmenter = Augmenter(augmentation, seed, rank, classes=5)
    return augmenter.with_labels(*batch, MEAN, STD, stream=stream, epoch=epoch, batch=number)


@pytest.mark.parametrize("kind", KINDS)
def test_place_and_seed_decide_and_generators_are_left_alone(batch, kind):
    first = augmented(batch, KINDS[kind])
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    again = augmented(batch, KINDS[kind])
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == states[1:]
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    for change in ({"seed": 1}, {"rank": 1}, {"epoch": 1}, {"number": 1}, {"stream": 2}):
        assert not torch.equal(first[0], augmented(batch, KINDS[kind], **change)[0]), change
    assert first[0].is_contiguous(memory_format=torch.channels_last)


def test_randaugment_is_that_of_torchvision_for_a_few_images_at_a_time(batch):
    images, _ = batch
    found, _ = augmented(batch, Augmentation(**STILL, randaugment=2, magnitude=20))
    seed = Augmenter(Augmentation(), 0)._seed_of(0, 0, 0)
    torch.manual_seed(seed)
    changed = [v2.RandAugment(2, 20)(images[start : start + ALIKE]) for start in range(0, 32, ALIKE)]
    assert torch.equal(found, normalise(torch.cat(changed), MEAN, STD))


def test_mixup_mixes_images_and_labels_by_the_same_share(batch):
    plain = normalise(batch[0], MEAN, STD)
    mixed, shares = augmented(batch, Augmentation(**STILL, mixup=0.4))
    assert shares.shape == (32, 5)
    share = shares[1, batch[1][1]]
    torch.testing.assert_close(mixed, share * plain + (1 - share) * plain.roll(1, 0))
    one_hot = torch.nn.functional.one_hot(batch[1], 5)
    torch.testing.assert_close(shares, share * one_hot + (1 - share) * one_hot.roll(1, 0))


def test_cutmix_pastes_a_box_whose_area_is_the_share(batch):
    plain = normalise(batch[0], MEAN, STD)
    mixed, shares = augmented(batch, Augmentation(**STILL, cutmix=1.0))
    kept = (mixed == plain).all(1)[1]
    assert torch.equal(mixed[1][:, ~kept], plain[0][:, ~kept])
    assert shares[1, batch[1][1]].item() == pytest.approx(kept.float().mean().item(), abs=1e-6)


def test_architecture_batches_are_never_mixed(batch):
    _, labels = augmented(batch, KINDS["both"], stream=ARCH)
    assert torch.equal(labels, batch[1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cutmix", "mixup"])
def test_a_training_on_mixed_images_learns(kind, fit_briefly):
    torch.manual_seed(0)
    options = WeightTraining(label_smoothing=0.1, class_weights="auto")
    module = StandAloneTraining((1, 8, 8), 10, "plain_cnn", NetworkConfig(channels=8, cells=None), options)
    data = Digits(arch_fraction=0.0, batch_size=32, augmentation=Augmentation(**STILL, **{kind: 0.2}))
    trainer = fit_briefly(module, data, batches=20, epochs=2, limit_val_batches=None)
    assert float(trainer.callback_metrics["val/acc"]) > 0.5
    assert float(trainer.callback_metrics["train/acc"]) > 0.3


class Bigger(torch.nn.Module):
    def forward(self, images):
        return images.repeat(1, 1, 2, 2)


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (
            Bigger(),
            r"transforms: Bigger: gives torch.uint8 \(32, 3, 24, 20\) for a uint8 batch of shape \(32, 3, 12, 1",
        ),
        (v2.ToDtype(torch.float32, scale=True), r"transforms: ToDtype: gives torch.float32 \(32, 3, 12, 10\)"),
        (v2.RandomCrop(64), r"transforms: RandomCrop: does not take a uint8 batch of shape \(32, 3, 12, 10\)"),
    ],
)
def test_transforms_that_do_not_fit(batch, transform, message):
    with pytest.raises(ConfigError, match=message):
        augmented(batch, Augmentation(transforms=(transform,)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"randaugment": -1}, "data.augmentation.randaugment is -1; it must be at least 0"),
        ({"magnitude": 31}, "data.augmentation.magnitude is 31; it lies between 0 and 30"),
        ({"mixup": float("nan")}, "data.augmentation.mixup is nan"),
        ({"cutmix": -0.5}, "data.augmentation.cutmix is -0.5"),
    ],
)
def test_numbers_out_of_range(options, message):
    with pytest.raises(ConfigError, match=message):
        Augmentation(**options)


def test_randaugment_of_four_channels(tmp_path):
    images, labels = np.zeros((8, 8, 8, 4), np.uint8), np.arange(8) % 2
    np.savez(tmp_path / "four.npz", x_train=images, y_train=labels)
    with pytest.raises(ConfigError, match="randaugment is 2, but images have 4 channels; it knows those of 1 or 3"):
        NpzImages(str(tmp_path / "four.npz"), augmentation=Augmentation(randaugment=2))


#: Operations of RandAugment that make tensors of numbers in Python, which go to the device while the CPU waits.
WAITING = {"ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Sharpness"}


class NumbersOfPython(TorchFunctionMode):
    """Counts tensors that are made of numbers in Python."""

    count = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.tensor
        return function(*args, **(kwargs or {}))


def operate(name, images):
    randaugment = v2.RandAugment()
    magnitude = 0.5 if name == "Solarize" else 3.0
    options = {"interpolation": randaugment.interpolation, "fill": randaugment._fill}
    return randaugment._apply_image_or_video_transform(images, name, magnitude, **options)


@pytest.mark.parametrize("name", v2.RandAugment._AUGMENTATION_SPACE)
def test_some_operations_of_randaugment_make_tensors_of_numbers_in_python(name, batch):
    with NumbersOfPython() as made:
        assert operate(name, batch[0]).shape == batch[0].shape
    assert bool(made.count) == (name in WAITING)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", v2.RandAugment._AUGMENTATION_SPACE)
def test_no_other_operations_of_randaugment_wait_for_the_device(name, batch):
    images = batch[0].to("cuda")
    operate(name, images)  # libraries are loaded
    torch.cuda.set_sync_debug_mode("error")
    try:
        waited = False
        operate(name, images)
    except RuntimeError:
        waited = True
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert waited == (name in WAITING)
