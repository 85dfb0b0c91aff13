"""Search with a ranker that learns, round by round, from the networks that it liked best and from random ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sparsenas.errors import PredictorError
from sparsenas.predictors.acenas import AceNasRanker
from sparsenas.predictors.base import Floats
from sparsenas.spaces import Genotype


@dataclass(frozen=True)
class FineTuned:
    """Outcome of :func:`iterate`.

    Attributes:
        trained: Networks learned from, in their order.
        accuracies: Their accuracies, shape ``(B,)``.
        scores: Final score of every network, shape ``(N,)``.
        top: The ``K`` networks of highest score, best first; some may be among those learned from.
        top_accuracies: Their accuracies, shape ``(K,)``.
        best: Network of highest accuracy among all that were trained.
        accuracy: Its accuracy.
    """

    trained: tuple[Genotype, ...]
    accuracies: Floats
    scores: Floats
    top: tuple[Genotype, ...]
    top_accuracies: Floats
    best: Genotype
    accuracy: float

    @property
    def cost(self) -> int:
        """Number of networks that were trained: ``B``, and those of the top that are new, at most ``K``."""
        return len({*self.trained, *self.top})


def iterate(
    genotypes: Sequence[Genotype],
    measure: Callable[[Genotype], float],
    ranker: AceNasRanker,
    budget: int = 100,
    iterations: int = 5,
    top: int = 10,
    carry_on: bool = True,
    seed: int = 0,
) -> FineTuned:
    """Train networks in rounds, half of each round the best by the ranker of the round before, half at random.

    Networks of the first round are random. In the end the ``top`` networks of highest score are trained, too.

    Args:
        genotypes: Networks to choose from.
        measure: Trains one, and gives its accuracy; it is called once for each.
        ranker: Learns after each round. It may be pre-trained.
        budget: Networks to learn from, ``B``.
        iterations: Number of rounds, of which each adds ``budget / iterations``.
        top: Networks to train in the end, ``K``.
        carry_on: A round goes on from the weights of the last one, or begins anew.
        seed: Seeds the random networks.

    Raises:
        PredictorError: If the budget cannot be divided, there are too few networks, or an accuracy is no number.

    Source: Zhang et al., AceNAS (2021), and its code.
    """
    each = budget // iterations if iterations > 0 else 0
    if each * iterations != budget or each < ranker.least or top < 1:
        raise PredictorError(
            f"iterate: budget is {budget}, iterations {iterations} and top {top}; each iteration needs the same number "
            f"of networks, at least {ranker.least}, and the top one or more"
        )
    if len(set(genotypes)) < len(genotypes) or len(genotypes) < budget + top:
        raise PredictorError(
            f"iterate: {len(genotypes)} genotypes, {len(set(genotypes))} of them different; give at least "
            f"{budget + top}, each once"
        )
    rng = np.random.default_rng(seed)
    measured: dict[int, float] = {}
    scores = np.zeros(len(genotypes))
    for iteration in range(iterations):
        best = [row for row in _best_first(scores) if row not in measured][: each // 2 if iteration else 0]
        taken = {*measured, *best}
        rest = [row for row in rng.permutation(len(genotypes)).tolist() if row not in taken]
        for row in [*best, *rest][:each]:
            measured[row] = _finite(measure(genotypes[row]), genotypes[row])
        learn = ranker.refit if carry_on and iteration else ranker.fit
        learn([genotypes[row] for row in measured], np.array(list(measured.values())), {})
        scores = ranker.query(genotypes, {})
    trained = list(measured)
    chosen = _best_first(scores)[:top]
    for row in chosen:
        if row not in measured:
            measured[row] = _finite(measure(genotypes[row]), genotypes[row])
    best_row = max(measured, key=measured.__getitem__)
    return FineTuned(
        tuple(genotypes[row] for row in trained),
        np.array([measured[row] for row in trained]),
        scores,
        tuple(genotypes[row] for row in chosen),
        np.array([measured[row] for row in chosen]),
        genotypes[best_row],
        measured[best_row],
    )


def _finite(accuracy: float, genotype: Genotype) -> float:
    if not np.isfinite(accuracy):
        raise PredictorError(f"iterate: the accuracy of {genotype} is {accuracy}; give a number")
    return accuracy


def _best_first(scores: Floats) -> list[int]:
    """Rows by falling score, equal ones in their order."""
    found: list[int] = np.argsort(-scores, kind="stable").tolist()
    return found
