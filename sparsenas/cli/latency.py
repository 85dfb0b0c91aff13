"""The command ``latency``."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from sparsenas.cli.parser import Parser
from sparsenas.errors import ConfigError
from sparsenas.latency import measure_latency, measure_layers
from sparsenas.networks import NormOptions, SuperNet
from sparsenas.spaces import (
    DartsSpace,
    NasBench201Space,
    NasBenchMacroSpace,
    SearchSpace,
    StageSpace,
    WeightSharing64Space,
)
from sparsenas.spaces.stage import ALL_TYPES

#: The spaces by name; of stages with one growth, as a super-net has, and all layers.
SPACES: dict[str, Callable[[], SearchSpace]] = {
    DartsSpace.name: DartsSpace,
    NasBench201Space.name: NasBench201Space,
    NasBenchMacroSpace.name: NasBenchMacroSpace,
    WeightSharing64Space.name: WeightSharing64Space,
    StageSpace.name: lambda: StageSpace(types=ALL_TYPES, growths=(2.0,)),
}


def latency(args: Sequence[str]) -> int:
    """Measure what every candidate takes on this device, for the budget ``max_latency_ms``.

    Args:
        args: Arguments after the command.

    Returns:
        Exit code 0.

    Raises:
        ConfigError: If an option is wrong or the file cannot be written.
    """
    parser = Parser(
        prog="python -m sparsenas latency",
        description="Time every candidate of a space in a network of the wanted size on this device, and write a table "
        "that a search can take as a budget: --model.budget.latency_table FILE --model.budget.max_latency_ms "
        "MILLISECONDS. With --any_width, time layers at several widths instead, for networks that fill such a budget.",
    )
    parser.add_argument("--space", choices=SPACES, default=DartsSpace.name, help="search space (default: %(default)s)")
    parser.add_argument("--image_shape", type=int, nargs=3, metavar=("C", "H", "W"), default=[3, 32, 32])
    parser.add_argument("--num_classes", type=int, default=10)
    parser.add_argument("--channels", type=int, default=36, help="of the first cell (default: %(default)s)")
    parser.add_argument("--cells", type=int, default=20, help="of the network (default: %(default)s)")
    parser.add_argument(
        "--stem", choices=("cifar", "imagenet", "small"), default="cifar", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--any_width",
        action="store_true",
        help=f"times of the layers of the space {StageSpace.name} at any width; channels, cells and stem do not count",
    )
    parser.add_argument("--batch", type=int, default=1, help="images at a time (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=20, help="repetitions (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="e.g. cuda (default: %(default)s)")
    parser.add_argument("--to", metavar="FILE", type=Path, required=True, help="JSON file to write")
    options = parser.parse_args(args)
    try:
        device = torch.device(options.device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"--device {options.device}: {str(error).splitlines()[0]}") from error
    if device.type == "meta":
        raise ConfigError(f"--device {options.device}: computes nothing that could be timed; name another one")
    channels, height, width = options.image_shape
    shape, norms = (channels, height, width), NormOptions(append="none")
    if options.any_width:
        if options.space != StageSpace.name:
            raise ConfigError(f"--any_width: layers have times of their own in --space {StageSpace.name} only")
        times = measure_layers(shape, device, options.batch, options.rounds)
        times.write(options.to)
        print(f"{options.to}: {len(times.lines)} kinds of layers, within {times.error:.0%} in the median")
        return 0
    space = SPACES[options.space]()
    cells = None if options.space == StageSpace.name else options.cells
    network = SuperNet(space, shape, options.num_classes, options.channels, cells, options.stem, norms)
    network = network.to(device).to(memory_format=torch.channels_last)
    table = measure_latency(network, options.batch, options.rounds)
    table.write(options.to, space)
    slowest = sum(max(row) for row in table.candidates) * space.inputs_per_node
    print(
        f"{options.to}: base {table.base:.2f} ms, at most {table.base + slowest:.2f} ms with all candidates the slowest"
    )
    return 0
