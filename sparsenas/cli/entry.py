"""From arguments to an exit code; only light imports, so that ``--help`` and ``--version`` answer at once."""

import argparse
import os
import select
import sys
from collections.abc import Sequence

from sparsenas import __version__
from sparsenas.cli.parser import Parser
from sparsenas.cli.processes import is_spoken_for
from sparsenas.cli.short_help import asks_for_help, short_help
from sparsenas.cli.signals import Terminated, terminable
from sparsenas.errors import ConfigError, SparseNASError
from sparsenas.files import FULL, why_not_written
from sparsenas.texts import escape_unprintable

#: Commands that need a model, images and a trainer, with one line for ``--help``.
TRAINER_COMMANDS = {
    "fit": "search for a cell, or train a found one; without options it runs the quickstart",
    "validate": "accuracy of a checkpoint on validation images",
    "test": "accuracy of a checkpoint on test images, with the network's size and cost",
    "predict": "write the class of every test image to predictions.csv; of files: predict FOLDER IMAGE...",
}
#: All commands.
COMMANDS = {
    **TRAINER_COMMANDS,
    "export": "turn a checkpoint into files for use elsewhere, each proven to compute the same",
    "compare": "compare networks on your images, or searchers by a published table, at equal cost with several seeds",
    "rank-predictors": "judge predictors of accuracy by networks whose accuracies are known",
    "latency": "time every candidate on this device, for searches with a budget of milliseconds",
    "draw": "draw a genotype to a PNG, SVG or PDF file",
    "tables": "list published tables and where to get them; of downloaded files, make the tables that are read here",
}

#: Exit code after a defect of the program, as Python has it after a traceback.
DEFECT = 1
#: Exit code after an error of the user, as of every command line built on argparse.
USER_ERROR = 2
#: Exit code after Ctrl-C: 128 + SIGINT.
INTERRUPTED = 130
#: Exit code after SIGTERM: 128 + SIGTERM.
TERMINATED = 143
#: Exit code when the output was closed: 128 + SIGPIPE.
OUTPUT_CLOSED = 141


def main(args: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        args: Arguments without the program's name; by default those of the process.

    Returns:
        Exit code: 0, 2 after an error of the user, 130 after Ctrl-C, 143 after SIGTERM, 141 if the output
        was closed.
    """
    escape_unprintable()
    try:
        with terminable():
            code = _dispatch(list(sys.argv[1:] if args is None else args))
        sys.stdout.flush()
        return code
    except SparseNASError as error:
        if not is_spoken_for():
            print(f"sparsenas: error: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt as error:
        print("sparsenas: interrupted; nothing was trained or written", file=sys.stderr)
        return TERMINATED if isinstance(error, Terminated) else INTERRUPTED
    except BrokenPipeError:
        if not _output_is_closed():
            raise
        return OUTPUT_CLOSED
    except OSError as error:
        if error.errno not in FULL:
            raise
        where = f"{error.filename or 'a file of the run'}: "
        print(f"sparsenas: error: {where}{why_not_written(error)}", file=sys.stderr)
        return USER_ERROR
    except Exception:  # such as a connection that was lost because the first process has ended
        if is_spoken_for():
            return DEFECT
        raise


def _output_is_closed() -> bool:
    """Say if the reader of the output has closed it, as ``head`` does; if so, nothing more is written."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), select.POLLOUT)
    except (AttributeError, OSError, ValueError):  # there is no poll on Windows, and no file behind some streams
        return False
    if not any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
    return True


def _dispatch(args: list[str]) -> int:
    lines = "\n".join(f"  {name:<17}{line}" for name, line in COMMANDS.items())
    parser = Parser(
        prog="python -m sparsenas",
        usage="%(prog)s COMMAND [options]",
        description="Neural architecture search by sparse coding.",
        epilog=f"commands:\n{lines}\n\n`%(prog)s COMMAND --help` lists the options of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sparsenas {__version__}")
    parser.add_argument("command", choices=COMMANDS, help=argparse.SUPPRESS)
    try:
        if args and args[0].startswith("--") and args[0] not in ("--help", "--version"):
            option = args[0].partition("=")[0]
            raise ConfigError(f"{option}: options follow a command; type python -m sparsenas fit {' '.join(args)}")
        command = parser.parse_args(args[:1]).command
        if command == "compare":
            from sparsenas.cli.compare import compare

            return compare(args[1:])
        if command == "rank-predictors":
            from sparsenas.cli.rank_predictors import rank_predictors

            return rank_predictors(args[1:])
        if command == "draw":
            from sparsenas.cli.draw import draw

            return draw(args[1:])
        if command == "latency":
            from sparsenas.cli.latency import latency

            return latency(args[1:])
        if command == "export":
            from sparsenas.cli.export import export

            return export(args[1:])
        if command == "tables":
            from sparsenas.cli.tables import tables

            return tables(args[1:])
        if command == "predict" and args[1:] and not args[1].startswith("-"):
            from sparsenas.cli.predict import predict

            return predict(args[1:])
        if asks_for_help(args[1:]):
            print(short_help(command, COMMANDS[command]))
            return 0
        from sparsenas.cli.lightning import run

        return run(command, args[1:])
    except SystemExit as stop:  # --help, --version and --print_config end this way
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
