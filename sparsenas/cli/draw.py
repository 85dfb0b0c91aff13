"""The command ``draw``."""

from collections.abc import Sequence
from pathlib import Path

from sparsenas.cli.parser import Parser
from sparsenas.drawing import draw_genotype, save_figure
from sparsenas.spaces import PUBLISHED, read_genotype


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
    parser = Parser(prog="python -m sparsenas draw", description="Draw the cells of a genotype.")
    parser.add_argument(
        "genotype",
        metavar="GENOTYPE",
        help=f"a file, its text (JSON or as programs print it), or a published name: {', '.join(PUBLISHED)}",
    )
    parser.add_argument("--to", metavar="FILE", type=Path, required=True, help="figure to write: .png, .svg or .pdf")
    options = parser.parse_args(args)
    print(save_figure(draw_genotype(read_genotype(options.genotype)), options.to))
    return 0
