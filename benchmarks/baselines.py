"""What an iteration of the dense searches costs beside ours, on the same super-net code.

    python benchmarks/baselines.py [--json FILE]

DARTS of first order, PC-DARTS and GDAS mix or draw on every edge; two-stage search runs the recovered support only. All
have the same space, size, batch and optimizers that move nothing, and take turns of a few iterations each.
"""

import argparse
import sys
from collections.abc import Sequence

from harness import Report, parser, run
from search_step import add_setup, idle, in_turn, size

from sparsenas.search import (
    EdgeNormalizedRelaxation,
    GumbelRelaxation,
    RecoveredSampling,
    RelaxedSearch,
    SearchModule,
    SupportGradient,
    TwoStageSearch,
)

#: Iterations of a search before the next one has its turn.
TURN = 2


def main(args: Sequence[str] | None = None) -> int:
    """Time all searches and print the table."""
    options = parser(__doc__, repeats=6)
    add_setup(options)
    chosen = options.parse_args(args)
    return run("baselines", chosen, lambda report: measure(chosen, report))


def measure(options: argparse.Namespace, report: Report) -> None:
    """Time all searches."""
    common = {**size(options), **idle()}
    searches: dict[str, SearchModule] = {
        "two-stage": TwoStageSearch(signal=SupportGradient(), sampling=RecoveredSampling(), **common),
        "GDAS": RelaxedSearch(relaxation=GumbelRelaxation(), **common),
        "PC-DARTS": RelaxedSearch(relaxation=EdgeNormalizedRelaxation(), partial_channels=4, **common),
        "DARTS": RelaxedSearch(**common),
    }
    watches = in_turn(searches, options, TURN)
    median = report.seconds("iteration", {name: watch.seconds["iteration"] for name, watch in watches.items()})
    for name, watch in watches.items():
        peak = watch.bytes["iteration"]
        print(f"  {name:34}{peak / 2**20:10.0f} MiB at the peak beyond stored weights")
        if name != "two-stage":
            figure = f"{name.lower().replace('-', '_')}_over_ours"
            report.ratios[figure] = median[name] / median["two-stage"]
            report.ratios[f"{figure}_memory"] = peak / watches["two-stage"].bytes["iteration"]


if __name__ == "__main__":
    sys.exit(main())
