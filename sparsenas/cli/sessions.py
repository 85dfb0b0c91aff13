"""The common part of commands whose runs are processes of their own: options, running what is missing, reporting."""

import argparse
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sparsenas.api.messages import user_errors
from sparsenas.api.shipped import find_config
from sparsenas.api.terminal import calm_terminal
from sparsenas.cli.parser import Parser
from sparsenas.cli.signals import Terminated
from sparsenas.comparison import Executor, Session, choose_executor
from sparsenas.comparison.plan import PlannedRun
from sparsenas.errors import ConfigError

#: Exit codes: a run has failed; Ctrl-C; SIGTERM.
FAILED, INTERRUPTED, TERMINATED = 1, 130, 143
#: Options of executors.
OF_EXECUTORS = ("retries", "cpus", "gpus", "memory", "address", "partition", "minutes")


def add_options(parser: Parser, out: str) -> None:
    """Add the options that such commands share.

    Args:
        parser: Parser of the command.
        out: Folder that is written unless another one is named, for people.
    """
    parser.add_argument(
        *("--config", "-c"),
        metavar="NAME",
        action="append",
        required=True,
        help="a file, or the name of a shipped config",
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help=f"folder to write (default: {out})")
    parser.add_argument(
        "--jobs", metavar="N", type=int, help="runs at a time (default: one per core, or what the cluster takes)"
    )
    parser.add_argument("--only", metavar="NAME", nargs="+", help="run these entries only")
    parser.add_argument("--report", action="store_true", help="run nothing, only report what is there")


def add_executor_options(parser: Parser) -> None:
    """Add the options that say where runs are made."""
    where = parser.add_argument_group("on other machines, in place of what the config says")
    where.add_argument("--executor", metavar="NAME", help="local (the default), ray, or submitit for SLURM")
    where.add_argument("--retries", metavar="N", type=int, help="further attempts at a run whose process has died")
    where.add_argument("--cpus", metavar="N", type=int, help="cores that are kept free for a run (default: 1)")
    where.add_argument("--gpus", metavar="N", type=int, help="GPUs for a run (default: 0)")
    where.add_argument("--memory", metavar="GB", type=float, help="memory that is kept free for a run")
    where.add_argument("--address", metavar="HOST:PORT", help="Ray cluster (default: a new one on this machine)")
    where.add_argument("--partition", metavar="NAME", help="partition of SLURM")
    where.add_argument("--minutes", metavar="M", type=float, help="time after which SLURM ends a run")


def executor_of(options: argparse.Namespace, settings: Any) -> Executor:
    """Choose who makes the runs, by the options over the ``executor`` of the config.

    Raises:
        ConfigError: If it is unknown, or an option is not one of it.
    """
    given = {name: getattr(options, name) for name in OF_EXECUTORS if getattr(options, name) is not None}
    section = settings.get("executor") if isinstance(settings, Mapping) else None
    return choose_executor(section, options.executor, given)


def hold(
    command: str,
    args: Sequence[str],
    options: argparse.Namespace,
    session_of: Callable[[str, Path], tuple[Session[Any], Executor]],
) -> int:
    """Make the runs that are missing, and report all.

    Args:
        command: Name of the command, for messages.
        args: Its arguments, for messages.
        options: The same, parsed.
        session_of: Makes the session and who makes its runs, from the path of the config and the folder to write.

    Returns:
        Exit code: 0, 1 if a run failed, 130 after Ctrl-C.

    Raises:
        SparseNASError: If the user is to change something.
    """
    if len(options.config) > 1:
        raise ConfigError(
            f"--config: {' and '.join(options.config)}: a comparison has one config; put all into one file"
        )
    if options.jobs is not None and options.jobs < 1:
        raise ConfigError(f"--jobs is {options.jobs}; use at least 1")
    with calm_terminal(), user_errors():
        config = find_config(options.config[0])
        session, executor = session_of(config, options.out or Path("lightning_logs") / Path(config).stem)
        chosen = session.chosen(options.only)
        session.check(chosen)
        session.open()
        try:
            failures = [] if options.report else session.make(chosen, options.jobs, executor)
        except KeyboardInterrupt as error:
            print(
                f"sparsenas: interrupted; {_count(session, chosen)} of {len(chosen)} runs are kept in {session.path}\n"
                f"go on with: python -m sparsenas {command} {shlex.join(args)}",
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
