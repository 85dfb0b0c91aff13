"""Folds of images: each is for testing once."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsenas.data.labels import Labels, class_counts, members, rarest
from sparsenas.errors import ConfigError, DataError


@dataclass(frozen=True)
class CrossValidation:
    """Options of cross-validation: as many runs as there are folds, each tested on another one.

    Folds have about the same number of images, and the same share of every class; of an image's labels the rarest
    counts, as scikit-learn has no such folds for several. A group is whole in one fold. Folds are drawn from all images
    together, so they stay the same only while no image arrives.

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

    def held_out(self, labels: Labels, groups: Sequence[str] | None, seed: int, where: str) -> NDArray[np.bool_]:
        """Say which images are for testing, shape ``(N,)``.

        Args:
            labels: Class of each image, or several: then folds have the same share of each image's rarest class.
            groups: Group of each image, if there are any.
            seed: Seed of the folds.
            where: Name of the images, for messages.

        Raises:
            DataError: If a class has fewer images, or groups, than there are folds.

        Source: ``StratifiedKFold`` and ``StratifiedGroupKFold`` of scikit-learn.
        """
        from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # takes as long as all else here

        strata = rarest(labels)
        classes = labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1
        units = np.unique([range(len(labels))] if groups is None else groups, return_inverse=True)[1].ravel()
        for label in range(classes):
            count = len(np.unique(units[members(labels, label)]))
            if count < self.folds:
                what = "images" if groups is None else "groups"
                raise DataError(
                    f"{where}: a class has {count} {what}, too few for {self.folds} folds; lower "
                    "data.cross_validation.folds, or give every class as many"
                )
        kind = StratifiedKFold if groups is None else StratifiedGroupKFold
        with warnings.catch_warnings():
            # images whose rarest class is one that others share may be few; each class has enough
            warnings.filterwarnings("ignore", message="The least populated class in y", category=UserWarning)
            parts = list(kind(self.folds, shuffle=True, random_state=seed).split(strata, strata, groups))
        held_out = np.zeros(len(labels), dtype=bool)
        held_out[parts[self.fold][1]] = True
        if not class_counts(labels[~held_out], classes).all():
            raise DataError(
                f"{where}: fold {self.fold} of {self.folds} holds all images of a class, since groups or labels go "
                "together; choose another data.test_seed, or other data.cross_validation.folds"
            )
        return held_out
