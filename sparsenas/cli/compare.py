"""The command ``compare``."""

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sparsenas.api.compare import image_session
from sparsenas.api.messages import user_errors
from sparsenas.api.shipped import find_config
from sparsenas.api.terminal import calm_terminal
from sparsenas.cli.parser import Parser
from sparsenas.cli.signals import Terminated
from sparsenas.comparison import Executor, Session, TableSession, choose_executor, read_plan, read_settings
from sparsenas.comparison.images import is_on_images
from sparsenas.comparison.plan import PlannedRun
from sparsenas.errors import ConfigError

#: Exit codes: a run has failed; Ctrl-C; SIGTERM.
FAILED, INTERRUPTED, TERMINATED = 1, 130, 143
#: Options of comparisons on images.
ON_IMAGES = ("data", "max_params", "max_macs", "seconds", "seeds")
#: Options of executors.
OF_EXECUTORS = ("retries", "cpus", "gpus", "memory", "address", "partition", "minutes")


def compare(args: Sequence[str]) -> int:
    """Run what is compared at equal cost, and report how good it is.

    Args:
        args: Arguments after the command.

    Returns:
        Exit code: 0, 1 if a run failed, 130 after Ctrl-C.

    Raises:
        SparseNASError: If the user is to change something.
    """
    options = _parser().parse_args(args)
    if len(options.config) > 1:
        raise ConfigError(
            f"--config: {' and '.join(options.config)}: a comparison has one config; put all into one file"
        )
    (options.config,) = options.config
    if options.jobs is not None and options.jobs < 1:
        raise ConfigError(f"--jobs is {options.jobs}; use at least 1")
    with calm_terminal(), user_errors():
        session, executor = _session(options)
        chosen = session.chosen(options.only)
        session.check(chosen)
        session.open()
        try:
            failures = [] if options.report else session.make(chosen, options.jobs, executor)
        except KeyboardInterrupt as error:
            print(
                f"sparsenas: interrupted; {_count(session, chosen)} of {len(chosen)} runs are kept in {session.path}\n"
                f"go on with: python -m sparsenas compare {shlex.join(args)}",
                file=sys.stderr,
            )
            return TERMINATED if isinstance(error, Terminated) else INTERRUPTED
        finished = session.finished()
        if finished:
            print(session.write_report(finished))
        elif not failures:
            raise ConfigError(f"{session.path}: no finished run to report; leave out --report")
    return FAILED if failures else 0


def _count(session: Session[Any], chosen: Sequence[PlannedRun]) -> int:
    """Count the chosen runs that are finished."""
    wanted = {(run.searcher, run.seed) for run in chosen}
    return sum((record.searcher, record.seed) in wanted for record in session.finished())


def _session(options: argparse.Namespace) -> tuple[Session[Any], Executor]:
    """The comparison that the config describes, in its folder, and who makes its runs."""
    config = find_config(options.config)
    out = options.out or Path("lightning_logs") / Path(config).stem
    changes = {name: getattr(options, name) for name in ON_IMAGES}
    settings = read_settings(config)
    if isinstance(settings, Mapping) and "model" in settings:
        raise ConfigError(
            f"--config {options.config}: is a config of the command fit; compare_images compares networks"
        )
    given = {name: getattr(options, name) for name in OF_EXECUTORS if getattr(options, name) is not None}
    section = settings.get("executor") if isinstance(settings, Mapping) else None
    executor = choose_executor(section, options.executor, given)
    if is_on_images(settings):
        return image_session(config, out, **changes), executor
    for name, value in changes.items():
        if value is not None:
            raise ConfigError(
                f"--{name} {value} is for comparisons on images, such as --config compare_images; {options.config} "
                "compares by a table"
            )
    return TableSession(read_plan(config), out), executor


def _parser() -> Parser:
    parser = Parser(
        prog="python -m sparsenas compare",
        description="Compare networks, found or made by hand, on your images at equal cost and time (--config "
        "compare_images), or searchers by a published table. Each run is a process of one thread. Finished runs are "
        "kept: the same command makes those that are missing.",
        allow_abbrev=False,
    )
    parser.add_argument(
        *("--config", "-c"),
        metavar="NAME",
        action="append",
        required=True,
        help="a file, or the name of a shipped config",
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder to write (default: lightning_logs/CONFIG)")
    parser.add_argument(
        "--jobs", metavar="N", type=int, help="runs at a time (default: one per core, or what the cluster takes)"
    )
    parser.add_argument("--only", metavar="NAME", nargs="+", help="run these entries only")
    parser.add_argument("--report", action="store_true", help="run nothing, only report what is there")
    images = parser.add_argument_group("on images, in place of what the config says")
    images.add_argument("--data", metavar="PATH", help="folder with a folder of images per class, .npz, or digits")
    images.add_argument("--max_params", metavar="P", type=float, help="most parameters; the only limit if given alone")
    images.add_argument("--max_macs", metavar="M", type=float, help="most multiply-accumulates of an image, likewise")
    images.add_argument("--seconds", metavar="S", type=float, help="processor seconds of a run, searching included")
    images.add_argument("--seeds", metavar="K", type=int, help="runs of each entry that has no number of its own")
    where = parser.add_argument_group("on other machines, in place of what the config says")
    where.add_argument("--executor", metavar="NAME", help="local (the default), ray, or submitit for SLURM")
    where.add_argument("--retries", metavar="N", type=int, help="further attempts at a run whose process has died")
    where.add_argument("--cpus", metavar="N", type=int, help="cores that are kept free for a run (default: 1)")
    where.add_argument("--gpus", metavar="N", type=int, help="GPUs for a run (default: 0)")
    where.add_argument("--memory", metavar="GB", type=float, help="memory that is kept free for a run")
    where.add_argument("--address", metavar="HOST:PORT", help="Ray cluster (default: a new one on this machine)")
    where.add_argument("--partition", metavar="NAME", help="partition of SLURM")
    where.add_argument("--minutes", metavar="M", type=float, help="time after which SLURM ends a run")
    return parser
