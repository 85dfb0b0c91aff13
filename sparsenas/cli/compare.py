"""The command ``compare``."""

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from sparsenas.api.messages import user_errors
from sparsenas.api.shipped import find_config
from sparsenas.api.terminal import calm_terminal
from sparsenas.cli.parser import Parser
from sparsenas.comparison import (
    Failure,
    Plan,
    PlannedRun,
    Record,
    Report,
    append_record,
    draw_comparison,
    make_report,
    markdown,
    read_plan,
    read_records,
    run_all,
    summarize,
)
from sparsenas.comparison.records import planned_records
from sparsenas.drawing import save_figure
from sparsenas.errors import ConfigError
from sparsenas.files import write_atomically

#: Exit codes: a run has failed; Ctrl-C.
FAILED, INTERRUPTED = 1, 130


def compare(args: Sequence[str]) -> int:
    """Run searchers at equal cost, and report what they found.

    Args:
        args: Arguments after the command.

    Returns:
        Exit code: 0, 1 if a run failed, 130 after Ctrl-C.

    Raises:
        SparseNASError: If the user is to change something.
    """
    options = _parser().parse_args(args)
    if options.jobs < 1:
        raise ConfigError(f"--jobs is {options.jobs}; use at least 1")
    plan = read_plan(find_config(options.config))
    chosen = _chosen(plan, options.only)
    with calm_terminal(), user_errors():
        plan.read_table()  # found out now, not after an hour, that it is missing or another one
        out = _writable(options.out or Path("lightning_logs") / plan.name)
        finished = _finished(plan, out)
        there = {(record.searcher, record.seed) for record in finished}
        missing = [] if options.report else [run for run in chosen if (run.searcher, run.seed) not in there]
        failures: list[Failure] = []
        try:
            for failure in _make(missing, options.jobs, out):
                failures.append(failure)
        except KeyboardInterrupt:
            kept = len(_finished(plan, out))
            print(
                f"sparsenas: interrupted; {kept} of {len(plan.runs)} runs are kept in {out / 'runs.jsonl'}\n"
                "go on with: the same command",
                file=sys.stderr,
            )
            return INTERRUPTED
        finished = _finished(plan, out)
        if finished:
            table = plan.read_table()
            also = [make_report(replace(plan, training=training), finished, table) for training in plan.also]
            print(_write(make_report(plan, finished, table), also, out))
        elif not failures:
            raise ConfigError(f"{out / 'runs.jsonl'}: no finished run to report; leave out --report")
    return FAILED if failures else 0


def _parser() -> Parser:
    parser = Parser(
        prog="python -m sparsenas compare",
        description="Run searchers with several seeds at equal cost, each run in a process of one thread, and judge "
        "the cells by a published table. Finished runs are kept: the same command makes those that are missing.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", "-c", metavar="NAME", required=True, help="a file, or the name of a shipped config")
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder to write (default: lightning_logs/CONFIG)")
    parser.add_argument(
        "--jobs", metavar="N", type=int, default=os.cpu_count() or 1, help="runs at a time (default: %(default)s cores)"
    )
    parser.add_argument("--only", metavar="NAME", nargs="+", help="run these searchers only")
    parser.add_argument("--report", action="store_true", help="run nothing, only report what is there")
    return parser


def _chosen(plan: Plan, only: Sequence[str] | None) -> list[PlannedRun]:
    """The runs to make; first seeds first, so that what is there early says something of every searcher."""
    for name in only or ():
        if name not in plan.searchers:
            raise ConfigError(f"--only {name}: no such searcher; the config has {', '.join(plan.searchers)}")
    return sorted((run for run in plan.runs if not only or run.searcher in only), key=lambda run: run.seed)


def _writable(out: Path) -> Path:
    try:
        (out / "logs").mkdir(parents=True, exist_ok=True)
        for folder in (out, out / "logs"):
            with tempfile.TemporaryFile(dir=folder):
                pass
    except OSError as error:
        raise ConfigError(f"cannot write to {out} ({error.strerror}); name a writable folder by --out") from error
    return out


def _finished(plan: Plan, out: Path) -> tuple[Record, ...]:
    path = out / "runs.jsonl"
    return planned_records(read_records(path), plan.runs, path)


def _make(runs: Sequence[PlannedRun], jobs: int, out: Path) -> Iterator[Failure]:
    """Make runs, keep each as soon as it ends, and show how far it is; yields those that failed."""
    if not runs:
        return
    print(f"{len(runs)} runs, {jobs} at a time; results in {out / 'runs.jsonl'}, output in {out / 'logs'}")
    terminal = sys.stderr.isatty()
    with tqdm(total=len(runs), unit="run", disable=not terminal) as bar:
        for number, outcome in enumerate(run_all(runs, jobs, out / "logs"), start=1):
            if isinstance(outcome, Failure):
                bar.write(f"sparsenas: {outcome}", file=sys.stderr)
                yield outcome
            else:
                append_record(out / "runs.jsonl", outcome)
                if not terminal:
                    cut = ", cut by the budget" if outcome.cut else ""
                    name = f"{outcome.searcher} with seed {outcome.seed}"
                    print(f"{number}/{len(runs)}  {name}: {outcome.seconds:.1f} s{cut}", flush=True)
            bar.update()


def _write(report: Report, also: Sequence[Report], out: Path) -> str:
    """Write the report; gives its text and where it is."""
    text, figure = markdown(report, also), draw_comparison(report)
    content = _content(report) | {"budget_seconds": report.plan.budget_seconds, "also": list(map(_content, also))}
    write_atomically(out / "table.md", text.encode())
    write_atomically(out / "table.json", (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    save_figure(figure, out / "figure.png")
    with SummaryWriter(str(out)) as writer:
        writer.add_text("compare/table", text, global_step=len(report.runs))
        writer.add_figure("compare/accuracy", figure, global_step=len(report.runs), close=False)
    return f"{text}\ntable         {out / 'table.md'}, {out / 'table.json'}\nfigure        {out / 'figure.png'}"


def _content(report: Report) -> dict[str, Any]:
    """A report as what JSON knows."""
    rows = [asdict(row) for row in report.rows]
    for row, found in zip(rows, report.rows, strict=True):
        for name in ("beats_random", "beats_largest"):
            test = getattr(found, name)
            row[name] = None if test is None else test._asdict()
    return {"accuracy": str(report.plan.training), "rows": rows, "summaries": list(map(asdict, summarize(report)))}
