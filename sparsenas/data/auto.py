"""Augmentation and batch size that follow from the training images."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal, get_args

from sparsenas.data.augment import Augmentation
from sparsenas.data.mirror import MirrorTest, mirror_test
from sparsenas.data.parts import Parts
from sparsenas.data.sources import ImageSource, check_at_least
from sparsenas.errors import ConfigError

#: An augmentation without options, and a batch size likewise.
AugmentationWord = Literal["auto", "none"]
BatchSizeWord = Literal["auto"]
#: Side up to which images are small: a window or a cut would lose what little there is.
SMALL = 64


def chosen_augmentation(source: ImageSource, flip: bool) -> Augmentation:
    """Choose shifts by the size of the images: a sixteenth of the smaller side, or an eighth up to 2 pixels.

    Images that are random windows already are not shifted. In short trainings on few images, 4 pixels of 32 cost three
    points where objects touch the edge, and brought one where they do not.

    Args:
        source: The images.
        flip: True to mirror at random.
    """
    side = min(source.image_shape[1:])
    shift = max(side // 16, min(side // 8, 2))
    return Augmentation(0 if source.windowed else shift, flip, padding_mode="reflect")


def chosen_batch_size(images: int) -> int:
    """Choose the batch size of a training part, over all processes.

    A sixteenth of the images, between 16 and 64, so that small sets make some updates an epoch. Of more than 16,384
    images a 256th, at most 128. In steps of 8, but never more than there are.
    """
    return min(max(min(_eights(images / 16), 64), min(_eights(images / 256), 128), 16), images)


def _eights(number: float) -> int:
    return 8 * math.ceil(number / 8)


class Choices:
    """Augmentation and batch size of a training: as given, or chosen from its images when first needed.

    Args:
        augmentation: As given.
        batch_size: As given.
        parts: The images.
        source: Their source.

    Raises:
        ConfigError: If one is neither a word nor an option in its range.
    """

    def __init__(
        self,
        augmentation: Augmentation | AugmentationWord,
        batch_size: int | BatchSizeWord,
        parts: Parts,
        source: ImageSource,
    ) -> None:
        self._parts = parts
        self._source = source
        self._mirror: MirrorTest | None = None
        self._augmentation: Augmentation | None = None
        if isinstance(augmentation, Augmentation):
            self._augmentation = augmentation.at(source)
        elif augmentation == "none":
            self._augmentation = Augmentation(0, flip=False).at(source)
        else:
            _check_word("augmentation", augmentation, AugmentationWord, "options of Augmentation")
        self._chooses_augmentation = self._augmentation is None
        self._given_size: int | None = None
        self._size: int | None = None  # over all processes
        if isinstance(batch_size, int):
            check_at_least(1, batch_size=batch_size)
            self._given_size = batch_size
        else:
            _check_word("batch_size", batch_size, BatchSizeWord, "a whole number")

    @property
    def augmentation(self) -> Augmentation:
        """Augmentation of training images.

        Raises:
            DataError: If it is to be chosen, and images are damaged.
        """
        if self._augmentation is None:
            look = self._parts.look
            self._mirror = mirror_test(look.thumbnails, look.labels)
            self._augmentation = chosen_augmentation(self._source, self._mirror.passed)
        return self._augmentation

    def batch_size(self, processes: int) -> int:
        """Images of a training batch, per stream and per process."""
        if self._given_size is not None:
            return self._given_size
        smallest = self._parts.smallest
        if self._size is None:
            self._size = chosen_batch_size(smallest)
        return max(min(self._size, smallest) // processes, 1)

    def report(self) -> list[str]:
        """Say what was chosen and why; a line each."""
        lines = []
        if self._chooses_augmentation:
            lines.append(f"augmentation: {_described(self.augmentation, self._source.windowed)}{self._reason()}")
        if self._size is not None:
            lines.append(f"batches: {self._size} images")
        return lines

    def to_plain(self) -> dict[str, Any]:
        """Return what was chosen, for a checkpoint; nothing of what was given."""
        plain: dict[str, Any] = {"augmentation": asdict(self.augmentation)} if self._chooses_augmentation else {}
        return plain if self._size is None else {**plain, "batch_size": self._size}

    def restore(self, plain: Mapping[str, Any]) -> str:
        """Choose as a training did; what is given stays.

        Args:
            plain: What :meth:`to_plain` returned.

        Returns:
            What would have been chosen otherwise by now; empty if nothing.
        """
        changed = []
        if self._chooses_augmentation and "augmentation" in plain:
            augmentation, self._augmentation = self._augmentation, Augmentation(**plain["augmentation"])
            self._mirror = None
            if augmentation not in (None, self._augmentation):
                changed.append(_described(self._augmentation, self._source.windowed))
        if self._given_size is None and "batch_size" in plain:
            size, self._size = self._size, int(plain["batch_size"])
            if size not in (None, self._size):
                changed.append(f"batches of {self._size} images")
        return ", ".join(changed)

    def _reason(self) -> str:
        test = self._mirror
        if test is None:
            return ""
        names = (*self._source.class_names, "no class")  # images of several labels may have none
        whose = "" if test.label is None else f"of {names[test.label]}, "
        return f" ({whose}a linear rule gets {test.recognised} of {test.images} right, {test.mirrored} mirrored)"


def _described(augmentation: Augmentation, windowed: bool) -> str:
    """Say in words what is done to training images."""
    moved = ["random windows"] if windowed else []
    moved += [f"shifts up to {augmentation.crop_padding} px"] if augmentation.crop_padding else []
    return ", ".join([*moved, "mirrored" if augmentation.flip else "never mirrored"])


def _check_word(option: str, value: Any, words: Any, other: str) -> None:
    if value not in get_args(words):
        raise ConfigError(f"data.{option} is {value!r}; use {', '.join(get_args(words))}, or {other}")
