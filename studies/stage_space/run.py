"""Which decisions of a stage network matter at equal cost and seconds, and what do short trainings tell?

    SPARSENAS_DATA=... python -m studies.stage_space.run --out runs/stage_space

On each of two data sets: every reference network with three seeds, 24 random networks, and eight of these again with
two more seeds; on the first also four random DARTS cells. All fill one budget. A stopped study goes on when it is
started again with the same ``--out``. Run nothing else meanwhile, since seconds are measured.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sparsenas.api.compare import image_session
from sparsenas.api.terminal import calm_terminal
from sparsenas.comparison.images import ImagePlan, ImageRecord, ImageSession
from sparsenas.comparison.images.contest import Entry
from sparsenas.errors import DataError
from sparsenas.spaces import DartsSpace
from studies.common import Fields, main, parser

PLAN = Path(__file__).parent / "plan.yaml"
#: Seconds of a run by the data set.
SECONDS = {"cifar10_12k_16px": 60.0, "eurosat_5k_16px": 20.0}
#: Random networks that are trained again, with how many seeds more, from which one on.
AGAIN, MORE_SEEDS, FIRST = 8, 2, 100
#: Random DARTS cells, and the cells of their networks.
DARTS, CELLS = 4, 5
#: Shares of the seconds after which the validation accuracy is kept.
EARLY = {"1/8": 1 / 8, "1/4": 1 / 4, "1/2": 1 / 2}


def study(args: Sequence[str] | None = None) -> int:
    """Run what is missing."""
    options = parser(__doc__).parse_args(args)
    return main(lambda: list(runs(options.out, options.jobs)), options.out)


def runs(out: Path, jobs: int) -> Iterator[Fields]:
    """All runs of the study, as rows."""
    for number, (data, seconds) in enumerate(SECONDS.items()):
        plan = image_session(str(PLAN), out).plan
        images: dict[str, Any] = {**plan.data["init_args"], "path": f"${{SPARSENAS_DATA}}/{data}.npz"}
        plan = replace(plan, data={**plan.data, "init_args": images}, seconds=seconds)
        records = judged(plan, out / data, jobs)
        records += judged(again(plan, records, darts=number == 0), out / f"{data}_again", jobs)
        names = {record.genotype: f"random{record.seed}" for record in records if record.searcher == "random"}
        yield from (row(data, names, record) for record in records if not record.impossible)


def judged(plan: ImagePlan, out: Path, jobs: int) -> list[ImageRecord]:
    """Make the runs of a plan that are missing; give all of them.

    Raises:
        DataError: If one failed.
    """
    session = ImageSession(plan, out)
    with calm_terminal():
        session.check()
        session.open()
        failures = session.make(session.chosen(), jobs)
        if failures:
            raise DataError("\n".join(map(str, failures)))
        session.write_report(session.finished())
    return list(session.finished())


def again(plan: ImagePlan, records: Sequence[ImageRecord], darts: bool) -> ImagePlan:
    """The plan of the first random networks with further seeds, and of DARTS cells."""
    drawn = {record.seed: record.genotype for record in records if record.searcher == "random"}
    entries = {
        f"random{seed}": Entry("genotype", {"genotype": drawn[seed], "cells": None, "stem": "cifar"}, None)
        for seed in sorted(drawn)[:AGAIN]
    }
    for number in range(DARTS if darts else 0):
        cell = DartsSpace().sample(np.random.default_rng(number)).to_json()
        entries[f"darts{number}"] = Entry("genotype", {"genotype": cell, "cells": CELLS, "stem": "small"}, 1)
    return replace(plan, entries=entries, seeds=MORE_SEEDS, first_seed=FIRST)


def row(data: str, names: dict[str, str], record: ImageRecord) -> Fields:
    """A run as a line of the table."""
    arm = record.searcher.rstrip("0123456789") if record.searcher.startswith(("random", "darts")) else record.searcher
    network = names.get(record.genotype, record.searcher)
    times, accuracies = np.array(record.curve).T
    early = {name: float(np.interp(share * record.seconds, times, accuracies)) for name, share in EARLY.items()}
    kept = ("seed", "accuracy", "validation", "parameters", "macs", "channels", "epochs", "milliseconds", "seconds")
    values = {name: getattr(record, name) for name in kept}
    return {"data": data, "arm": arm, "network": network, **values, **early, "genotype": record.genotype}


if __name__ == "__main__":
    sys.exit(study())
