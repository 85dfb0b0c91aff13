"""Division of labelled images into parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparsenas.data.names import Hashes, Indices, Places, mixed
from sparsenas.errors import ConfigError, DataError


class PartCode(IntEnum):
    """Part of an image."""

    WEIGHTS = 0
    ARCH = 1
    VAL = 2
    TEST = 3


#: Part of each image, shape ``(N,)``.
Codes = NDArray[np.uint8]


class Shares(NamedTuple):
    """Shares of the images for parts that the source does not have, as in :class:`sparsenas.data.ImageData`."""

    arch: float
    val: float
    test: float


class Seeds(NamedTuple):
    """Seed of validation and architecture images, and that of the test images."""

    split: int
    test: int


@dataclass(frozen=True)
class Split:
    """Positions of the three parts of a training set; disjoint, ascending, together complete.

    Attributes:
        weights: Images that train network weights.
        arch: Images that train the architecture.
        val: Images that train nothing.
    """

    weights: Indices
    arch: Indices
    val: Indices

    @classmethod
    def of(cls, codes: Codes) -> "Split":
        """Sort the positions of a training set by their part."""
        weights, arch, val = (np.flatnonzero(codes == code) for code in (PartCode.WEIGHTS, PartCode.ARCH, PartCode.VAL))
        return cls(weights, arch, val)

    @property
    def train(self) -> Indices:
        """All positions that train something, ascending."""
        return np.sort(np.concatenate([self.weights, self.arch]))

    def __str__(self) -> str:
        """Sizes of the parts, for messages."""
        return f"weights {len(self.weights)}, arch {len(self.arch)}, val {len(self.val)} images"


def check_fraction(option: str, value: float) -> None:
    """Check that a share is in [0, 1).

    Raises:
        ConfigError: If it is not.
    """
    if not 0.0 <= value < 1.0:
        raise ConfigError(f"data.{option} is {value}; a share of the images is at least 0 and below 1")


def divide(
    labels: NDArray[np.integer],
    class_names: Sequence[str],
    shares: Shares,
    seeds: Seeds,
    places: Places | None = None,
    groups: Sequence[str] | None = None,
    held_out: NDArray[np.bool_] | None = None,
) -> Codes:
    """Divide images: first test images, then validation images out of the rest, then architecture images.

    The draws are independent: a search and the training of its result hold out the same images, at the same seeds.

    Args:
        labels: Class of each image, shape ``(N,)``.
        class_names: Names of all classes, for messages.
        shares: Shares of the parts; each is a share of what is left.
        seeds: Seeds of the draws.
        places: Places of the images if others may arrive: then each image's place alone decides its part. ``None``
            draws ``round(share * n)`` of the ``n`` images of each class.
        groups: Group of each image, all at one place; a group is never divided.
        held_out: Which images are for testing, shape ``(N,)``, in place of a share.

    Returns:
        Part of each image, shape ``(N,)``.

    Raises:
        ConfigError: If a share is out of range.
        DataError: If a class would have no image on one side.
    """
    codes = np.full(len(labels), PartCode.WEIGHTS, dtype=np.uint8)
    if held_out is not None:
        codes[held_out] = PartCode.TEST
        shares = shares._replace(test=0.0)
    # the second words tell the draws apart from each other and from the shuffling streams of the same seed
    draws = (
        (PartCode.TEST, "test_fraction", shares.test, (seeds.test, 0x7E57)),
        (PartCode.VAL, "val_fraction", shares.val, (seeds.split, 0x5917, 0)),
        (PartCode.ARCH, "arch_fraction", shares.arch, (seeds.split, 0x5917, 1)),
    )
    units = None if groups is None else np.unique(groups, return_inverse=True)[1]
    for code, option, share, words in draws:
        check_fraction(option, share)
        if share == 0:
            continue
        rest = codes == PartCode.WEIGHTS
        if places is None:
            taken = _drawn(labels[rest], share, np.random.default_rng(words), option, class_names)
        else:
            taken, left = places[rest].take(share, str(words))
            order = mixed(places.sequences[rest], str(words))
            if units is None:
                _balance(taken, labels[rest], order, share, option, class_names)
            else:
                _balance_groups(taken, labels[rest], order, units[rest], option, class_names)
            numbers = places.numbers.copy()
            numbers[rest] = left.numbers
            places = Places(places.sequences, numbers)
        codes[np.flatnonzero(rest)[taken]] = code
    return codes


def with_groups(codes: Codes, known: NDArray[np.bool_], groups: Sequence[str]) -> Codes:
    """Give new images of known groups the part that the group has, shape ``(N,)``.

    Args:
        codes: Part of each image.
        known: Which images had their part before, shape ``(N,)``.
        groups: Group of each image.
    """
    parts = {group: code for group, code, old in zip(groups, codes, known, strict=True) if old}
    new = [code if old else parts.get(group, code) for group, code, old in zip(groups, codes, known, strict=True)]
    return np.array(new, dtype=np.uint8)


def _drawn(
    labels: NDArray[np.integer], share: float, rng: np.random.Generator, option: str, class_names: Sequence[str]
) -> NDArray[np.bool_]:
    """Draw the same share of every class, shape ``(N,)``."""
    taken = np.zeros(len(labels), dtype=bool)
    for label in range(len(class_names)):
        members = np.flatnonzero(labels == label)
        count = round(share * len(members))
        _check_count(count, len(members), share, option, class_names[label])
        taken[rng.choice(members, count, replace=False)] = True
    return taken


def _balance(
    taken: NDArray[np.bool_],
    labels: NDArray[np.integer],
    order: Hashes,
    share: float,
    option: str,
    class_names: Sequence[str],
) -> None:
    """Give every class at least one image on both sides, in place; only small classes lack one."""
    for label in range(len(class_names)):
        members = np.flatnonzero(labels == label)
        count = int(taken[members].sum())
        if len(members) < 2:
            _check_count(count, len(members), share, option, class_names[label])
        if count == 0:
            taken[members[order[members].argmin()]] = True
        elif count == len(members):
            taken[members[order[members].argmax()]] = False


def _balance_groups(
    taken: NDArray[np.bool_],
    labels: NDArray[np.integer],
    order: Hashes,
    units: Indices,
    option: str,
    class_names: Sequence[str],
) -> None:
    """Do so by whole groups: what a group brings to one class it may take from another, so there are several passes.

    Raises:
        DataError: If a class has one group only, or groups of several classes cannot be divided so.
    """
    for _ in range(len(class_names) + 1):
        moved = False
        for label, name in enumerate(class_names):
            members = np.flatnonzero(labels == label)
            here = taken[members]
            if not len(members) or (here.any() and not here.all()):
                continue
            chosen = units[members[order[members].argmax() if here.any() else order[members].argmin()]]
            if (units[members] == chosen).all():
                raise DataError(
                    f"data.{option}: the {len(members)} images of class {name!r} that are left are of one group; both "
                    f"sides need a group of every class: give it more groups, or set data.{option} to 0"
                )
            taken[units == chosen] = not here.any()
            moved = True
        if not moved:
            return
    raise DataError(
        f"data.{option}: there is no division of the groups found that leaves every class on both sides; give classes "
        f"more groups, or set data.{option} to 0"
    )


def _check_count(count: int, images: int, share: float, option: str, class_name: str) -> None:
    if not 0 < count < images:
        raise DataError(
            f"data.{option} {share} takes {count} of the {images} images of class {class_name!r} and leaves "
            f"{images - count}; both sides need at least one image of every class: give the class more images or "
            "change the share (0 for no such part)"
        )
