"""Published zero-cost scores of cells of NAS-Bench-201."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sparsenas.errors import TableError
from sparsenas.spaces import Genotype, NasBench201Space
from sparsenas.tables.files import Floats, read_columns, table_path
from sparsenas.tables.releases import ZERO_COST

#: Most rows: cells of several spaces, on several data sets.
ZERO_COST_SIZE = 14_299

#: Column of each score. ``naswot``, ``jacobian_covariance``, ``parameters`` and ``flops`` have other names there.
ZERO_COST_COLUMNS = {
    "epe_nas": "epe_nas",
    "fisher": "fisher",
    "flops": "flops",
    "grad_norm": "grad_norm",
    "grasp": "grasp",
    "jacobian_covariance": "jacov",
    "l2_norm": "l2_norm",
    "naswot": "nwot",
    "parameters": "params",
    "plain": "plain",
    "snip": "snip",
    "synflow": "synflow",
    "zen": "zen",
}

#: Primitive of each digit, and edges ``(source, target)`` in the order of the digits.
DIGITS = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")
EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))


@dataclass(frozen=True, eq=False)
class PublishedScores:
    """Scores of untrained networks that others computed.

    Attributes:
        genotypes: Cells of NAS-Bench-201, ``N`` of them.
        rows: Their numbers in the order of the benchmark, by which :class:`NasBench201Table` is read, shape ``(N,)``.
        scores: Scores by name, shape ``(N,)`` each; NaN where the authors got no number.
    """

    genotypes: tuple[Genotype, ...]
    rows: np.ndarray
    scores: Mapping[str, Floats]


def read_published_scores(dataset: str, path: str | Path | None = None) -> PublishedScores:
    """Read the published zero-cost scores of cells of NAS-Bench-201.

    FLOPs and parameters are in millions, and ``synflow`` is a logarithm.

    Args:
        dataset: Data set, e.g. ``cifar10``.
        path: ``zero_cost_proxies.csv.gz``; by default in the folder ``SPARSENAS_DATA``.

    Raises:
        TableError: If the file is missing, damaged, or holds no such scores.

    Source: Krishnakumar et al., NAS-Bench-Suite-Zero (NeurIPS 2022), files of its development.
    """
    found = table_path(path, ZERO_COST)
    (spaces, datasets, texts, rows), columns = read_columns(
        found,
        ZERO_COST_SIZE,
        ("space", "dataset", "arch", "nb201_index"),
        (),
        gaps=ZERO_COST_COLUMNS.values(),
        sample=True,
    )
    missing = [column for column in ZERO_COST_COLUMNS.values() if column not in columns]
    if missing:
        raise TableError(f"{found}: no column {', '.join(missing)}: is it another table?")
    here = [row for row, space in enumerate(spaces) if space == "nb201"]
    kept = [row for row in here if datasets[row] == dataset]
    if not kept:
        known = dict.fromkeys(datasets[row] for row in here)
        raise TableError(f"{found}: no scores for {dataset!r}; it has {', '.join(known) or 'none of NAS-Bench-201'}")
    return PublishedScores(
        tuple(_genotype(found, row, texts[row]) for row in kept),
        np.array([_index(found, row, rows[row]) for row in kept]),
        {name: columns[column][kept] for name, column in ZERO_COST_COLUMNS.items()},
    )


def _genotype(path: Path, row: int, text: str) -> Genotype:
    """Read a cell such as ``(0,2,3,2,3,1)``."""
    if not re.fullmatch(r"\([0-4](,[0-4]){5}\)", text):
        raise TableError(f"{path}, line {row + 2}: arch is {text!r}; expected six digits 0 to 4, such as (0,2,3,2,3,1)")
    kept = {edge: DIGITS[int(digit)] for edge, digit in zip(EDGES, text[1:-1].split(","), strict=True)}
    nodes = ("".join(f"{kept[source, target]}~{source}|" for source in range(target)) for target in (1, 2, 3))
    return NasBench201Space().from_string("+".join(f"|{node}" for node in nodes))


def _index(path: Path, row: int, entry: str) -> int:
    if not re.fullmatch(r"\d+", entry):
        raise TableError(f"{path}, line {row + 2}: nb201_index is {entry!r}; it must be a number of NAS-Bench-201")
    return int(entry)
