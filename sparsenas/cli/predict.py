"""The command ``predict`` of an exported network."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from sparsenas.api.trained import classify
from sparsenas.cli.parser import Parser
from sparsenas.errors import ConfigError
from sparsenas.export import load, read_manifest
from sparsenas.texts import readable


def predict(args: Sequence[str]) -> int:
    """Print class and probability of image files.

    Args:
        args: Arguments after the command.

    Returns:
        Exit code 0.

    Raises:
        ConfigError: If an option is wrong.
        DataError: If a file is no image that the network takes; nothing has been printed then.
        ExportError: If the folder holds no intact export.
    """
    parser = Parser(
        prog="python -m sparsenas predict",
        description="Print class and probability of image files, by an exported network.",
        allow_abbrev=False,
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder that the command export wrote")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="image files")
    parser.add_argument("--top", metavar="K", type=int, default=1, help="print the K most probable classes")
    parser.add_argument("--adapt", action="store_true", help="resize, cut and convert images that do not fit")
    options = parser.parse_args(args)
    network, manifest = load(options.folder), read_manifest(options.folder)
    classes = len(manifest.class_names)
    if not 1 <= options.top <= classes:
        raise ConfigError(f"--top is {options.top}; the network has {classes} classes, so give 1 to {classes}")
    found = classify(
        network,
        manifest.preparation,
        manifest.class_names,
        options.images,
        options.top,
        options.adapt,
        manifest.temperature,
    )
    print("\n".join(_lines(options.images, found)))
    return 0


def _lines(files: Sequence[str], found: Sequence[Sequence[tuple[str, float]]]) -> Iterator[str]:
    """One line per file, in columns."""
    files = list(map(readable, files))
    file_width = max(map(len, files))
    class_width = max(len(name) for row in found for name, _ in row)
    for file, row in zip(files, found, strict=True):
        cells = [f"{name:<{class_width}}  {value:.4f}" for name, value in row]
        yield "  ".join([f"{file:<{file_width}}", *cells])
