"""Rankings that cost nothing. A search that is not compared with them may only have found the largest cell."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from sparsenas.errors import RankingError
from sparsenas.ranking.correlation import percentile
from sparsenas.ranking.vectors import Floats, pair, vector
from sparsenas.spaces import NONE, Genotype


class Choice(NamedTuple):
    """What a rule chooses, in expectation over the items among which it leaves the choice open.

    Attributes:
        accuracy: Mean truth.
        percentile: Mean percentile among the feasible items, see :func:`percentile`.
        items: Number of items that the rule may choose.
        cost: What each of them costs.
    """

    accuracy: float
    percentile: float
    items: int
    cost: float


def largest_within_cap(costs: ArrayLike, truth: ArrayLike, cap: float = np.inf) -> Choice:
    """A random one of the most expensive items within a cap: the baseline of every search under a budget.

    Args:
        costs: E.g. parameters of every item of the space, shape ``(R,)``.
        truth: Shape ``(R,)``.
        cap: Items that cost more are not feasible; by default all are.

    Raises:
        RankingError: If shapes disagree, a value is not finite, or nothing is feasible.
    """
    cost, exact = pair(costs, truth, names=("costs", "truth"))
    feasible = cost <= cap
    if not feasible.any():
        raise RankingError(f"no item costs at most {cap:g}; the cheapest costs {cost.min():g}")
    most = cost[feasible].max()
    chosen = exact[cost == most]
    return Choice(float(chosen.mean()), float(percentile(chosen, exact[feasible]).mean()), len(chosen), float(most))


def non_pool_edges(genotype: Genotype) -> int:
    """Number of kept candidates that are neither a pooling nor ``none``."""
    kept = [candidate.primitive for _, candidates in genotype.cells for candidate in candidates]
    return sum("pool" not in primitive and primitive != NONE for primitive in kept)


def trivial_scores(genotypes: Iterable[Genotype], costs: Mapping[str, ArrayLike]) -> dict[str, Floats]:
    """Scores that need no training: what genotypes cost, and how many of their edges are no pooling.

    A score that is equal for all genotypes ranks nothing and is left out.

    Args:
        genotypes: ``R`` genotypes.
        costs: Name to numbers of shape ``(R,)``, e.g. ``parameters`` and ``flops``.

    Returns:
        Name to scores of shape ``(R,)``, to be rows of :func:`comparison`.

    Raises:
        RankingError: If costs are not finite vectors with an entry per genotype.
    """
    edges = np.array([non_pool_edges(genotype) for genotype in genotypes], np.float64)
    scores = {name: vector(values, name) for name, values in costs.items()} | {"non-pool edges": edges}
    for name, values in scores.items():
        if len(values) != len(edges):
            raise RankingError(
                f"{name} has {len(values)} items for {len(edges)} genotypes; give each genotype its cost"
            )
    return {name: values for name, values in scores.items() if len(np.unique(values)) > 1}
