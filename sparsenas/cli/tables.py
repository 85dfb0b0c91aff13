"""The command ``tables``."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile

from sparsenas.cli.parser import Parser
from sparsenas.errors import ConfigError
from sparsenas.files import write_atomically
from sparsenas.tables.convert import convert, recognise
from sparsenas.tables.files import VARIABLE
from sparsenas.tables.releases import RELEASES

#: Folder of tables, if neither an option nor the environment names one.
DEFAULT_FOLDER = "tables"


def tables(args: Sequence[str]) -> int:
    """List the published tables, or convert files that were downloaded from their authors.

    Args:
        args: Arguments after the command.

    Returns:
        Exit code 0.

    Raises:
        ConfigError: If an option is wrong, or a table is already there or cannot be written.
        TableError: If a file is of no known benchmark or damaged; tables of earlier files are complete.
    """
    parser = Parser(
        prog="python -m sparsenas tables",
        description="Without FILE, list the published tables, where to download them, and which are found. With FILE, "
        "tell by its content of which benchmark it is, and convert it to the table that is read here. The files of "
        "NATS-Bench are pickles, which can run code when read: convert only files you trust.",
        allow_abbrev=False,
    )
    parser.add_argument("files", metavar="FILE", type=Path, nargs="*", help="downloaded files, or folders of them")
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help=f"folder of the tables (default: the one that {VARIABLE} names, else ./{DEFAULT_FOLDER})",
    )
    options = parser.parse_args(args)
    folder = options.out or Path(os.environ.get(VARIABLE, DEFAULT_FOLDER)).expanduser()
    if not options.files:
        print("\n".join(_listing(folder)))
        return 0
    releases = [recognise(path) for path in options.files]
    for release in releases:
        target = folder / release.table
        if target.exists() or releases.count(release) > 1:
            raise ConfigError(f"{target}: is already there or made twice; remove it, or name another folder by --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):  # before minutes of work
            pass
    except OSError as error:
        raise ConfigError(f"{folder}: cannot write there ({error.strerror}); name a folder by --out") from error
    for path, release in zip(options.files, releases, strict=True):
        print(f"{path}: {release.benchmark}", flush=True)  # large files take minutes
        target = folder / release.table
        write_atomically(target, convert(path, release))
        print(f"{target}: written; {release.reader} reads it")
    if os.environ.get(VARIABLE) != str(folder):
        print(f"next: export {VARIABLE}={folder.absolute()}, so that the tables are found, or give their paths")
    return 0


def _listing(folder: Path) -> Iterator[str]:
    """Lines about every table; those in the folder are found."""
    for release in RELEASES:
        table = folder / release.table
        yield f"{release.benchmark}: {release.table}, read by {release.reader}"
        yield f"  published  {release.published}"
        yield f"  download   {release.download}; {release.step}"
        yield f"  found      {table}" if table.exists() else f"  not found in {folder}"
    if VARIABLE not in os.environ:
        yield f"{VARIABLE} is not set; classes look for tables in the folder that it names"
