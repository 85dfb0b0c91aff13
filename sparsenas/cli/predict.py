"""The command ``predict`` of an exported network."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from sparsenas.api.pictures import Prediction, classify
from sparsenas.cli.parser import Parser
from sparsenas.errors import ConfigError
from sparsenas.export import load, read_manifest
from sparsenas.texts import note, readable

#: Most files that were left out and are named.
NAMED = 5


def predict(args: Sequence[str]) -> int:
    """Print class and probability of image files, and the accuracy where folders say the true classes.

    Args:
        args: Arguments after the command.

    Returns:
        Exit code 0.

    Raises:
        ConfigError: If an option is wrong, or the CSV file cannot be written.
        DataError: If a file is no image that the network takes, or a folder has none; nothing has been printed then.
        ExportError: If the folder holds no intact export.
    """
    parser = Parser(
        prog="python -m sparsenas predict",
        description="Print class and probability of image files, by an exported network. Where the folders of the "
        "images are named as the classes, print the accuracy, too.",
        allow_abbrev=False,
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder that the command export wrote")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="image files, and folders of them, at any depth")
    parser.add_argument("--top", metavar="K", type=int, default=1, help="print the K most probable classes")
    parser.add_argument("--csv", metavar="FILE", type=Path, help="write the probabilities of all classes to a file")
    parser.add_argument("--adapt", action="store_true", help="resize, cut and convert images that do not fit")
    parser.add_argument(
        "--calibrated", action="store_true", help="divide logits by the temperature that suits validation images"
    )
    parser.add_argument("--skip_broken", action="store_true", help="leave out files that are no readable images")
    options = parser.parse_args(args)
    network, manifest = load(options.folder), read_manifest(options.folder)
    names = manifest.class_names
    if not 1 <= options.top <= len(names):
        raise ConfigError(f"--top is {options.top}; the network has {len(names)} classes, so give 1 to {len(names)}")
    found = classify(
        network,
        manifest.preparation,
        names,
        options.images,
        options.adapt,
        options.skip_broken,
        manifest.temperature if options.calibrated else 1.0,
        manifest.multilabel,
    )
    if options.csv is not None:
        found.save(options.csv)
    if found.left_out:
        more = f"; and {len(found.left_out) - NAMED} more" if len(found.left_out) > NAMED else ""
        note(f"{len(found.left_out)} files were left out: {'; '.join(found.left_out[:NAMED])}{more}")
    shown = found.top(options.top) if options.top > 1 or not manifest.multilabel else [[said] for said in found]
    named = [[said._replace(label=said.label or "(none)") for said in row] for row in shown]
    print("\n".join(_lines(found.files, named)))
    if found.report is not None:
        labelled = sum(label is not None for label in found.labels)
        print(f"accuracy      {found.report.accuracy:.4f} of {labelled} images in folders named as classes")
        print(f"macro-F1      {found.report.macro_f1:.4f}")
    if options.csv is not None:
        print(f"predictions   {options.csv}")
    return 0


def _lines(files: Sequence[str], found: Sequence[Sequence[Prediction]]) -> Iterator[str]:
    """One line per file, in columns."""
    files = list(map(readable, files))
    file_width = max(map(len, files))
    class_width = max(len(name) for row in found for name, _ in row)
    for file, row in zip(files, found, strict=True):
        cells = [f"{name:<{class_width}}  {value:.4f}" for name, value in row]
        yield "  ".join([f"{file:<{file_width}}", *cells])
