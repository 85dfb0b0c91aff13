"""What 128 snapshots of one super-net tell about 64 cells, from the published table alone: no training.

    SPARSENAS_DATA=... python -m studies.weight_sharing_64.run --out studies/weight_sharing_64

Compares with stand-alone accuracy (200 epochs of CIFAR-10, means over ten seeds): a stand-alone training of every cell,
drawn with the published mean and deviation; each snapshot of the shared accuracies; their consensus; and rankings that
cost nothing. All of it over all cells, among the 27 without pooling, among the others, and across the two.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sparsenas.complexity import candidate_costs
from sparsenas.networks import NormOptions, SuperNet
from sparsenas.ranking import consensus_rank, kendall_tau, top_rank, trivial_scores
from sparsenas.spaces import WeightSharing64Space
from sparsenas.tables import WeightSharing64Table
from studies.common import Fields, main, parser

TRAININGS = 300
#: Lengths of a consensus in snapshots; 64 is one cycle over all cells.
LENGTHS = (4, 16, 64, 128)
#: Figures over ten instances: tau with truth and its deviation, T1R, T3R.
#: Source: Zhang et al., Deeper Insights into Weight Sharing (2020).
PUBLISHED = {
    "published: one training": (0.7985, 0.0257, 4.80, 1.60),
    "published: one super-net, last 64 mini-batches": (0.4988, 0.1497, "", ""),
    "published: one super-net, last 10 epochs": (0.5053, 0.1399, 15.20, 13.20),
    "published: ten super-nets, other seeds": (0.4567, 0.1478, 18.50, 17.60),
    "published: ten super-nets, order reshuffled": (0.5108, 0.0665, 15.60, 11.20),
}

Floats = NDArray[np.float64]


def study(args: Sequence[str] | None = None) -> int:
    """Rank the cells in all ways."""
    options = parser(__doc__).parse_args(args)
    return main(lambda: rows(WeightSharing64Table()), options.out)


def rows(table: WeightSharing64Table) -> Iterator[Fields]:
    """A row for each ranking of the cells, then the published figures."""
    truth, shared = table.accuracies("cifar10", "test", 200), table.snapshots
    free = np.array(["1" not in text for text in table.texts])
    drawn = np.random.default_rng(0).normal(truth, table.deviations, (TRAININGS, len(truth)))
    every = np.ones_like(free)
    # of the cells of a subset, as a consensus is over ranks among them
    rankings: dict[str, list[Callable[[NDArray[np.bool_]], Floats]]] = {
        "one training": [partial(part, row) for row in drawn],
        "one snapshot": [partial(part, row) for row in shared],
    }
    for length in LENGTHS:
        ends = range(length, len(shared) + 1)
        rankings[f"consensus of {length} snapshots"] = [partial(consensus, shared[end - length : end]) for end in ends]
    free_scores = trivial_scores(table, {"parameters": parameters(table)})
    rankings |= {name: [partial(part, scores)] for name, scores in free_scores.items()}
    for name, of in rankings.items():
        for number, ranking in enumerate(of):
            found: Fields = {"ranking": name, "seed": number}
            for subset, held in (("", every), ("_without_pooling", free), ("_with_pooling", ~free)):
                scores = ranking(held)
                # edges without pooling are the same for all cells that do not pool, and rank nothing
                found[f"tau{subset}"] = kendall_tau(scores, truth[held]) if np.ptp(scores) else ""
            scores = ranking(every)
            found["across"] = float(np.sign(scores[free][:, None] - scores[~free]).mean())
            yield found | {f"t{n}r": top_rank(scores, truth, n) for n in (1, 3)}
    for name, (tau, deviation, first, third) in PUBLISHED.items():
        yield {"ranking": name, "seed": "", "tau": tau, "tau_sd": deviation, "t1r": first, "t3r": third}


def part(scores: Floats, held: NDArray[np.bool_]) -> Floats:
    """Scores of some cells."""
    return scores[held]


def consensus(snapshots: Floats, held: NDArray[np.bool_]) -> Floats:
    """Mean ranks of some cells among them; more is better."""
    return -consensus_rank(snapshots[:, held])


def parameters(table: WeightSharing64Table) -> Floats:
    """Parameters of every cell's network, at the published size."""
    space, norms = WeightSharing64Space(), NormOptions(affine=False, append="pools")
    costs = candidate_costs(SuperNet(space, (3, 32, 32), 10, 16, 4, norms=norms))
    (of_candidates,) = costs.parameters
    kept = [space.support(genotype)[0] for genotype in table]
    return np.array([costs.base_parameters + sum(of_candidates[i] for i in indices) for indices in kept], float)


if __name__ == "__main__":
    sys.exit(study())
