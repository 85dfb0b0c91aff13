"""Measurements on disk as they come, so that a tournament that is killed measures nothing twice."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sparsenas.errors import CheckpointError, ConfigError
from sparsenas.files import write_atomically
from sparsenas.networks import NetworkConfig
from sparsenas.reading import ReadingError, parse_json, read_text
from sparsenas.search.budget import Budget
from sparsenas.search.measured.history import Entrant, History, Measurement
from sparsenas.search.measured.plan import Tournament
from sparsenas.search.measured.trainings import Trainings
from sparsenas.search.searcher import ImageBatch
from sparsenas.spaces import SearchSpace
from sparsenas.training import WeightTraining

#: Name of the file in a run's folder.
NAME = "tournament.jsonl"
SCHEMA = 1


class RecordFile:
    """One line for each measurement, below a line with the settings of the search.

    Args:
        path: The file; made if it is not there. A last line that a killed run left torn is dropped.
        settings: Everything on which measurements depend.

    Attributes:
        history: Measurements of earlier runs of the same search, to which :meth:`append` adds.

    Raises:
        CheckpointError: If the file has measurements of other settings.
        ConfigError: If it cannot be read or written.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self._head = json.dumps({"schema": SCHEMA, "settings": dict(settings)}, sort_keys=True)
        self.history = History()
        whole = self._read()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error
        write_atomically(path, "".join(f"{line}\n" for line in whole).encode())

    def append(self, measurement: Measurement) -> None:
        """Add a measurement to the history and to the end of the file."""
        self.history.add(measurement)
        line = asdict(measurement) | {"losses": [_plain(loss) for loss in measurement.losses]}
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{json.dumps(line)}\n")
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be written ({error.strerror})") from error

    def _read(self) -> list[str]:
        """Read the whole lines of the file, the first included; fill the history."""
        try:
            lines = read_text(self.path).splitlines() if self.path.exists() else []
        except ReadingError as error:
            raise ConfigError(f"{self.path}: cannot be read ({error}); move it away") from error
        if not lines or lines[0] != self._head:
            if lines:
                raise CheckpointError(
                    f"{self.path}: its measurements are of a search with other settings "
                    f"({_difference(lines[0], self._head)}); choose another folder for the run, or move the file away"
                )
            return [self._head]
        whole = [self._head]
        for number, line in enumerate(lines[1:], start=2):
            try:
                self.history.add(measurement_of(parse_json(line)))
            except (ValueError, LookupError, TypeError, AttributeError, OverflowError):
                if number < len(lines):
                    raise CheckpointError(
                        f"{self.path}, line {number}: no measurement; remove the line, and it is measured again"
                    ) from None
                break  # torn by a kill
            whole.append(line)
        return whole


def measurement_of(fields: Mapping[str, Any]) -> Measurement:
    """Read a measurement from its JSON form.

    Raises:
        TypeError, ValueError, KeyError: If it is none.
    """
    return Measurement(
        entrant=Entrant(**fields["entrant"]),
        rung=int(fields["rung"]),
        losses=tuple(map(float, fields["losses"])),
        accuracy=float(fields["accuracy"]),
        length=float(fields["length"]),
        spent=float(fields["spent"]),
        bonus=float(fields["bonus"]),
        expected=float(fields["expected"]),
        repeat=int(fields["repeat"]),
    )


def settings_of(
    space: SearchSpace,
    network: NetworkConfig,
    budget: Budget,
    tournament: Tournament,
    training: WeightTraining,
    trainings: Trainings,
) -> dict[str, Any]:
    """Collect everything on which measurements depend, as plain data."""
    options = {option.name: getattr(training, option.name) for option in fields(training)}
    optimizer = training.optimizer([torch.nn.Parameter(torch.zeros(1))])
    if options["class_weights"] == "none":
        del options["class_weights"]  # which earlier versions did not know
    # a function has no text of its own
    options["optimizer"] = f"{type(optimizer).__name__} {sorted(optimizer.defaults.items())}"
    return {
        "space": f"{space.name}: {' '.join(map(str, space.blocks))}",
        "network": asdict(network),
        "budget": repr(budget),
        "tournament": repr(tournament),
        "training": {name: str(value) for name, value in options.items()},
        "seed": trainings.seed,
        "images": digest(trainings.validation),
        "batches": digest([trainings.first_batch]),  # their size, order and augmentation
    }


def digest(batches: Iterable[ImageBatch]) -> str:
    """Make a short text that tells apart the images on which losses were measured."""
    found = hashlib.sha256()
    for images, labels in batches:
        found.update(np.ascontiguousarray(labels.cpu().numpy()).tobytes())
        # rounded: sums over many pixels differ in their last digits between machines
        found.update(f"{float(images.float().mean()):.3e}".encode())
    return found.hexdigest()[:16]


def _plain(value: float) -> float | str:
    return value if np.isfinite(value) else str(value)


def _difference(there: str, here: str) -> str:
    """Name the settings that differ."""
    try:
        old, new = parse_json(there)["settings"], parse_json(here)["settings"]
        return ", ".join(name for name in new if old.get(name) != new[name]) or "order"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "not a file of a tournament"
