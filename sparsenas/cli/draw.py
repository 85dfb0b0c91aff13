"""The command ``draw``."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from sparsenas.cli.parser import Parser
from sparsenas.drawing import PictureSize, draw_genotype, save_figure
from sparsenas.errors import ConfigError
from sparsenas.spaces import Genotype, StageSpace, read_genotype
from sparsenas.spaces.published import NAMED


def draw(args: Sequence[str]) -> int:
    """Draw a genotype to a file.

    Args:
        args: Arguments after the command.

    Returns:
        Exit code 0.

    Raises:
        ConfigError: If an option is wrong or the file cannot be written.
        GenotypeError: If the genotype cannot be read.
    """
    parser = Parser(prog="python -m sparsenas draw", description="Draw the cells or the stages of a genotype.")
    parser.add_argument(
        "genotype",
        metavar="GENOTYPE",
        help=f"a file, its text (JSON or as programs print it), or a known name: {', '.join(NAMED)}",
    )
    parser.add_argument("--to", metavar="FILE", type=Path, required=True, help="figure to write: .png, .svg or .pdf")
    sizes = parser.add_argument_group("sizes to write into the picture of a staged network, each 1 or more")
    sizes.add_argument("--image_shape", type=int, nargs=3, metavar=("C", "H", "W"), help="of the images")
    sizes.add_argument("--channels", type=int, metavar="N", help="base width")
    sizes.add_argument("--num_classes", type=int, metavar="N", help="number of classes")
    options = parser.parse_args(args)
    genotype = read_genotype(options.genotype)
    print(save_figure(draw_genotype(genotype, **_size(options, genotype)), options.to))
    return 0


def _size(options: Namespace, genotype: Genotype) -> PictureSize:
    """Return the sizes that are given, or raise a ``ConfigError``."""
    size = PictureSize()
    for name in ("image_shape", "channels", "num_classes"):
        value = getattr(options, name)
        if value is None:
            continue
        if min(value if name == "image_shape" else [value]) < 1:
            raise ConfigError(f"--{name} has a number below 1; use 1 or more")
        if genotype.space != StageSpace.name:
            raise ConfigError(f"--{name} is for staged networks; a cell of {genotype.space} looks the same at any size")
        size[name] = tuple(value) if name == "image_shape" else value
    return size
