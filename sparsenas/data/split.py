"""Stratified, seeded division of labelled images into parts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsenas.errors import ConfigError, DataError

Indices = NDArray[np.int64]


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


def stratified_split(
    labels: NDArray[np.integer], fraction: float, rng: np.random.Generator, option: str, class_names: Sequence[str]
) -> tuple[Indices, Indices]:
    """Take the same share out of every class: ``round(fraction * n)`` of its ``n`` images.

    Args:
        labels: Class of each image, shape ``(N,)``.
        fraction: Share to take, in [0, 1).
        rng: Source of randomness.
        option: Option that holds ``fraction``, for messages.
        class_names: Names of all classes, for messages.

    Returns:
        ``(rest, taken)``: positions in ``labels``, ascending.

    Raises:
        DataError: If ``fraction > 0`` and a class would have no image on one side.
    """
    check_fraction(option, fraction)
    taken = np.zeros(len(labels), dtype=bool)
    for label in range(len(class_names)) if fraction > 0 else ():
        members = np.flatnonzero(labels == label)
        count = round(fraction * len(members))
        if not 0 < count < len(members):
            raise DataError(
                f"data.{option} {fraction} takes {count} of the {len(members)} images of class "
                f"{class_names[label]!r} and leaves {len(members) - count}; both sides need at least one image of "
                "every class: give the class more images or change the share (0 for no such part)"
            )
        taken[rng.choice(members, count, replace=False)] = True
    return np.flatnonzero(~taken), np.flatnonzero(taken)


def split_training(
    labels: NDArray[np.integer], class_names: Sequence[str], *, val_fraction: float, arch_fraction: float, seed: int
) -> Split:
    """Divide a training set: first validation images, then architecture images out of the rest.

    The two draws are independent: a search and the training of its result hold out the same images, at the same seed.

    Raises:
        ConfigError: If a share is out of range.
        DataError: If a class has too few images.
    """
    # The second word tells the draws apart from each other and from the shuffling streams of the same seed.
    val_rng, arch_rng = (np.random.default_rng([seed, 0x5917, draw]) for draw in range(2))
    rest, val = stratified_split(labels, val_fraction, val_rng, "val_fraction", class_names)
    weights, arch = stratified_split(labels[rest], arch_fraction, arch_rng, "arch_fraction", class_names)
    return Split(weights=rest[weights], arch=rest[arch], val=val)
