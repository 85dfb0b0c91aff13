"""Under a cap on parameters, are large cells better than random ones? Train everything alike, test once.

    SPARSENAS_DATA=... python -m studies.capped_quality.run --out runs/capped_quality

The cap is the median of random cells at the size of ``two_stage_search_quality``, whose recipe trains every cell here.
Nothing is chosen on test data. A stopped study goes on where it was when it is started again with the same ``--out``.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sparsenas.complexity import CandidateCosts, candidate_costs
from sparsenas.networks import NormOptions, SuperNet
from sparsenas.search import Budget
from sparsenas.search.size_band import SizeBand
from sparsenas.spaces import DartsSpace, Support
from studies.common import Fields, complete, main, parser
from studies.two_stage_search_quality.run import train

SPACE, DRAWS = DartsSpace(), 2001
RANDOM, BAND, LARGEST = "random cells", "random cells of the size band", "the cell with the most parameters"
#: Arms by option, and their runs.
ARMS = {"random": (RANDOM, 20), "band": (BAND, 5), "largest": (LARGEST, 0)}


def study(args: Sequence[str] | None = None) -> int:
    """Run what is missing."""
    made = parser(__doc__)
    for name, (arm, count) in ARMS.items():
        made.add_argument(f"--{name}", type=int, default=count, help=arm)
    options = made.parse_args(args)
    counts = {arm: getattr(options, name) for name, (arm, _) in ARMS.items()}
    jobs = [{"arm": arm, "seed": seed} for arm, count in counts.items() for seed in range(count)]
    return main(lambda: complete("studies.capped_quality.run", jobs, options.out, options.jobs), options.out)


def run(job: Fields, folder: Path) -> Fields:
    """Find the cell of a job, train it, test it once."""
    genotype = find(job["arm"], job["seed"])
    return {"genotype": genotype} | train(genotype, job["seed"], folder)


def find(arm: str, seed: int) -> str:
    """The cell of a job."""
    cap, costs = median_cap()
    limits = Budget(max_params=cap).constraints(SPACE, costs)
    band = SizeBand(SPACE, limits, costs.parameters, costs.base_parameters, seed=seed)
    rng = np.random.default_rng((seed, 3))
    if arm == LARGEST:
        support = band.largest
    elif arm == BAND:
        support = band.draw(2, rng)[1]  # the first is where the walk begins
    else:
        while parameters(support := SPACE.sample_support(rng), costs) > cap:
            pass
    return SPACE.genotype(support).to_json()


def median_cap() -> tuple[float, CandidateCosts]:
    """Median of the parameters of random cells, and the costs of the candidates, in the network that is trained."""
    costs = candidate_costs(SuperNet(SPACE, (3, 16, 16), 10, channels=8, cells=5, stem="small", norms=NormOptions()))
    rng = np.random.default_rng(0)
    return float(np.median([parameters(SPACE.sample_support(rng), costs) for _ in range(DRAWS)])), costs


def parameters(support: Support, costs: CandidateCosts) -> float:
    """Of the network of a support."""
    rows = zip(costs.parameters, support, strict=True)
    return costs.base_parameters + sum(row[index] for row, kept in rows for index in kept)


if __name__ == "__main__":
    sys.exit(study())
