"""Under a cap on parameters, are cells found by measuring better than random ones? Train everything alike, test once.

    SPARSENAS_DATA=... python -m studies.capped_quality.run --out runs/capped_quality

The cap is the median of random cells at the size of ``two_stage_search_quality``, whose recipe trains every cell here.
Nothing is chosen on test data. A stopped study goes on where it was when it is started again with the same ``--out``.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sparsenas.complexity import CandidateCosts, candidate_costs
from sparsenas.networks import NormOptions, SuperNet
from sparsenas.search import Budget
from sparsenas.search.size_band import SizeBand
from sparsenas.spaces import DartsSpace, Support
from studies.common import DATA_FILE, Fields, complete, fit, main, parser
from studies.two_stage_search_quality.run import NETWORK, train

SPACE, DRAWS = DartsSpace(), 2001
RANDOM, BAND, MEASURED = "random cells", "random cells of the size band", "by measuring: four proxies, ties drawn"
TRAINED, LARGEST = "by measuring: 60 steps of 28 cells", "the cell with the most parameters"
#: Short trainings instead of scores of untrained networks, as options of the shipped config of the search.
SHORT_TRAININGS = [
    *("--model.measuring.proxies", '[{"class_path": "ShortTraining"}]'),
    *("--model.measuring.repeats", "1", "--model.measuring.count", "24"),
    *("--model.measuring.rounds", "1", "--model.measuring.proposals", "4"),
    *("--model.measuring.decoding.features", "[counts]", "--model.measuring.decoding.certainty", "0.5"),
    *("--model.measuring.decoding.trust", "all"),
]


def study(args: Sequence[str] | None = None) -> int:
    """Run what is missing."""
    made = parser(__doc__)
    arms = {"random": (RANDOM, 20), "band": (BAND, 5), "measured": (MEASURED, 5), "trained": (TRAINED, 5)}
    for name, (arm, count) in {**arms, "largest": (LARGEST, 0)}.items():
        made.add_argument(f"--{name}", type=int, default=count, help=arm)
    options = made.parse_args(args)
    counts = {arm: getattr(options, name) for name, (arm, _) in {**arms, "largest": (LARGEST, 0)}.items()}
    jobs = [{"arm": arm, "seed": seed} for arm, count in counts.items() for seed in range(count)]
    return main(lambda: complete("studies.capped_quality.run", jobs, options.out, options.jobs), options.out)


def run(job: Fields, folder: Path) -> Fields:
    """Find the cell of a job, train it, test it once."""
    found = find(job["arm"], job["seed"], folder)
    return found | train(found["genotype"], job["seed"], folder)


def find(arm: str, seed: int, folder: Path) -> Fields:
    """The cell of a job, with what finding it cost."""
    cap, costs = median_cap()
    if arm in (MEASURED, TRAINED):
        options = [*NETWORK, "--data.path", DATA_FILE, "--model.budget.max_params", str(cap)]
        options += SHORT_TRAININGS if arm == TRAINED else []
        start = time.perf_counter()
        search = fit(["search_measured_cifar10_16px", *options], folder / "search", seed).model
        seconds = time.perf_counter() - start
        return {"genotype": search.genotype.to_json(), "search_seconds": seconds, "summary": search.summary()}
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
    return {"genotype": SPACE.genotype(support).to_json()}


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
