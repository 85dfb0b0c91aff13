"""Weak labels of super-nets in spaces without a table: what they tell, and what they teach the ranker of AceNAS."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparsenas.comparison.predictors import KnownNetworks, judge, networks_of_file
from sparsenas.predictors import AceNasRanker, iterate
from sparsenas.ranking import kendall_tau, spearman
from sparsenas.spaces import Genotype
from studies.common import Fields
from studies.predictors.pools import EPOCHS, POOLS

FOLDER = Path(__file__).parent / "pools"
#: Networks to learn from, and to order.
SIZES, TEST = (10, 20, 30), 30
#: Networks that a loop trains to learn from, its rounds, and those that it trains in the end.
BUDGET, ROUNDS, TOP = 20, 4, 4
#: Labels that AceNAS' encoder learns first, by the name of the arm: columns of the file of weak labels.
TAUGHT: dict[str, tuple[str, ...]] = {
    "AceNAS": (),
    "AceNAS, sizes": ("parameters", "flops"),
    "AceNAS, shared accuracy and sizes": ("rsws_0", "parameters", "flops"),
    "AceNAS, shared accuracy": ("rsws_0",),
}


class WeakLabels(NamedTuple):
    """Networks that nobody trained, and their labels by name, each of shape ``(N,)``."""

    genotypes: tuple[Genotype, ...]
    labels: dict[str, NDArray[np.float64]]


@cache
def pool(arm: str) -> KnownNetworks:
    """Networks that were trained."""
    return networks_of_file(FOLDER / f"pool_{arm}.npz", list(range(1, EPOCHS)), POOLS[arm].space)


@cache
def weak_labels(arm: str) -> WeakLabels:
    """Networks that were not, with their weak labels."""
    with np.load(FOLDER / f"weak_{arm}.npz") as file:
        genotypes = tuple(Genotype.from_json(str(text)) for text in file["genotypes"])
        return WeakLabels(genotypes, {name: file[name].astype(np.float64) for name in file if name != "genotypes"})


def ranker(arm: str, taught: str, seed: int) -> AceNasRanker:
    """AceNAS' ranker, whose encoder has learned weak labels."""
    made, columns = AceNasRanker(pool(arm).encoding, seed=seed), TAUGHT[taught]
    if columns:
        weak = weak_labels(arm)
        names = {column: "shared_accuracy" if column.startswith("rsws") else column for column in columns}
        made.pretrain(weak.genotypes, {names[column]: weak.labels[column] for column in columns})
    return made


def weak(arm: str, taught: str, seed: int) -> list[Fields]:
    """Judge a ranker at all sizes, and by a loop within the pool."""
    known, made = pool(arm), ranker(arm, taught, seed)
    rows: list[Fields] = [
        {"part": f"weak_{arm}", "arm": taught, "seed": seed, "size": point.size, **point.figures}
        for point in judge(lambda: made, known, SIZES, TEST, seed, 600.0)
    ]
    truth = dict(zip(known.genotypes, known.targets.tolist(), strict=True))
    found = iterate(known.genotypes, truth.__getitem__, made, BUDGET, ROUNDS, TOP, seed=seed)
    rows.append(
        {
            "part": f"loop_{arm}",
            "arm": taught,
            "seed": seed,
            "regret": float(known.targets.max() - found.accuracy),
            "trained": found.cost,
        }
    )
    return rows


def by_chance(arm: str, seed: int) -> Fields:
    """The best of as many networks of the pool, drawn at random."""
    targets = pool(arm).targets
    drawn = np.random.default_rng((seed, BUDGET)).permutation(targets)[: BUDGET + TOP]
    regret = float(targets.max() - drawn.max())
    return {"part": f"loop_{arm}", "arm": "random", "seed": seed, "regret": regret, "trained": BUDGET + TOP}


def shared(arm: str) -> list[Fields]:
    """What the shared accuracies of each super-net, and the sizes, tell of the accuracy of all networks of a pool."""
    known, rows = pool(arm), []
    with np.load(FOLDER / f"pool_{arm}.npz") as file:
        columns = {name: file[name].astype(np.float64) for name in file if name.startswith(("rsws", "one_shot"))}
        columns |= {name: file[name].astype(np.float64) for name in ("parameters", "flops")}
        for name, scores in columns.items():
            kind, _, seed = name.rpartition("_") if name[-1].isdigit() else (name, "", "0")
            figures = {"tau": kendall_tau(scores, known.targets), "spearman": spearman(scores, known.targets)}
            rows.append({"part": f"shared_{arm}", "arm": kind, "seed": int(seed), **figures})
    return rows
