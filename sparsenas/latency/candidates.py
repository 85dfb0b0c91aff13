"""Time of candidates on a device: measured once, kept in a file, used as a budget."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sparsenas.complexity import Kind, candidate_places, evaluating
from sparsenas.errors import ConfigError
from sparsenas.files import write_atomically
from sparsenas.latency.runtime import RuntimeName, about, check_runtime, preparing, time_network
from sparsenas.latency.timing import Run, milliseconds, times
from sparsenas.networks import SuperNet
from sparsenas.reading import ReadingError, parse_json, read_text, shorten
from sparsenas.spaces import SearchSpace, Support

#: Kind of file, written into it.
SCHEMA = "sparsenas.latency/1"
#: What is timed beside candidates: a whole network, and nothing.
WHOLE, NOTHING = "whole", "nothing"


@dataclass(frozen=True)
class LatencyTable:
    """Time of every candidate in a network of one size on one device.

    The latency of a network is the base plus the sum of its candidates. That leaves out overlap and fusion.

    Attributes:
        space: Name of the search space.
        candidates: Per block, milliseconds of each candidate, summed over all cells of the block's type.
        base: Milliseconds of everything else.
        about: Device and network of the measurement, for people.
    """

    space: str
    candidates: tuple[tuple[float, ...], ...]
    base: float
    about: Mapping[str, str]

    def latency(self, support: Support) -> float:
        """Milliseconds of the network of a support."""
        kept = (row[index] for row, indices in zip(self.candidates, support, strict=True) for index in indices)
        return self.base + sum(kept)

    def check(self, network: SuperNet, path: str) -> None:
        """Check that the table is of a network of this size, if it says of which.

        Args:
            network: Super-net whose candidates it is asked about.
            path: File of the table.

        Raises:
            ConfigError: If it is of another size.
        """
        own, known = _size_text(network), self.about.get("network", "")
        if known not in ("", own):
            raise ConfigError(
                f"budget.latency_table: {path} was measured in a network of {shorten(known, 80)}, and this one has "
                f"{own}: measure it anew, by `python -m sparsenas latency` with the config or the sizes of this one"
            )

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
    """Read a file of :meth:`LatencyTable.write`, or one in that form made by other means.

    Raises:
        ConfigError: If the file cannot be read, is of another space, or lacks a candidate; or a number is none.
    """
    try:
        content = parse_json(read_text(path))
    except ReadingError as error:
        raise ConfigError(
            f"{path}: no readable latency table ({error}); write one by `python -m sparsenas latency`"
        ) from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise ConfigError(f"{path}: no latency table; its schema must be {SCHEMA!r}")
    if content.get("space") != space.name:
        raise ConfigError(
            f"{path}: a latency table of the space {shorten(repr(content.get('space')), 40)}, not of {space.name!r}"
        )
    try:
        known = {(cell, *key): ms for cell, key, ms in _entries(content, path)}
    except (TypeError, LookupError) as error:
        raise ConfigError(f"{path}: a damaged latency table ({shorten(error)}); measure it anew") from error
    rows = []
    for block in space.blocks:
        row = []
        for candidate in block.candidates:
            if (block.cell, *candidate) not in known:
                raise ConfigError(f"{path}: no latency of {candidate} in the {block.cell} cell; measure the table anew")
            row.append(known[(block.cell, *candidate)])
        rows.append(tuple(row))
    return LatencyTable(space.name, tuple(rows), milliseconds(content.get("base"), path), content.get("about", {}))


def _entries(content: Mapping[str, Any], path: str | Path) -> Iterator[tuple[str, tuple[int, int, str], float]]:
    """Yield cell type, candidate and milliseconds of every entry."""
    for block in content["blocks"]:
        for entry in block["candidates"]:
            key = (entry["target"], entry["source"], entry["primitive"])
            yield block["cell"], key, milliseconds(entry["ms"], path)


@torch.no_grad()
def measure_latency(
    network: SuperNet,
    batch: int = 1,
    rounds: int = 20,
    runtime: RuntimeName = "torch",
    threads: int | None = None,
) -> LatencyTable:
    """Time every kind of candidate at every size at which it occurs, in evaluation mode on the network's device.

    All kinds take turns in each of ``rounds``, so other work of the machine affects them alike; medians count. One run
    takes ``batch`` images. Candidates that share weights take what they would take alone. The time of a call that
    computes nothing is taken off. If candidates of one network, each alone, take longer than the whole network, as with
    cold caches, all are scaled to it; the table tells the share as ``together``.

    Args:
        network: Super-net.
        batch: Images at a time.
        rounds: Repetitions.
        runtime: Where candidates run: in onnxruntime each is an ONNX graph.
        threads: Threads; None for one in onnxruntime, and in PyTorch for as many as it has.

    Raises:
        ConfigError: If a number is below 1, or the runtime cannot be used here.
    """
    if batch < 1 or rounds < 1:
        raise ConfigError(f"latency: batch is {batch}, rounds is {rounds}; both are at least 1")
    network = network.unshared().to(network.classifier.weight.device)
    device = network.classifier.weight.device
    check_runtime(runtime, device, threads)
    images = _images(network, batch)
    support = network.space.sample_support(np.random.default_rng(0))
    wirings = network.wirings(support)
    states: list[list[Tensor]] = []
    with evaluating(network), preparing(runtime, threads) as prepare:
        network.run(images, wirings, trace=states)
        places = candidate_places(network, states)
        whole = network.derive(network.space.genotype(support)).eval()
        runs: dict[Kind | str, Run] = {WHOLE: prepare(whole, images), NOTHING: prepare(nn.Identity().eval(), images)}
        for place in (place for block in places for row in block for place in row):
            if place.kind not in runs:
                runs[place.kind] = prepare(place.operation, place.source)
        taken = times(runs, rounds, device)
    call = taken[NOTHING]  # of a runtime: a network has it once, not for each candidate
    ms = {kind: max(value - call, 0.0) for kind, value in taken.items()}
    candidates = [[sum(ms[place.kind] for place in row) for row in block] for block in places]
    kept = sum(row[index] for row, indices in zip(candidates, support, strict=True) for index in indices)
    share = min(taken[WHOLE] / kept, 1.0) if kept else 1.0
    told = {
        **about(runtime, device, batch, threads),
        "network": _size_text(network),
        "together": f"{share:.2f}",
    }
    rows = tuple(tuple(share * value for value in row) for row in candidates)
    return LatencyTable(network.space.name, rows, max(taken[WHOLE] - share * kept, 0.0), told)


@torch.no_grad()
def compare_latency(
    network: SuperNet, table: LatencyTable, rounds: int = 20, runtime: RuntimeName = "torch", threads: int | None = None
) -> tuple[float, float]:
    """Predict the milliseconds of a network by a table, and measure them.

    The network is another one than that which gave the base of the table.

    Args:
        network: Super-net of the table's space and size.
        table: Table.
        rounds: Repetitions.
        runtime: Where it runs.
        threads: Threads, as for :func:`measure_latency`.

    Returns:
        Predicted and measured milliseconds.
    """
    support = network.space.sample_support(np.random.default_rng(1))
    images = _images(network, int(table.about.get("batch", "1")))
    derived = network.derive(network.space.genotype(support)).eval()
    return table.latency(support), time_network(derived, images, rounds, runtime, threads)


def _size_text(network: SuperNet) -> str:
    """Describe the size of a network."""
    size, shape = network.size, "x".join(map(str, network.size["image_shape"]))
    return f"{size['channels']} channels, {size['cells']} cells, images {shape}"


def _images(network: SuperNet, batch: int) -> Tensor:
    device = network.classifier.weight.device
    return torch.randn(batch, *network.size["image_shape"], device=device).to(memory_format=torch.channels_last)
