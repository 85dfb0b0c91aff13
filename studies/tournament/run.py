"""Is what a tournament finds, and trains, as good as what people would pick, at equal cost and in the same seconds?

    SPARSENAS_DATA=... python -m studies.tournament.run --out runs/tournament [--seeds 3] [--arms found vgg_like ...]

Six data sets, one budget, 180 processor seconds for each run, searching included. The prior of a data set was learned
on the other five, see prior.py. Runs of a data set and seed follow each other, so that a machine's mood hits all arms.
A stopped study goes on when it is started again with the same ``--out``. Run nothing else meanwhile.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sparsenas.api.compare import image_session
from sparsenas.comparison.images import ImagePlan, ImageRecord
from studies.common import Fields, main, parser
from studies.stage_space.run import judged
from studies.tournament.prior import SIDES

HERE = Path(__file__).parent
PLAN = HERE / "plan.yaml"


def study(args: Sequence[str] | None = None) -> int:
    """Run what is missing."""
    made = parser(__doc__)
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("--sets", nargs="+", default=list(SIDES), choices=list(SIDES))
    made.add_argument("--arms", nargs="+", default=None)
    made.add_argument("--seconds", type=float, default=180.0)
    options = made.parse_args(args)

    def found() -> list[Fields]:
        return list(runs(options.out, options.jobs, options.seeds, options.sets, options.arms, options.seconds))

    return main(found, options.out)


def runs(
    out: Path, jobs: int, seeds: int, sets: Sequence[str], arms: Sequence[str] | None, seconds: float
) -> Iterator[Fields]:
    """All runs of the study, as rows.

    Raises:
        DataError: If one failed.
    """
    for seed in range(seeds):
        for data in sets:
            records = judged(plan_of(data, seed, arms, seconds), out / f"{data}-{seconds:g}-{seed}", jobs)
            yield from (row(data, record, seconds) for record in records)


def plan_of(data: str, seed: int, arms: Sequence[str] | None, seconds: float) -> ImagePlan:
    """The plan of one data set and seed, whose prior knows nothing of this data set."""
    plan = image_session(str(PLAN), HERE).plan
    images: dict[str, Any] = {**plan.data["init_args"], "path": f"${{SPARSENAS_DATA}}/{data}.npz"}
    entries = {name: entry for name, entry in plan.entries.items() if arms is None or name in arms}
    for name, entry in entries.items():
        if entry.kind == "tournament":
            # from the root of the repository, so that runs of another clone count
            options = {**entry.options, "prior": f"studies/tournament/priors/{data}.json"}
            entries[name] = entry._replace(options=options)
    return replace(
        plan,
        data={**plan.data, "init_args": images},
        seconds=seconds,
        seeds=1,
        first_seed=seed,
        entries=entries,
    )


def row(data: str, record: ImageRecord, seconds: float) -> Fields:
    """A run as a line of the table."""
    kept = ("seed", "accuracy", "validation", "parameters", "macs", "channels", "epochs", "milliseconds", "deciding")
    values = {name: getattr(record, name) for name in kept}
    rest = {"seconds": seconds, "remark": record.remark, "genotype": record.genotype}
    return {"data": data, "arm": record.searcher, **values, **rest}


if __name__ == "__main__":
    sys.exit(study())
