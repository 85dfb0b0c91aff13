"""Tournaments judged by published tables: short trainings are looked up, so nothing is trained.

    SPARSENAS_DATA=... python -m studies.tournament_tables.run --out runs/tournament_tables [--seeds 100]

Every search sees early values only, and its winner is looked up afterwards. On NAS-Bench-Macro the early values are
made up, as the table has none.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from studies.common import Fields, complete, main, parser
from studies.tournament_tables.cells import on_nasbench201, on_nasbench_macro
from studies.tournament_tables.epochs import governed, short_trainings
from studies.tournament_tables.populations import nasbench101, nasbench201, nasbench_macro

MODULE = "studies.tournament_tables.run"
#: One job for each cap of a table of cells, and for each population of NAS-Bench-101.
PARTS = {"101": 2, "201": 6, "governor": 2, "macro": 6}


def study(args: Sequence[str] | None = None) -> int:
    """Hold all tournaments."""
    made = parser(__doc__)
    made.add_argument("--seeds", type=int, default=100, help="seeds of a search without a code on NAS-Bench-201")
    options = made.parse_args(args)
    jobs: list[Fields] = [
        {"arm": part, "seed": number, "seeds": options.seeds} for part, most in PARTS.items() for number in range(most)
    ]
    return main(lambda: rows(jobs, options.out, options.jobs), options.out)


def rows(jobs: Sequence[Fields], out: Path, parallel: int) -> Iterator[Fields]:
    """A row for each search under each cap, part by part; rows without a seed are exact means."""
    return chain.from_iterable(job["rows"] for job in complete(MODULE, jobs, out, parallel))


def run(job: Fields, folder: Path) -> Fields:
    """All searches of a part under one cap, or among one population; those that take longer have fewer seeds."""
    del folder
    number, seeds = job["seed"], job["seeds"]
    made: dict[str, Callable[[], Iterator[Fields]]] = {
        "201": lambda: on_nasbench201(nasbench201(), number, seeds, seeds // 2),
        "macro": lambda: on_nasbench_macro(nasbench_macro(), number, seeds // 5),
        "101": lambda: short_trainings(*nasbench101(), number, 4 * seeds),
        "governor": lambda: governed(*nasbench101(), number, seeds // 2),
    }
    return {"rows": list(made[job["arm"]]())}


if __name__ == "__main__":
    sys.exit(study())
