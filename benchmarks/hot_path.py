"""Where the time of a search iteration goes: the operators by their own time, and a trace to look at.

    python benchmarks/hot_path.py [--mode one-stage] [--out FOLDER]

Profiles iterations of a search that runs the recovered support, and as many training steps of the discrete network.
With ``--out`` both traces are kept; https://ui.perfetto.dev shows them.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from harness import Report, parser, run
from search_step import add_setup, alternate, idle, one_stage, size
from torch.profiler import ProfilerActivity, profile

from sparsenas.search import RecoveredSampling, RelaxedSearch, SearchModule, SupportGradient, TwoStageSearch

#: Operators in a table.
TOP = 20


def main(args: Sequence[str] | None = None) -> int:
    """Profile, print the tables, and keep the traces if asked to."""
    options = parser(__doc__, repeats=4)
    add_setup(options)
    options.add_argument("--mode", choices=("two-stage", "one-stage", "darts"), default="two-stage")
    options.add_argument("--out", type=Path, metavar="FOLDER", help="also write the traces there")
    chosen = options.parse_args(args)
    return run("hot_path", chosen, lambda report: measure(chosen, report))


def measure(options: argparse.Namespace, report: Report) -> None:
    """Profile a search and its discrete network."""
    common = {**size(options), **idle()}
    search: SearchModule
    if options.mode == "two-stage":
        search = TwoStageSearch(signal=SupportGradient(), sampling=RecoveredSampling(), **common)
    elif options.mode == "one-stage":
        search = one_stage(options)
    else:
        search = RelaxedSearch(**common)

    lines: list[str] = []

    def at_end(bodies: Mapping[str, Callable[[], object]]) -> None:
        for name in ("iteration", "training step"):
            lines.extend(tabulate(name, bodies[name], options))

    watch = alternate(search, options, at_end=at_end)
    print("\n".join(lines))
    median = report.seconds(f"{options.mode} search, not profiled", watch.seconds)
    report.ratios["iteration_over_training_step"] = median["iteration"] / median["training step"]


def tabulate(name: str, body: Callable[[], object], options: argparse.Namespace) -> Iterator[str]:
    """Lines of a table: a body, profiled as often as there are rounds."""
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if options.device == "cuda" else [])
    with profile(activities=activities) as recorded:
        for _ in range(options.repeats):
            body()
    own = "self_device_time_total" if options.device == "cuda" else "self_cpu_time_total"
    events = sorted(recorded.key_averages(), key=lambda event: -getattr(event, own))
    total = sum(getattr(event, own) for event in events)
    yield (f"\n{name}: {total / 1e3 / options.repeats:.1f} ms in operators")
    for event in events[:TOP]:
        spent = getattr(event, own)
        each = f"{spent / 1e3 / options.repeats:9.2f} ms {100 * spent / total:5.1f} %"
        yield (f"  {event.key[:50]:52}{each}   {event.count / options.repeats:8.1f} calls")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        recorded.export_chrome_trace(str(options.out / f"{options.mode}_{name.replace(' ', '_')}.json"))


if __name__ == "__main__":
    sys.exit(main())
