"""Rankings without training. A search that does not beat them may only have found the largest cell."""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from sparsenas.errors import RankingError
from sparsenas.ranking.vectors import Floats, vector
from sparsenas.spaces import NONE, Genotype


def non_pool_edges(genotype: Genotype) -> int:
    """Count the kept candidates that are neither a pooling nor ``none``."""
    kept = [candidate.primitive for _, candidates in genotype.cells for candidate in candidates]
    return sum("pool" not in primitive and primitive != NONE for primitive in kept)


def trivial_scores(genotypes: Iterable[Genotype], costs: Mapping[str, ArrayLike]) -> dict[str, Floats]:
    """Compute scores without training: the costs of genotypes, and their number of edges that are not a pooling.

    A score that is equal for all genotypes ranks nothing and is left out.

    Args:
        genotypes: ``R`` genotypes.
        costs: Numbers of shape ``(R,)`` by name, e.g. ``parameters`` and ``flops``.

    Returns:
        Scores of shape ``(R,)`` by name, ready for :func:`comparison`.

    Raises:
        RankingError: If a cost is not a finite vector with an entry per genotype.
    """
    edges = np.array([non_pool_edges(genotype) for genotype in genotypes], np.float64)
    scores = {name: vector(values, name) for name, values in costs.items()} | {"non-pool edges": edges}
    for name, values in scores.items():
        if len(values) != len(edges):
            raise RankingError(
                f"{name} has {len(values)} items for {len(edges)} genotypes; give each genotype its cost"
            )
    return {name: values for name, values in scores.items() if len(np.unique(values)) > 1}
