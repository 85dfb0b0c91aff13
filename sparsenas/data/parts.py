"""The images of each part of a source; a part is read when it is first needed."""

from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparsenas.data.loading import BatchDataset
from sparsenas.data.sources import ImageSource, PartName, check_classes, check_labels
from sparsenas.data.split import Indices, Split, check_fraction, split_training, stratified_split
from sparsenas.data.statistics import PerChannel, channel_statistics
from sparsenas.errors import ConfigError

#: A dataset and the positions in it that belong to a part.
Part = tuple[BatchDataset, Indices]


class Shares(NamedTuple):
    """Shares of the images for parts that the source does not have, as in :class:`sparsenas.data.ImageData`."""

    arch: float
    val: float
    test: float


class Parts:
    """Divides a source into weights, architecture, validation and test images.

    ``seed`` decides the split, ``test_seed`` the test images. A run that never asks for :attr:`test` reads none.

    Raises:
        ConfigError: If a share is out of range.
    """

    def __init__(self, source: ImageSource, shares: Shares, seed: int, test_seed: int) -> None:
        for part, share in shares._asdict().items():
            check_fraction(f"{part}_fraction", share)
        self._source = source
        self._shares = shares
        self._seed = seed
        self._test_seed = test_seed

    @cached_property
    def _development(self) -> tuple[NDArray[np.int64], Indices, Indices]:
        """Labels of the training part; positions in it for development; positions for testing."""
        source = self._source
        labels = source.labels("train")
        check_classes(labels, source.class_names, source.name)
        if source.has("test"):
            return labels, np.arange(len(labels)), np.arange(0)
        rng = np.random.default_rng([self._test_seed, 0x7E57])  # the second word sets it apart from other draws
        return labels, *stratified_split(labels, self._shares.test, rng, "test_fraction", source.class_names)

    @cached_property
    def split(self) -> Split:
        """Positions of the parts among the development images."""
        labels, development, _ = self._development
        return split_training(
            labels[development],
            self._source.class_names,
            val_fraction=0.0 if self._source.has("val") else self._shares.val,
            arch_fraction=self._shares.arch,
            seed=self._seed,
        )

    @cached_property
    def _images(self) -> BatchDataset:
        return self._source.load("train", self._development[1])

    @property
    def weights(self) -> Part:
        """Images that train network weights."""
        return self._images, self.split.weights

    @property
    def arch(self) -> Part:
        """Images that train the architecture; empty if the share is 0."""
        return self._images, self.split.arch

    @cached_property
    def val(self) -> Part:
        """Images that train nothing; empty if the share is 0 and the source has no such part."""
        return self._whole("val") if self._source.has("val") else (self._images, self.split.val)

    @property
    def has_test(self) -> bool:
        """True if there are test images; reads none of them."""
        return self._source.has("test") or len(self._development[2]) > 0

    @cached_property
    def test(self) -> Part:
        """Images for the final test.

        Raises:
            ConfigError: If the source has none and none are held out.
        """
        if self._source.has("test"):
            return self._whole("test")
        indices = self._development[2]
        if not len(indices):
            raise ConfigError(
                f"{self._source.name} has no test part and data.test_fraction is 0; set it above 0 to test or predict"
            )
        return self._source.load("train", indices), np.arange(len(indices))

    @cached_property
    def statistics(self) -> tuple[PerChannel, PerChannel]:
        """Mean and deviation per channel over the images that train something."""
        return channel_statistics(self._images, self.split.train, self._source.statistics_sample)

    def _whole(self, part: PartName) -> Part:
        labels = self._source.labels(part)
        check_labels(labels, len(self._source.class_names), f"{self._source.name}, {part} part")
        indices = np.arange(len(labels))
        return self._source.load(part, indices), indices
