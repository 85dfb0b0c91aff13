"""Search a network for your images, look at it, export it, and use the export.

    python examples/search_and_export.py photos --max_params 50000 --minutes 4 --to photos_network

Without arguments it runs on the digits of scikit-learn; nothing is downloaded.

Cost: the minutes, half a minute by default, and about 15 seconds to start and to export.
Expect: size, time and accuracy of the network, on the digits 98 % or more; how networks made by hand did beside it; the
folder of the export, and the accuracy of the network that is read back from it.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

import sparsenas
from sparsenas.errors import ConfigError, SparseNASError


def main(args: Sequence[str] | None = None) -> int:
    """Search, export and read back; a user's mistake is one line and exit code 2.

    Args:
        args: Arguments of the command line; ``None`` for those of the process.
    """
    options = parser().parse_args(args)
    try:
        search_and_export(options)
    except SparseNASError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def search_and_export(options: argparse.Namespace) -> None:
    """Find a network, print what it is, export it, and test what is read back.

    Args:
        options: Parsed options of :func:`parser`.

    Raises:
        SparseNASError: If an option or the images are wrong; the message says what would be right.
    """
    if options.to.exists():  # found out now, not after the search
        raise ConfigError(f"--to {options.to}: is already there; name a new folder")
    found = sparsenas.search(  # type: ignore[operator]  # a function and a room
        options.data,
        max_params=options.max_params,
        max_macs=options.max_macs,
        minutes=options.minutes,
        seed=options.seed,
        folder=options.folder,
    )
    print(f"\n{found}\n")

    found.export(options.to)
    network = sparsenas.load(options.to)  # a module of PyTorch; needs neither checkpoint nor images
    right = images = 0
    with torch.inference_mode():
        for batch, labels in found.data.evaluation_batches("test"):  # normalised, (B, C, H, W)
            right += int((network(batch).argmax(1) == labels).sum())
            images += len(labels)
    files = ", ".join(sorted(path.name for path in options.to.iterdir()))
    print(f"exported              {options.to}: {files}")
    print(f"read back             {right / images:.4f} test, {right} of {images} images right")


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("data", nargs="?", default="digits", help="folder with a folder per class, .npz, or digits")
    made.add_argument("--max_params", metavar="P", type=float, default=50_000, help="most parameters (default: 50000)")
    made.add_argument("--max_macs", metavar="M", type=float, help="most multiply-accumulates of an image")
    made.add_argument("--minutes", metavar="M", type=float, default=0.5, help="for search and training (default: 0.5)")
    made.add_argument("--seed", metavar="S", type=int, default=0, help="of search and training (default: 0)")
    made.add_argument("--folder", metavar="DIR", default="lightning_logs", help="of the run (default: lightning_logs)")
    made.add_argument(
        "--to", metavar="DIR", type=Path, default="my_network", help="new folder of the export (default: my_network)"
    )
    return made


if __name__ == "__main__":
    sys.exit(main())
