"""Folds of images: each is for testing once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsenas.errors import ConfigError, DataError


@dataclass(frozen=True)
class CrossValidation:
    """Options of cross-validation: as many runs as there are folds, each tested on another one.

    Folds have about the same number of images, and the same share of every class. A group is whole in one fold. Folds
    are drawn from all images together, so they stay the same only while no image arrives.

    Attributes:
        folds: Number of folds.
        fold: Number of the fold that is for testing, from 0 on.

    Raises:
        ConfigError: If there is no such fold.
    """

    folds: int
    fold: int

    def __post_init__(self) -> None:
        """Check the options."""
        if self.folds < 2:
            raise ConfigError(f"data.cross_validation.folds is {self.folds}; it must be at least 2")
        if not 0 <= self.fold < self.folds:
            raise ConfigError(
                f"data.cross_validation.fold is {self.fold}; {self.folds} folds are numbered 0 to {self.folds - 1}"
            )

    def __str__(self) -> str:
        """Name the fold, for a report."""
        return f"test is fold {self.fold} of {self.folds} (numbered from 0)"

    def held_out(
        self, labels: NDArray[np.int64], groups: Sequence[str] | None, seed: int, where: str
    ) -> NDArray[np.bool_]:
        """Say which images are for testing, shape ``(N,)``.

        Args:
            labels: Class of each image, shape ``(N,)``.
            groups: Group of each image, if there are any.
            seed: Seed of the folds.
            where: Name of the images, for messages.

        Raises:
            DataError: If a class has fewer images, or groups, than there are folds.

        Source: ``StratifiedKFold`` and ``StratifiedGroupKFold`` of scikit-learn.
        """
        from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # takes as long as all else here

        units = np.unique([range(len(labels))] if groups is None else groups, return_inverse=True)[1].ravel()
        for label in np.unique(labels):
            count = len(np.unique(units[labels == label]))
            if count < self.folds:
                what = "images" if groups is None else "groups"
                raise DataError(
                    f"{where}: a class has {count} {what}, too few for {self.folds} folds; lower "
                    "data.cross_validation.folds, or give every class as many"
                )
        kind = StratifiedKFold if groups is None else StratifiedGroupKFold
        parts = kind(self.folds, shuffle=True, random_state=seed).split(labels, labels, groups)
        held_out = np.zeros(len(labels), dtype=bool)
        held_out[list(parts)[self.fold][1]] = True
        if len(np.unique(labels[~held_out])) < len(np.unique(labels)):
            raise DataError(
                f"{where}: with these groups, fold {self.fold} of {self.folds} holds all images of a class; choose "
                "another data.test_seed, or other data.cross_validation.folds"
            )
        return held_out
