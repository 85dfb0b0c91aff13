"""The command ``compare``."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sparsenas.api.compare import image_session
from sparsenas.cli.parser import Parser
from sparsenas.cli.sessions import add_executor_options, add_options, executor_of, hold
from sparsenas.comparison import Executor, Session, TableSession, read_plan, read_settings
from sparsenas.comparison.images import is_on_images
from sparsenas.errors import ConfigError

#: Options of comparisons on images.
ON_IMAGES = ("data", "max_params", "max_macs", "seconds", "seeds")


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
    return hold("compare", args, options, lambda config, out: _session(options, config, out))


def _session(options: argparse.Namespace, config: str, out: Path) -> tuple[Session[Any], Executor]:
    """The comparison that the config describes, in its folder, and who makes its runs."""
    changes = {name: getattr(options, name) for name in ON_IMAGES}
    settings = read_settings(config)
    if isinstance(settings, Mapping) and "model" in settings:
        raise ConfigError(f"--config {config}: is a config of the command fit; compare_images compares networks")
    if isinstance(settings, Mapping) and "predictors" in settings:
        raise ConfigError(f"--config {config}: is a config of the command rank-predictors")
    executor = executor_of(options, settings)
    if is_on_images(settings):
        return image_session(config, out, **changes), executor
    for name, value in changes.items():
        if value is not None:
            raise ConfigError(
                f"--{name} {value} is for comparisons on images, such as --config compare_images; {config} "
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
    add_options(parser, "lightning_logs/CONFIG")
    images = parser.add_argument_group("on images, in place of what the config says")
    images.add_argument("--data", metavar="PATH", help="folder with a folder of images per class, .npz, or digits")
    images.add_argument("--max_params", metavar="P", type=float, help="most parameters; the only limit if given alone")
    images.add_argument("--max_macs", metavar="M", type=float, help="most multiply-accumulates of an image, likewise")
    images.add_argument("--seconds", metavar="S", type=float, help="processor seconds of a run, searching included")
    images.add_argument("--seeds", metavar="K", type=int, help="runs of each entry that has no number of its own")
    add_executor_options(parser)
    return parser
