"""Time of layers on a device at any width: measured once, kept in a file, used to fill a budget."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import nnls
from torch import nn

from sparsenas.errors import BudgetError, ConfigError
from sparsenas.files import write_atomically
from sparsenas.latency.runtime import about, time_network
from sparsenas.latency.timing import Run, milliseconds, times
from sparsenas.networks import DerivedNet, NormOptions
from sparsenas.networks.layers import PlacedLayer, halved, make_layer
from sparsenas.networks.skeletons.stage import placed_layers
from sparsenas.reading import ReadingError, parse_json, read_text, shorten
from sparsenas.spaces import REFERENCES, Genotype
from sparsenas.spaces.stage import ALL_TYPES, DOWNSAMPLINGS, Layer

#: Kind of file, written into it.
SCHEMA = "sparsenas.layer_times/1"
#: Widths that are timed, each to its own and to the double; between and beyond them the fit tells.
WIDTHS = (8, 16, 32)
#: Most MACs of a layer that is timed: larger ones take too long, and tell the same.
MOST_MACS = 3e7
#: How to come by a file.
HOW = "write one by `python -m sparsenas latency --space stage --any_width`"
#: Network of which the time is predicted, and measured beside it.
COMPARED = "resnet8"
#: Name of what follows the layers.
HEAD = "head"


class Line(NamedTuple):
    """Time of a kind of layer: ``fixed + per_mac * MACs + per_value * values in and out``, in milliseconds."""

    fixed: float
    per_mac: float
    per_value: float

    def __call__(self, macs: float, values: float) -> float:
        """Milliseconds of a layer."""
        return self.fixed + self.per_mac * macs + self.per_value * values


@dataclass(frozen=True)
class LayerTimes:
    """Time of every kind of layer of the staged space on one device.

    The latency of a network is the sum over its layers. That leaves out overlap.

    Attributes:
        lines: By primitive, such as ``conv_3x3/stride``; and of the head.
        error: Median relative error of single layers.
        about: Device and images of the measurement, for people.
    """

    lines: Mapping[str, Line]
    error: float
    about: Mapping[str, str]

    def latency(self, genotype: Genotype, image_shape: tuple[int, int, int], num_classes: int, channels: int) -> float:
        """Milliseconds of a network of the staged space at a base width.

        Raises:
            ConfigError: If a layer has no time.
        """
        total = 0.0
        outputs = 0
        for layer in placed_layers(genotype, image_shape, channels):
            total += layer.repeats * self._line(layer.primitive)(layer.macs, layer.values)
            outputs = layer.outputs
        return total + self._line(HEAD)(outputs * num_classes, outputs)

    def _line(self, name: str) -> Line:
        if name not in self.lines:
            raise ConfigError(f"latency: no time of the layer {name}; measure the table anew")
        return self.lines[name]

    def write(self, path: str | Path) -> None:
        """Write a JSON file.

        Raises:
            ConfigError: If it cannot be written.
        """
        lines = {name: line._asdict() for name, line in self.lines.items()}
        content = {"schema": SCHEMA, "about": dict(self.about), "error": self.error, "layers": lines}
        write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def read_layer_times(path: str | Path) -> LayerTimes:
    """Read a file of :meth:`LayerTimes.write`, or one in that form made by other means.

    Raises:
        ConfigError: If the file cannot be read, or is something else; or a number is none.
    """
    return _read(str(path), changed(path))


def changed(path: str | Path) -> int:
    """Return the time at which a file was last changed.

    Raises:
        ConfigError: If there is no such file.
    """
    try:
        return Path(path).stat().st_mtime_ns
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; {HOW}") from error


@lru_cache(maxsize=16)
def _read(path: str, time: int) -> LayerTimes:
    """Read a file of a time, once."""
    try:
        content = parse_json(read_text(path))
    except ReadingError as error:
        raise ConfigError(f"{path}: cannot be read ({error}); measure the table anew") from error
    found = content.get("schema") if isinstance(content, dict) else None
    if found != SCHEMA:
        raise ConfigError(
            f"{path}: its schema is {shorten(repr(found), 40)}, not {SCHEMA!r}; to choose a width, times at all widths "
            f"are needed: {HOW}"
        )
    try:
        lines = {
            str(name): Line(*(milliseconds(line[field], path) for field in Line._fields))
            for name, line in content["layers"].items()
        }
        return LayerTimes(lines, float(content["error"]), content["about"])
    except (TypeError, LookupError, AttributeError, ValueError, OverflowError) as error:
        raise ConfigError(f"{path}: damaged times of layers ({shorten(error)}); measure them anew") from error


@torch.no_grad()
def measure_layers(
    image_shape: tuple[int, int, int], device: torch.device, batch: int = 1, rounds: int = 10
) -> LayerTimes:
    """Time every kind of layer at several widths and resolutions, in evaluation mode, and fit a line to each kind.

    All layers take turns in each of ``rounds``; medians count. The fit has no negative part, and errors are relative.

    Args:
        image_shape: ``(C, H, W)``; layers are timed at this resolution and at all halvings of it.
        device: Device.
        batch: Images at a time.
        rounds: Repetitions.

    Raises:
        ConfigError: If a number is below 1.
    """
    if min(batch, rounds, *image_shape) < 1:
        raise ConfigError(f"latency: batch is {batch}, rounds {rounds}, images {image_shape}; all are at least 1")
    runs: dict[PlacedLayer | int, Run] = {}
    for layer in _layers(image_shape):
        operation = make_layer(Layer(layer.type, layer.down), layer.inputs, layer.outputs, NormOptions(append="none"))
        runs[layer] = _run(operation, (batch, layer.inputs, layer.height, layer.width), device)
    for width in WIDTHS:
        head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))
        runs[width] = _run(head, (batch, width, 4, 4), device)
    taken = times(runs, rounds, device)
    kinds: dict[str, list[tuple[float, float, float]]] = {}
    for found, ms in taken.items():
        if isinstance(found, PlacedLayer):
            kinds.setdefault(found.primitive, []).append((found.macs, found.values, ms))
        else:
            kinds.setdefault(HEAD, []).append((10 * found, found, ms))
    lines = {name: _fit(rows) for name, rows in kinds.items()}
    errors = [abs(lines[name](macs, values) / ms - 1) for name, rows in kinds.items() for macs, values, ms in rows]
    told = {**about("torch", device, batch), "images": "x".join(map(str, image_shape))}
    return LayerTimes(lines, float(np.median(errors)), told)


@torch.no_grad()
def compare_layers(
    table: LayerTimes, image_shape: tuple[int, int, int], device: torch.device, rounds: int = 10
) -> tuple[float, float] | None:
    """Predict the milliseconds of a small ResNet by times of layers, and measure them.

    Returns:
        Predicted and measured milliseconds; None if images are too small for the network.
    """
    genotype, batch = REFERENCES[COMPARED].genotype, int(table.about.get("batch", "1"))
    try:
        network = DerivedNet(genotype, image_shape, 10, WIDTHS[1], None)
    except BudgetError:
        return None
    network = network.eval().to(device).to(memory_format=torch.channels_last)
    images = torch.randn(batch, *image_shape, device=device).to(memory_format=torch.channels_last)
    return table.latency(genotype, image_shape, 10, WIDTHS[1]), time_network(network, images, rounds)


def _layers(image_shape: tuple[int, int, int]) -> Iterable[PlacedLayer]:
    """Yield what is timed."""
    channels, height, width = image_shape
    kinds = [(type, down) for type in ALL_TYPES for down in (None, *DOWNSAMPLINGS)]
    stems = [
        PlacedLayer("conv_3x3", down, 1, channels, outputs, height, width)
        for down in (None, "stride")
        for outputs in WIDTHS
    ]
    yield from (stem for stem in stems if stem.macs <= MOST_MACS)
    while True:
        for (type, down), inputs, double in product(kinds, WIDTHS, (1, 2)):
            layer = PlacedLayer(type, down, 1, inputs, double * inputs, height, width)
            if layer.macs <= MOST_MACS:
                yield layer
        if min(height, width) < 4:
            return
        height, width = halved(height), halved(width)


def _run(module: nn.Module, shape: tuple[int, int, int, int], device: torch.device) -> Run:
    images = torch.randn(shape, device=device).to(memory_format=torch.channels_last)
    return partial(module.eval().to(device).to(memory_format=torch.channels_last), images)


def _fit(rows: list[tuple[float, float, float]]) -> Line:
    """Fit a line without negative parts to MACs, values and milliseconds, by relative errors."""
    macs, values, ms = np.array(rows).T
    scale = np.array([1.0, macs.max(), values.max()])  # so that the solver sees numbers of one size
    found, _ = nnls(np.stack([np.ones_like(macs), macs, values], axis=1) / scale / ms[:, None], np.ones_like(ms))
    return Line(*(found / scale).tolist())
