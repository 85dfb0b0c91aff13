"""The command ``latency``."""

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import get_args

import torch
import yaml

from sparsenas.api.shipped import find_config
from sparsenas.cli.parser import Parser
from sparsenas.errors import ConfigError
from sparsenas.latency import (
    COMPARED,
    RuntimeName,
    check_runtime,
    compare_latency,
    compare_layers,
    measure_latency,
    measure_layers,
    preparing,
    where,
)
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

#: ``(C, H, W)`` of images.
Shape = tuple[int, int, int]
#: Of a network that is trained alone.
NORMS = NormOptions(append="none")
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
    parser.add_argument(
        "--config", metavar="NAME", help="config of a search: space, images, classes and size are those of its network"
    )
    parser.add_argument("--data", metavar="PATH", help="place of the images of the config, as data.path")
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
    parser.add_argument(
        "--runtime", choices=get_args(RuntimeName), default="torch", help="where networks run (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, help="(default: 1 in onnxruntime, as many as PyTorch has in torch)")
    parser.add_argument("--to", metavar="FILE", type=Path, required=True, help="JSON file to write")
    options = parser.parse_args(args)
    device = _device(options.device)
    check_runtime(options.runtime, device, options.threads)
    if options.config is None and options.data is not None:
        raise ConfigError("--data: it is the place of the images of a config; name one by --config")
    for name in ("space", "image_shape", "num_classes", "channels", "cells", "stem", "any_width"):
        if options.config is not None and getattr(options, name) != parser.get_default(name):
            raise ConfigError(f"--{name}: is known from --config {options.config}; leave it out")
    wanted = _of_options(options) if options.config is None else _of_config(options.config, options.data)
    if isinstance(wanted, SuperNet):
        return _candidates(wanted.to(device).to(memory_format=torch.channels_last), options)
    return _layers(wanted, device, options)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"--device {name}: {str(error).splitlines()[0]}") from error
    if device.type == "meta":
        raise ConfigError(f"--device {name}: computes nothing that could be timed; name another one")
    return device


def _of_options(options: Namespace) -> SuperNet | Shape:
    """Make the super-net that options describe; for layers at any width the shape of the images is enough."""
    channels, height, width = options.image_shape
    shape = (channels, height, width)
    if options.any_width:
        if options.space != StageSpace.name:
            raise ConfigError(f"--any_width: layers have times of their own in --space {StageSpace.name} only")
        return shape
    cells = None if options.space == StageSpace.name else options.cells
    return SuperNet(SPACES[options.space](), shape, options.num_classes, options.channels, cells, options.stem, NORMS)


def _of_config(name: str, path: str | None) -> SuperNet | Shape:
    """Make the same of the network of a config, which is built as for a run.

    Raises:
        ConfigError: If it searches no super-net, and no width.
    """
    from sparsenas.api.settings import assemble  # Lightning, which nothing else here needs
    from sparsenas.api.terminal import calm_terminal
    from sparsenas.search import SearchModule, TournamentSearch

    settings = yaml.safe_load(Path(find_config(name)).read_text(encoding="utf-8"))
    if not isinstance(settings, dict) or not {"model", "data", "trainer"} <= set(settings):
        raise ConfigError(f"--config {name}: holds no model, data and trainer; name a config of fit")
    if path is not None:
        settings["data"].setdefault("init_args", {})["path"] = path
    budget = ((settings["model"] or {}).get("init_args") or {}).get("budget")
    if budget:  # a limit of milliseconds waits for the table that is to be made
        budget |= {"max_latency_ms": None, "latency_table": None}
    if settings.get("choose"):  # the length does not matter here
        settings |= {"choose": False, "minutes": 1.0}
    with calm_terminal():
        model = assemble(settings).model
    if isinstance(model, SearchModule):
        network = model.network
        return SuperNet(network.space, norms=NORMS, **network.size)
    if isinstance(model, TournamentSearch) and isinstance(model.space, StageSpace):
        return model.image_shape
    raise ConfigError(f"--config {name}: {type(model).__name__} has no candidates to time; name a config of a search")


def _candidates(network: SuperNet, options: Namespace) -> int:
    """Time candidates, write the table, and print how well it predicts another network."""
    how = (options.rounds, options.runtime, options.threads)
    table = measure_latency(network, options.batch, *how)
    table.write(options.to, network.space)
    slowest = sum(max(row) for row in table.candidates) * network.space.inputs_per_node
    print(
        f"{options.to}: base {table.base:.2f} ms, at most {table.base + slowest:.2f} ms with all candidates the slowest"
    )
    _print_check(table.about, compare_latency(network, table, *how), "a network drawn at random")
    return 0


def _layers(shape: Shape, device: torch.device, options: Namespace) -> int:
    """Time layers at any width, write the table, and print how well it predicts a network."""
    if options.runtime != "torch":
        raise ConfigError("--runtime onnxruntime: layers at any width are timed in torch only; give one width")
    with preparing(options.runtime, options.threads):
        times = measure_layers(shape, device, options.batch, options.rounds)
        times.write(options.to)
        print(f"{options.to}: {len(times.lines)} kinds of layers, within {times.error:.0%} in the median")
        checked = compare_layers(times, shape, device, options.rounds)
        if checked is not None:
            _print_check(times.about, checked, f"the reference network {COMPARED}")
    return 0


def _print_check(about: Mapping[str, str], checked: tuple[float, float], name: str) -> None:
    predicted, measured = checked
    print(f"measured on {where(about)}")
    print(f"{name}: {predicted:.2f} ms predicted, {measured:.2f} ms measured, ratio {predicted / measured:.2f}")
