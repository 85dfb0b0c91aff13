"""How long candidates take on a device: measured once, kept in a file, used as a budget."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sparsenas.errors import ConfigError
from sparsenas.files import write_atomically
from sparsenas.networks import SuperNet
from sparsenas.spaces import SearchSpace

#: Kind of file, written into it.
SCHEMA = "sparsenas.latency/1"
#: Runs before the clock counts.
WARMUP = 2


@dataclass(frozen=True)
class LatencyTable:
    """What every candidate takes in a network of one size on one device.

    A network's latency is taken as a sum: the base and what its candidates take, one after the other. That leaves out
    what overlaps, and what a runtime fuses.

    Attributes:
        space: Name of the search space.
        candidates: Per block, milliseconds of each candidate, summed over all cells of the block's type.
        base: Milliseconds of everything else.
        about: What was measured where, for people.
    """

    space: str
    candidates: tuple[tuple[float, ...], ...]
    base: float
    about: Mapping[str, str]

    def write(self, path: str | Path, space: SearchSpace) -> None:
        """Write a JSON file that names every candidate.

        Raises:
            ConfigError: If it cannot be written.
        """
        blocks = [
            {
                "cell": block.cell,
                "candidates": [{**c._asdict(), "ms": ms} for c, ms in zip(block.candidates, row, strict=True)],
            }
            for block, row in zip(space.blocks, self.candidates, strict=True)
        ]
        content = {
            "schema": SCHEMA,
            "space": self.space,
            "about": dict(self.about),
            "base": self.base,
            "blocks": blocks,
        }
        write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def read_latency(path: str | Path, space: SearchSpace) -> LatencyTable:
    """Read what :meth:`LatencyTable.write` wrote, or what was measured by other means in that form.

    Raises:
        ConfigError: If the file cannot be read, is of another space, or lacks a candidate; or a number is none.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path}: no readable latency table ({error}); write one by `python -m sparsenas latency`"
        ) from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise ConfigError(f"{path}: no latency table; its schema must be {SCHEMA!r}")
    if content.get("space") != space.name:
        raise ConfigError(f"{path}: a latency table of the space {content.get('space')!r}, not of {space.name!r}")
    known = {(cell, *key): ms for cell, key, ms in _entries(content, path)}
    rows = []
    for block in space.blocks:
        row = []
        for candidate in block.candidates:
            if (block.cell, *candidate) not in known:
                raise ConfigError(f"{path}: no latency of {candidate} in the {block.cell} cell; measure the table anew")
            row.append(known[(block.cell, *candidate)])
        rows.append(tuple(row))
    return LatencyTable(space.name, tuple(rows), _milliseconds(content.get("base"), path), content.get("about", {}))


def _entries(content: Mapping[str, Any], path: str | Path) -> Iterator[tuple[str, tuple[int, int, str], float]]:
    """Cell type, candidate and milliseconds of every entry."""
    try:
        for block in content["blocks"]:
            for entry in block["candidates"]:
                key = (entry["target"], entry["source"], entry["primitive"])
                yield block["cell"], key, _milliseconds(entry["ms"], path)
    except (TypeError, KeyError) as error:
        raise ConfigError(f"{path}: a damaged latency table ({error}); measure it anew") from error


def _milliseconds(value: Any, path: str | Path) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ConfigError(f"{path}: a latency is {value!r}; milliseconds are a number not below 0")
    return float(value)


@torch.no_grad()
def measure_latency(network: SuperNet, batch: int = 1, rounds: int = 20) -> LatencyTable:
    """Time every kind of candidate at every size at which it occurs, in evaluation mode on the network's device.

    All kinds take turns in every round, so that what else the machine does hits them alike; medians count.

    Args:
        network: Super-net. Candidates that share weights take what they would take alone.
        batch: Images at a time.
        rounds: Repetitions of each.

    Raises:
        ConfigError: If a number is below 1.
    """
    if batch < 1 or rounds < 1:
        raise ConfigError(f"latency: batch is {batch}, rounds is {rounds}; both are at least 1")
    network = network.unshared().to(network.classifier.weight.device)
    modes = [(module, module.training) for module in network.modules()]
    device = network.classifier.weight.device
    images = torch.randn(batch, *network.size["image_shape"], device=device).to(memory_format=torch.channels_last)
    support = network.space.sample_support(np.random.default_rng(0))
    wirings = network.wirings(support)
    states: list[list[Tensor]] = []
    network.eval()
    try:
        network.run(images, wirings, trace=states)
        kinds: dict[tuple[str, torch.Size, torch.Size], tuple[nn.Module, Tensor]] = {}
        occurrences: list[list[list[tuple[str, torch.Size, torch.Size]]]] = []
        for block in network.space.blocks:
            rows: list[list[tuple[str, torch.Size, torch.Size]]] = [[] for _ in block.candidates]
            for (cell_type, cell), nodes in zip(network.typed_cells(), states, strict=True):
                if cell_type == block.cell:
                    for row, candidate in zip(rows, block.candidates, strict=True):
                        source, target = nodes[candidate.source], nodes[candidate.target]
                        kind = (candidate.primitive, source.shape, target.shape)
                        kinds.setdefault(kind, (cell.operation(candidate), source))
                        row.append(kind)
            occurrences.append(rows)
        runs: dict[Any, Callable[[], object]] = {
            kind: partial(module, source) for kind, (module, source) in kinds.items()
        }
        runs[None] = partial(network.run, images, wirings)
        times = _times(runs, rounds, device)
    finally:
        for module, mode in modes:
            module.training = mode
    candidates = tuple(tuple(sum(times[kind] for kind in row) for row in rows) for rows in occurrences)
    kept = sum(row[index] for row, indices in zip(candidates, support, strict=True) for index in indices)
    size, shape = network.size, "x".join(map(str, network.size["image_shape"]))
    about = {
        "device": str(device),
        "threads": str(torch.get_num_threads()),
        "batch": str(batch),
        "network": f"{size['channels']} channels, {size['cells']} cells, images {shape}",
    }
    return LatencyTable(network.space.name, candidates, max(times[None] - kept, 0.0), about)


def _times(runs: Mapping[Any, Callable[[], object]], rounds: int, device: torch.device) -> dict[Any, float]:
    """Median milliseconds of each run."""
    taken: dict[Any, list[float]] = {kind: [] for kind in runs}
    for number in range(-WARMUP, rounds):
        for kind, run in runs.items():
            start = perf_counter()
            run()
            if device.type != "cpu":
                torch.accelerator.synchronize(device)
            if number >= 0:
                taken[kind].append(1000 * (perf_counter() - start))
    return {kind: median(values) for kind, values in taken.items()}
