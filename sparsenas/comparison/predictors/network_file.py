"""A file of networks that were trained, with their whole learning curves and scores."""

from collections.abc import Sequence
from math import ceil
from os.path import expandvars
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from sparsenas.comparison.predictors.known_networks import CURVES, Floats, KnownNetworks, Look, ranked_last
from sparsenas.errors import ConfigError, DataError, GenotypeError
from sparsenas.predictors import SCORES
from sparsenas.spaces import DartsSpace, Genotype, SearchSpace, encoding_of, parse_genotype

#: The mean of the last epochs is the final accuracy, as single ones are noisy: a twentieth of all, but at most so many.
MOST_LAST, SHARE = 10, 0.05


def networks_of_file(path: str | Path, early: Sequence[int], space: SearchSpace = DartsSpace()) -> KnownNetworks:
    """Read networks of one space.

    Args:
        path: File ``.npz`` with ``genotypes``, ``R`` texts, and ``curves``, shape ``(R, T)``, validation accuracies
            after every epoch in percent, or whole numbers of a hundredth of that. It may hold ``train_loss`` and
            ``val_loss``, shape ``(R, T)``, and :data:`~sparsenas.predictors.SCORES` by name, shape ``(R,)``, more is
            better, or minus infinity. ``curves_214`` and ``genotype_214`` are taken as well; other arrays are left.
        early: Epochs up to which curves are known, at the points at which predictors are asked.
        space: Their space.

    Raises:
        DataError: If the file cannot be read, or is another one.
        ConfigError: If an epoch is not on the curves, or among the last ones, whose mean is the final accuracy.
    """
    found = Path(expandvars(path)).expanduser()
    try:
        with found.open("rb") as opened, np.load(opened) as file:
            named = {name.partition("_")[0].rstrip("s"): name for name in file if name in _NAMES}
            texts, accuracy = file[named["genotype"]], file[named["curve"]]
            others = {name: file[name] for name in (*CURVES[:2], *SCORES) if name in file}
    except (OSError, EOFError, TypeError, ValueError, KeyError, BadZipFile) as error:  # TypeError of a single array
        raise DataError(f"{found}: no genotypes with learning curves can be read ({error})") from error
    if accuracy.dtype.kind in "iu":
        accuracy = accuracy / 100
    curves = {
        name: _checked(found, name, values, len(texts))
        for name, values in {"val_accuracy": accuracy, **others}.items()
        if name in CURVES
    }
    scores = {name: _scores(found, name, values, len(texts)) for name, values in others.items() if name in SCORES}
    epochs = accuracy.shape[1]
    if any(values.shape != accuracy.shape for values in curves.values()):
        shapes = ", ".join(f"{name} {values.shape}" for name, values in curves.items())
        raise DataError(f"{found}: curves have different shapes: {shapes}")
    last = min(MOST_LAST, ceil(SHARE * epochs))
    if not early or list(early) != sorted(set(early)) or early[0] < 1 or early[-1] > epochs - last:
        raise ConfigError(
            f"early is {list(early)}; name ascending epochs up to {epochs - last}: curves have {epochs}, of which the "
            f"last {last} are the final accuracy"
        )
    genotypes = [_genotype(str(text), space, f"{found}: genotype {row}") for row, text in enumerate(texts, start=1)]
    return KnownNetworks(
        genotypes=tuple(genotypes),
        encoding=encoding_of(space),
        targets=accuracy[:, -last:].mean(1),
        epochs=epochs,
        classes=np.unique([genotype.to_json() for genotype in genotypes], return_inverse=True)[1],
        curves=curves,
        looks=tuple(Look(epochs, epochs, epochs) for epochs in early),
        scores=scores,
    )


#: Arrays that are read, beside others by their names.
_NAMES = ("curves", "genotypes", "curves_214", "genotype_214")


def _checked(path: Path, name: str, values: NDArray[Any], count: int) -> Floats:
    if values.dtype.kind != "f" or not np.isfinite(values).all():
        raise DataError(f"{path}: {name}: values are no numbers; leave these networks out")
    if values.ndim != 2 or len(values) != count:
        raise DataError(f"{path}: {name}: shape {values.shape}, but there are {count} genotypes")
    return np.asarray(values, dtype=np.float64)


def _scores(path: Path, name: str, values: NDArray[Any], count: int) -> Floats:
    if values.dtype.kind not in "iuf" or values.shape != (count,):
        raise DataError(f"{path}: {name}: {values.dtype} of shape {values.shape}; give each network a number")
    if np.isnan(values).any() or np.isposinf(values).any():
        raise DataError(f"{path}: {name}: values are NaN or infinite; leave these networks out")
    return ranked_last(values.astype(np.float64))


def _genotype(text: str, space: SearchSpace, where: str) -> Genotype:
    try:
        genotype = parse_genotype(text, where)
        space.validate(genotype)
    except GenotypeError as error:
        told = str(error)
        raise DataError(told if told.startswith(where) else f"{where}: {told}") from error
    return genotype
