"""Division of labelled images into parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparsenas.data.labels import Labels, class_counts, members, rarest
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
    labels: Labels,
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
        labels: Class of each image, or several, see :data:`~sparsenas.data.labels.Labels`.
        class_names: Names of all classes, for messages.
        shares: Shares of the parts; each is a share of what is left.
        seeds: Seeds of the draws.
        places: Places of the images if others may arrive: then each image's place alone decides its part. ``None``
            draws ``round(share * n)`` of the ``n`` images of each class; of an image's classes, the rarest counts.
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
    units: Indices | None = None
    if groups is not None:
        units = np.unique(groups, return_inverse=True)[1]
    elif labels.ndim == 2:
        units = np.arange(len(labels))  # as a group may, an image brings several classes with it
    for code, option, share, words in draws:
        check_fraction(option, share)
        if share == 0:
            continue
        rest = codes == PartCode.WEIGHTS
        if places is None:
            taken = _drawn(labels[rest], share, np.random.default_rng(words), option, class_names)
            order = mixed(np.arange(len(taken), dtype=np.uint64), str(words))
        else:
            taken, left = places[rest].take(share, str(words))
            order = mixed(places.sequences[rest], str(words))
            numbers = places.numbers.copy()
            numbers[rest] = left.numbers
            places = Places(places.sequences, numbers)
        if units is not None:
            what = "groups" if groups is not None else "images"
            _balance_units(taken, labels[rest], order, units[rest], what, option, class_names)
        elif places is not None:  # a draw has checked each class
            _balance(taken, labels[rest], order, share, option, class_names)
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
    labels: Labels, share: float, rng: np.random.Generator, option: str, class_names: Sequence[str]
) -> NDArray[np.bool_]:
    """Draw the same share of every class, shape ``(N,)``; where images have several, of the rarest class of each."""
    taken = np.zeros(len(labels), dtype=bool)
    strata = rarest(labels)
    for label in range(len(class_names) + labels.ndim - 1):  # one more for images of no class
        own = np.flatnonzero(strata == label)
        count = round(share * len(own))
        if labels.ndim == 1:
            _check_count(count, len(own), share, option, class_names[label])
        taken[rng.choice(own, count, replace=False)] = True
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
        own = members(labels, label)
        count = int(taken[own].sum())
        if len(own) < 2:
            _check_count(count, len(own), share, option, class_names[label])
        if count == 0:
            taken[own[order[own].argmin()]] = True
        elif count == len(own):
            taken[own[order[own].argmax()]] = False


def _balance_units(
    taken: NDArray[np.bool_],
    labels: Labels,
    order: Hashes,
    units: Indices,
    what: str,
    option: str,
    class_names: Sequence[str],
) -> None:
    """Do so by whole units, groups or images of several labels.

    What a unit brings to one class it may take from another, so there are several passes.

    Raises:
        DataError: If a class has one unit only, or units of several classes cannot be divided so.
    """
    for _ in range(len(class_names) + 1):
        moved = False
        for label, name in enumerate(class_names):
            own = members(labels, label)
            here = taken[own]
            if not len(own) or (here.any() and not here.all()):
                continue
            first = np.argsort(~order[own] if here.any() else order[own], kind="stable")
            candidates = list(dict.fromkeys(units[own[first]].tolist()))
            if len(candidates) == 1:
                left = f"one image of class {name!r} is left"
                if what == "groups":
                    left = f"the {len(own)} images of class {name!r} that are left are of one group"
                raise DataError(
                    f"data.{option}: {left}; both sides need {what} of every class: give it more {what}, or set "
                    f"data.{option} to 0"
                )
            side = ~taken if not here.any() else taken
            taken[units == _spared(candidates, labels, units, side, len(class_names))] = not here.any()
            moved = True
        if not moved:
            return
    raise DataError(
        f"data.{option}: there is no division of the {what} found that leaves every class on both sides; give classes "
        f"more {what}, or set data.{option} to 0"
    )


def _spared(candidates: Sequence[int], labels: Labels, units: Indices, side: NDArray[np.bool_], classes: int) -> int:
    """Return the first of some units that does not have all images of a class on its side; else the first.

    Args:
        candidates: The units.
        labels: Class of each image, or several.
        units: Unit of each image, shape ``(N,)``.
        side: Which images are on the side of the candidates, shape ``(N,)``.
        classes: Number of classes.
    """
    there = class_counts(labels[side], classes)
    for unit in candidates:
        own = class_counts(labels[units == unit], classes)
        if not ((own > 0) & (own == there)).any():
            return unit
    return candidates[0]


def _check_count(count: int, images: int, share: float, option: str, class_name: str) -> None:
    if not 0 < count < images:
        raise DataError(
            f"data.{option} {share} takes {count} of the {images} images of class {class_name!r} and leaves "
            f"{images - count}; both sides need at least one image of every class: give the class more images or "
            "change the share (0 for no such part)"
        )
