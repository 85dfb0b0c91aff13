"""Predictors of accuracy, judged by published tables and curves: rankings, guided search, and AceNAS' loop.

    SPARSENAS_DATA=... python -m studies.predictors.run --out runs/predictors [--seeds 20]

The rankings are those of the shipped configs, and of the networks that pools.py trained; a folder of `rank-predictors`
under ``--out`` is taken as it is.
"""

import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from sparsenas.api.shipped import shipped_configs
from sparsenas.comparison.predictors import PredictorSession, read_predictor_plan
from studies.common import Fields, complete, main, parser
from studies.predictors.halving import ARMS, halving
from studies.predictors.pools import POOLS
from studies.predictors.searches import FINE_TUNED, GUIDED, fine_tuned, guided
from studies.predictors.weak_labels import TAUGHT, by_chance, shared, weak

MODULE = "studies.predictors.run"
#: Seeds of AceNAS' loop, which takes longer.
TUNED = 10


def study(args: Sequence[str] | None = None) -> int:
    """Rank all predictors, and search by some."""
    made = parser(__doc__)
    made.add_argument("--seeds", type=int, default=20, help="seeds of a guided search")
    options = made.parse_args(args)
    jobs: list[Fields] = [{"arm": arm, "seed": seed, "seeds": 1} for seed in range(TUNED) for arm in FINE_TUNED]
    jobs += [{"arm": arm, "seed": 0, "seeds": options.seeds} for arm in GUIDED]
    jobs += [{"arm": arm, "seed": 0, "seeds": TUNED, "pool": pool} for pool in POOLS for arm in TAUGHT]
    jobs += [{"arm": arm, "seed": 0, "seeds": options.seeds, "curves": True} for arm in ("random", *ARMS)]
    free = chain(
        chain.from_iterable(map(shared, POOLS)), (by_chance(pool, seed) for pool in POOLS for seed in range(TUNED))
    )
    return main(lambda: chain(rankings(options.out, options.jobs), searches(jobs, options), free), options.out)


def searches(jobs: Sequence[Fields], options: Namespace) -> Iterator[Fields]:
    """A row for each search."""
    return chain.from_iterable(job["rows"] for job in complete(MODULE, jobs, options.out, options.jobs))


def rankings(out: Path, parallel: int) -> Iterator[Fields]:
    """A row for each predictor, seed, size and look of all rankings."""
    own = {f"predictors_{path.stem}": path for path in sorted(Path(__file__).parent.glob("pool_*.yaml"))}
    for name, path in {**shipped_configs(), **own}.items():
        if name.startswith("predictors_"):
            session = PredictorSession(read_predictor_plan(path), out / name)
            session.open()
            session.make(session.chosen(), parallel)
            for record in session.finished():
                for point in record.points:
                    yield {
                        "part": name.removeprefix("predictors_"),
                        "arm": record.searcher,
                        "seed": record.seed,
                        "size": point.size,
                        "epoch": point.epoch,
                        "trained": point.trained,
                        "spent": point.spent,
                        **point.figures,
                        "fit_seconds": point.fit_seconds,
                        "query_seconds": point.query_seconds,
                        "problem": point.problem,
                    }


def run(job: Fields, folder: Path) -> Fields:
    """Searches by a predictor, AceNAS' loops, or rankers that learn weak labels first."""
    del folder
    first = job["seed"]
    if "pool" in job:
        seeds = range(first, first + job["seeds"])
        return {"rows": [row for seed in seeds for row in weak(job["pool"], job["arm"], seed)]}
    if "curves" in job:
        return {"rows": [halving(job["arm"], seed) for seed in range(first, first + job["seeds"])]}
    search = guided if job["arm"] in GUIDED else fine_tuned
    return {"rows": [search(job["arm"], seed) for seed in range(first, first + job["seeds"])]}


if __name__ == "__main__":
    sys.exit(study())
