"""Does a search cost more when it chooses from more candidates?

    python benchmarks/candidates.py [--json FILE]

Two-stage iterations of super-nets with 7 to 56 primitives per edge, all at the same cell, in turn: what runs is the
same, what is chosen from is not. Then cells of 4 to 12 nodes, each against the limit of its own discrete network (see
``search_step.py``), because these networks themselves grow.
"""

import argparse
import sys
from collections.abc import Callable, Sequence

import torch
from harness import Report, Samples, parser, run
from search_step import add_setup, alternate, idle, in_turn, size

from sparsenas.imports import trust
from sparsenas.networks import NormOptions, Operation, make_operation
from sparsenas.search import RecoveredSampling, SupportGradient, TwoStageSearch
from sparsenas.spaces import DARTS_PRIMITIVES, Candidate, DartsSpace

PRIMITIVES = (7, 14, 28, 56)
NODES = (4, 8, 12)

#: Iterations of one super-net before the next one has its turn.
TURN = 4


def __getattr__(name: str) -> Callable[[int, int, NormOptions], Operation]:
    """Primitives ``candidates:NAME__COPY``: further copies of those of DARTS."""
    primitive, _, copy = name.partition("__")
    if primitive not in DARTS_PRIMITIVES or not copy:
        raise AttributeError(name)
    return lambda channels, stride, norms: make_operation(primitive, channels, stride, norms)


def main(args: Sequence[str] | None = None) -> int:
    """Time everything and print the tables."""
    options = parser(__doc__, repeats=16)
    add_setup(options)
    chosen = options.parse_args(args)
    trust("candidates")  # this module, whose copies of primitives are named below
    return run("candidates", chosen, lambda report: measure(chosen, report))


def measure(options: argparse.Namespace, report: Report) -> None:
    """Time all sizes."""
    searches = {f"{count} primitives": make(options, DartsSpace(primitives=named(count))) for count in PRIMITIVES}
    for search in searches.values():
        go_to(search, searches["7 primitives"])
    watches = in_turn(searches, options, TURN)
    seconds: Samples = {name: watch.seconds["iteration"] for name, watch in watches.items()}
    median = report.seconds("two-stage iteration at the same cell", seconds)
    peak = {name: watch.bytes["iteration"] for name, watch in watches.items()}
    for name, search in searches.items():
        stored = sum(p.numel() * p.element_size() for p in search.network.parameters())
        print(f"  {name:34}{stored / 2**20:10.1f} MiB of weights, {peak[name] / 2**20:.0f} MiB more at the peak")
    report.ratios["candidates_56_over_7"] = median["56 primitives"] / median["7 primitives"]
    report.ratios["candidates_56_over_7_memory"] = peak["56 primitives"] / peak["7 primitives"]
    del searches, search

    for nodes in NODES:
        watch = alternate(make(options, DartsSpace(nodes=nodes)), options)
        median = report.seconds(f"{nodes} nodes", watch.seconds)
        limit = median["training step"] + median["input-gradient pass"]
        report.ratios[f"two_stage_over_limit_{nodes}_nodes"] = median["iteration"] / limit


def named(count: int) -> list[str]:
    """So many primitives: those of DARTS, then copies of them."""
    copies = (f"candidates:{name}__{copy}" for copy in range(count) for name in DARTS_PRIMITIVES)
    return [*DARTS_PRIMITIVES, *(next(copies) for _ in range(count - len(DARTS_PRIMITIVES)))]


def make(options: argparse.Namespace, space: DartsSpace) -> TwoStageSearch:
    """A search that does all its work and moves nothing."""
    torch.manual_seed(0)
    return TwoStageSearch(
        **size(options),
        **idle(),
        space=space,
        signal=SupportGradient(),
        sampling=RecoveredSampling(),
    )


def go_to(search: TwoStageSearch, other: TwoStageSearch) -> None:
    """Give a search the architecture of another one, whose primitives it has too."""
    wanted: list[list[Candidate]] = [
        [block.candidates[index] for index in kept]
        for block, kept in zip(other.space.blocks, other.support, strict=True)
    ]
    architecture = search.architecture
    code = torch.zeros_like(architecture.code)
    for block, row, candidates in zip(search.space.blocks, code, wanted, strict=True):
        for candidate in candidates:
            row[block.candidates.index(candidate)] = 0.7
    with torch.no_grad():
        architecture.b.copy_((architecture.dictionary @ code[:, :, None])[:, :, 0])
    architecture.recover()
    assert search.genotype.to_json() == other.genotype.to_json()


if __name__ == "__main__":
    sys.exit(main())
