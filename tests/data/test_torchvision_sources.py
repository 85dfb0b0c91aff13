"""Sources of torchvision, without their files: a stand-in has the same attributes."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from torchvision import datasets

from sparsenas.data import Cifar10, Cifar100, FashionMnist
from sparsenas.data.torchvision_sources import TorchvisionSource
from sparsenas.errors import DataError


class Small:
    """As torchvision's data sets: 40 training and 10 test images."""

    calls: ClassVar = []

    def __init__(self, root, train=True, download=False):
        self.calls.append((train, download))
        if "offline" in root and download:
            raise OSError("no route to host")
        count = 40 if train else 10
        self.data = np.random.default_rng(count).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        self.targets = [number % 10 for number in range(count)]


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(datasets, "CIFAR10", Small)
    monkeypatch.setattr(Small, "calls", [])
    return Small


def test_attributes_are_known_without_files(tmp_path):
    cifar10, cifar100, fashion = (source(str(tmp_path)) for source in (Cifar10, Cifar100, FashionMnist))
    assert cifar10.image_shape == cifar100.image_shape == (3, 32, 32)
    assert fashion.image_shape == (1, 28, 28)
    assert cifar10.num_classes == fashion.num_classes == 10
    assert cifar100.num_classes == 100
    assert cifar100.class_names == tuple(sorted(set(cifar100.class_names)))  # the official order is alphabetical
    assert cifar10.class_names[3] == "cat"
    assert fashion.class_names[0] == "T-shirt/top"
    assert cifar10.augmentation.crop_padding == 4


@pytest.mark.parametrize("source", [Cifar10, Cifar100, FashionMnist])
def test_missing_files_name_the_option(source, tmp_path):
    data = source(str(tmp_path))
    data.prepare_data()
    with pytest.raises(
        DataError, match=r"in .*: files missing or damaged .*; set data\.download to true to fetch them"
    ):
        data.setup("fit")
    assert not list(tmp_path.iterdir())


def test_parts(small, tmp_path):
    data = Cifar10(str(tmp_path), batch_size=4, val_fraction=0.25)
    data.prepare_data()
    data.setup("fit")
    assert small.calls == [(True, False)]  # nothing fetched, test images not read
    assert len(data.parts.split.val) == 10
    images = data.parts.weights.dataset.images
    assert images.shape == (40, 3, 32, 32)
    assert torch.equal(images[7], torch.from_numpy(Small("").data[7]).permute(2, 0, 1))
    data.setup("test")
    assert len(data.parts.test.indices) == 10


def test_grey_images_get_a_channel(tmp_path):
    class Grey(Small):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.data, self.targets = torch.from_numpy(self.data[..., 0].copy()), torch.tensor(self.targets)

    source = TorchvisionSource(Grey, str(tmp_path), False, (1, 32, 32), tuple("0123456789"))
    assert source.load("train", np.arange(3)).images.shape == (3, 1, 32, 32)
    assert source.labels("train").dtype == np.int64


def test_files_are_fetched_only_when_asked(small, tmp_path):
    Cifar10(str(tmp_path)).prepare_data()
    assert small.calls == []
    Cifar10(str(tmp_path), download=True).prepare_data()
    assert small.calls == [(True, True)]


def test_failed_fetch(small, tmp_path):
    with pytest.raises(DataError, match=r"could not be fetched \(no route to host\); check the connection"):
        Cifar10(str(tmp_path / "offline"), download=True).prepare_data()
