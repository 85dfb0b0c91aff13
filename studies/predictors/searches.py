"""Searches on NAS-Bench-201 in which a predictor says what to train next."""

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparsenas.predictors import (
    AceNasRanker,
    GuidedStrategy,
    RandomStrategy,
    RegularizedEvolution,
    SearchStrategy,
    guided_search,
    iterate,
    make_predictor,
)
from sparsenas.ranking import kendall_tau, ndcg, relevance
from sparsenas.spaces import Encoding, Genotype, NasBench201Space, encoding_of
from sparsenas.tables import NasBench201Table
from studies.common import Fields

#: Networks that are trained, and after how many of them is looked.
BUDGET, LOOKS = 150, (50, 100, 150)
#: Cells whose sizes AceNAS' encoder learns first.
WEAK = 400
SPACE = NasBench201Space()


class Benchmark(NamedTuple):
    """Accuracies of all cells in percent, after 200 epochs on half of CIFAR-10's training images."""

    genotypes: tuple[Genotype, ...]
    rows: dict[Genotype, int]
    valid: NDArray[np.float64]
    test: NDArray[np.float64]
    encoding: Encoding


@cache
def benchmark() -> Benchmark:
    """Read the table."""
    table = NasBench201Table()
    valid, test = (table.accuracies("cifar10-valid", split, 200) for split in ("valid", "test"))
    rows = {genotype: row for row, genotype in enumerate(table)}
    return Benchmark(table.genotypes, rows, valid, test, encoding_of(SPACE))


same = lru_cache(maxsize=None)(SPACE.isomorphism)


def _guide(predictor: str, **options: Any) -> Callable[[], SearchStrategy]:
    return lambda: GuidedStrategy(
        SPACE, lambda seed: make_predictor(predictor, benchmark().encoding, seed), same, **options
    )


#: Strategies by name; every one trains 20 random cells first.
GUIDED: dict[str, Callable[[], SearchStrategy]] = {
    "random": lambda: RandomStrategy(SPACE, same),
    "regularized evolution": lambda: RegularizedEvolution(SPACE, same),
    "evolution, sparse_regression": _guide("sparse_regression"),
    "evolution, weisfeiler_lehman": _guide("weisfeiler_lehman"),
    "evolution, random_forest": _guide("random_forest"),
    "evolution, xgboost": _guide("xgboost"),
    "Thompson, random_forest": _guide("random_forest", acquisition="thompson", ensemble=3),
    "Thompson, lightgbm": _guide("lightgbm", acquisition="thompson", ensemble=3),
    "Thompson, random cells, random_forest": _guide(
        "random_forest", acquisition="thompson", candidates="random", ensemble=3
    ),
}
#: Options of AceNAS' ranker by name, and whether its encoder learns sizes first.
FINE_TUNED: dict[str, tuple[dict[str, Any], bool]] = {
    "AceNAS": ({}, False),
    "AceNAS, released ranks": ({"rank_by": "target"}, False),
    "AceNAS, squared error": ({"loss": "mse"}, False),
    "AceNAS, pre-trained": ({}, True),
    "AceNAS, squared error, pre-trained": ({"loss": "mse"}, True),
}


def guided(arm: str, seed: int) -> Fields:
    """Search; the regret is in points, below the best of all cells."""
    known = benchmark()
    batch = 1 if arm == "regularized evolution" else 10
    trained = guided_search(GUIDED[arm](), lambda cell: float(known.valid[known.rows[cell]]), BUDGET, 20, batch, seed)
    rows = np.array([known.rows[cell] for cell in trained])
    found: Fields = {"part": "guided", "arm": arm, "seed": seed}
    for look in LOOKS:
        best = rows[known.valid[rows[:look]].argmax()]
        found[f"regret_{look}"] = float(known.valid.max() - known.valid[best])
        found[f"test_{look}"] = float(known.test[best])
    return found


def fine_tuned(arm: str, seed: int) -> Fields:
    """Train a hundred cells in AceNAS' rounds, and rank all others."""
    known, (options, pretrained) = benchmark(), FINE_TUNED[arm]
    ranker = AceNasRanker(known.encoding, seed=seed, **options)
    if pretrained:
        rows = np.random.default_rng((seed, WEAK)).permutation(len(known.genotypes))[:WEAK]
        cells = [known.genotypes[row] for row in rows]
        sizes = {"parameters": SPACE.parameters, "flops": SPACE.flops}
        ranker.pretrain(cells, {name: np.array([size(cell) for cell in cells]) for name, size in sizes.items()})
    found = iterate(known.genotypes, lambda cell: float(known.valid[known.rows[cell]]), ranker, seed=seed)
    return {
        "part": "acenas",
        "arm": arm,
        "seed": seed,
        "tau": kendall_tau(found.scores, known.valid),
        "ndcg_10": ndcg(found.scores, relevance(known.valid), 10),
        "regret_10": float(known.valid.max() - found.top_accuracies.max()),
        "regret": float(known.valid.max() - found.accuracy),
        "trained": found.cost,
    }
