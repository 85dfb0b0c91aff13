"""The images of each part of a source; a part is read when it is first needed."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sparsenas.data.copies import copies_told
from sparsenas.data.labels import check_classes, check_labels, class_counts, label_names, rarest
from sparsenas.data.loading import BatchDataset, Draw
from sparsenas.data.names import Indices, mixed_order
from sparsenas.data.part_record import PartRecord
from sparsenas.data.sources import PARTS, ImageSource, PartName
from sparsenas.data.split import Codes, PartCode, Seeds, Shares, Split, check_fraction, divide, with_groups
from sparsenas.data.statistics import Look, check_varied, look_at
from sparsenas.errors import ConfigError

#: Name in a record of an image of a validation part of its own.
_VAL = "val: {}"


class Part(NamedTuple):
    """Images of a part.

    Attributes:
        dataset: Reads them, and perhaps others.
        indices: Their positions in the dataset, ascending.
        names: Their names.
    """

    dataset: BatchDataset
    indices: Indices
    names: list[str]

    @property
    def mixed(self) -> Indices:
        """The positions in an order that mixes classes, and follows from the names alone."""
        return self.indices[mixed_order(self.names)]

    def images(self, positions: Sequence[int]) -> Tensor:
        """Read images at positions in the dataset, as in evaluation: shape ``(N, C, H, W)``, uint8."""
        return self.dataset[Draw(np.array(positions, dtype=np.int64))][0]


class Parts:
    """Divides a source into weights, architecture, validation and test images.

    A run that never asks for :attr:`test` reads none of these.

    Args:
        source: Labelled images.
        shares: Shares of the parts that the source does not have.
        seeds: Seeds of the division.

    Raises:
        ConfigError: If a share is out of range.
    """

    def __init__(self, source: ImageSource, shares: Shares, seeds: Seeds) -> None:
        for part, share in shares._asdict().items():
            check_fraction(f"{part}_fraction", share)
        self._source = source
        self._shares = shares
        self._seeds = seeds
        self._record: PartRecord | None = None

    def restore(self, record: PartRecord) -> bool:
        """Give the images of a training the parts that they had there; return True if some had others until now."""
        before = self.codes
        self._record = record
        self.__dict__.pop("record", None)
        del self.codes
        moved = not np.array_equal(self.codes, before)
        if moved:  # what has been read is of other parts
            for name in ("_development", "split", "_images", "weights", "arch", "val", "test", "look"):
                self.__dict__.pop(name, None)
        return moved

    @property
    def restored(self) -> bool:
        """True if the parts are those of a training."""
        return self._record is not None

    def trained(self, part: PartName) -> list[str]:
        """Name the images of a part of its own that this training, or the recorded one, has trained on or chosen by."""
        source, record = self._source, self._record or self.record
        if not source.has(part):
            return []
        names, present = source.names(part), set(self.names)
        known, codes = record.known(names)
        used = known & (codes < (PartCode.VAL if part == "val" else PartCode.TEST))
        suspects = {names[i] for i in np.flatnonzero(used)}
        found = (suspects - present) | set(source.trained(part, sorted(suspects & present)))
        if part == "test":  # what was a validation image then, and is none now
            chosen, _ = record.known(list(map(_VAL.format, names)))
            found |= {names[i] for i in np.flatnonzero(chosen)} - set(source.names("val") if source.has("val") else ())
        return sorted(found)

    @cached_property
    def codes(self) -> Codes:
        """Part of each image of the source's training part, shape ``(N,)``."""
        source = self._source
        labels = source.labels("train")
        check_classes(labels, source.class_names, source.name)
        shares = self._shares._replace(
            val=0.0 if source.has("val") else self._shares.val, test=0.0 if source.has("test") else self._shares.test
        )
        places, groups = source.places() if source.grows else None, source.groups("train")
        held_out = source.held_out(self._seeds.test)
        codes = divide(labels, source.class_names, shares, self._seeds, places, groups, held_out)
        if self._record is None:
            return codes
        known, kept = self._record.known(self.names)
        codes = np.where(known, kept, codes).astype(np.uint8)
        return codes if groups is None else with_groups(codes, known, groups)

    @cached_property
    def names(self) -> list[str]:
        """Name of each image of the source's training part."""
        return self._source.names("train")

    @cached_property
    def record(self) -> PartRecord:
        """Parts of all images but those of a test part of its own, for a checkpoint."""
        codes = np.concatenate([self.codes, np.full(len(self.recorded_names) - len(self.names), PartCode.VAL)])
        return PartRecord.of(self.recorded_names, codes.astype(np.uint8))

    @property
    def recorded_names(self) -> list[str]:
        """Names in the record: those of a validation part of its own are told apart."""
        val = self._source.names("val") if self._source.has("val") else ()
        return [*self.names, *map(_VAL.format, val)]

    @cached_property
    def _development(self) -> Indices:
        """Positions in the training part of images that are not for testing."""
        return np.flatnonzero(self.codes != PartCode.TEST)

    @cached_property
    def split(self) -> Split:
        """Positions of the parts among the development images."""
        return Split.of(self.codes[self._development])

    @property
    def smallest(self) -> int:
        """Number of images of the smaller stream of training batches."""
        weights = len(self.split.weights)
        return min(weights, len(self.split.arch)) if self._shares.arch > 0 else weights

    @property
    def class_counts(self) -> NDArray[np.int64]:
        """Number of images of each class that train weights or the architecture, shape ``(classes,)``.

        An image of several classes counts for each.
        """
        labels = self._source.labels("train")[self._development][self.split.train]
        return class_counts(labels, len(self._source.class_names))

    @cached_property
    def _images(self) -> BatchDataset:
        return self._source.load("train", self._development)

    def _part(self, positions: Indices) -> Part:
        return Part(self._images, positions, [self.names[index] for index in self._development[positions]])

    @cached_property
    def weights(self) -> Part:
        """Images that train network weights."""
        return self._part(self.split.weights)

    @cached_property
    def arch(self) -> Part:
        """Images that train the architecture; empty if the share is 0."""
        return self._part(self.split.arch)

    @cached_property
    def val(self) -> Part:
        """Images that train nothing; empty if the share is 0 and the source has no such part."""
        return self._whole("val") if self._source.has("val") else self._part(self.split.val)

    @property
    def has_test(self) -> bool:
        """True if there are test images; reads none of them."""
        return self._source.has("test") or bool((self.codes == PartCode.TEST).any())

    @cached_property
    def test(self) -> Part:
        """Images for the final test.

        Raises:
            ConfigError: If the source has none and none are held out.
        """
        if self._source.has("test"):
            return self._whole("test")
        positions = np.flatnonzero(self.codes == PartCode.TEST)
        if not len(positions):
            why = "the test images of the training are gone; bring them back"
            if not self.restored:
                why = "there is no test part and data.test_fraction is 0; set it above 0 to test or predict"
            raise ConfigError(f"{self._source.name}: {why}")
        names = [self.names[index] for index in positions]
        return Part(self._source.load("train", positions), np.arange(len(positions)), names)

    @property
    def test_files(self) -> list[str] | None:
        """File of each test image; ``None`` if they are no files."""
        if self._source.has("test"):
            return self._source.files("test")
        return None if self._source.files("train") is None else self.test.names

    @cached_property
    def look(self) -> Look:
        """Mean and deviation of the images that train something, and thumbnails of some, with their rarest class."""
        # thumbnails are drawn, and their mirror images tested, by one class an image
        labels = rarest(self._source.labels("train")[self._development][self.split.train])
        return look_at(self._images, self.split.train, labels, self._source.statistics_sample)

    def report(self) -> list[str]:
        """Say what was taken for images, and which are copies that should not be there; a line each."""
        return [*self._source.report(), *copies_told(self._source, self.codes)]

    def check_varied(self) -> None:
        """Check that the images that train something are not all alike.

        Raises:
            DataError: If they are.
        """
        check_varied(self._images, self.split.train, self._source.name)

    def counts(self) -> dict[str, list[int]]:
        """Count the images of each class, by part; parts without images are left out."""
        source, labels = self._source, self._source.labels("train")
        found = {code.name.lower(): labels[self.codes == code] for code in PartCode}
        found |= {part: source.labels(part) for part in PARTS[1:] if source.has(part)}
        classes = len(source.class_names)
        return {part: class_counts(own, classes).tolist() for part, own in found.items() if len(own)}

    def sizes(self) -> dict[str, int]:
        """Count the images, by part; parts without images are left out."""
        found = {code.name.lower(): int((self.codes == code).sum()) for code in PartCode}
        for part in ("val", "test"):
            if self._source.has(part):
                found[part] = len(self._source.labels(part))
        return {part: images for part, images in found.items() if images}

    def table(self) -> Iterator[tuple[str, str, str]]:
        """Yield part, class and name of every image, but those of a test part of its own.

        Several classes are joined by ``;``.
        """
        source = self._source
        for code, label, name in zip(self.codes, source.labels("train"), self.names, strict=True):
            yield PartCode(code).name.lower(), label_names(label, source.class_names), name
        if source.has("val"):
            for label, name in zip(source.labels("val"), source.names("val"), strict=True):
                yield "val", label_names(label, source.class_names), name

    def _whole(self, part: PartName) -> Part:
        labels = self._source.labels(part)
        check_labels(labels, len(self._source.class_names), f"{self._source.name}, {part} part")
        indices = np.arange(len(labels))
        return Part(self._source.load(part, indices), indices, self._source.names(part))
