"""Scores on disk as they come, so that a search that is killed measures nothing twice."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparsenas.errors import CheckpointError, ConfigError
from sparsenas.files import write_atomically
from sparsenas.search.measured.survey import Measured
from sparsenas.search.searcher import ImageBatch
from sparsenas.spaces import SearchSpace, Support

#: Name of the file in a run's folder.
NAME = "proxies.jsonl"


class ScoreFile:
    """One line for each measured architecture, below a line with the settings of the search.

    Args:
        path: The file; made if it is not there. A last line that a killed run left torn is dropped.
        space: Search space.
        settings: Everything on which scores depend.

    Raises:
        CheckpointError: If the file has scores of other settings.
        ConfigError: If it cannot be read or written.
    """

    def __init__(self, path: Path, space: SearchSpace, settings: Mapping[str, Any]) -> None:
        self.path, self.space = path, space
        self._head = json.dumps({"schema": 1, "settings": dict(settings)}, sort_keys=True)
        self._known: dict[Support, Measured] = {}
        whole = self._read()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error
        write_atomically(path, "".join(f"{line}\n" for line in whole).encode())

    @property
    def known(self) -> dict[Support, Measured]:
        """Scores of earlier runs of the same search."""
        return dict(self._known)

    def append(self, support: Support, measured: Measured) -> None:
        """Write the scores of an architecture to the end of the file."""
        line = {
            "genotype": json.loads(self.space.genotype(support).to_json()),
            "support": support,
            "values": [[_plain(value) for value in row] for row in measured.values],
            "trained": None if measured.trained is None else _plain(measured.trained),
        }
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{json.dumps(line)}\n")
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be written ({error.strerror})") from error

    def _read(self) -> list[str]:
        """Read the whole lines of the file, the first included; fill :attr:`known`."""
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.path}: cannot be read ({error}); move it away") from error
        if not lines or lines[0] != self._head:
            if lines:
                raise CheckpointError(
                    f"{self.path}: its scores are of a search with other settings "
                    f"({_difference(lines[0], self._head)}); choose another folder for the run, or move the file away"
                )
            return [self._head]
        whole = [self._head]
        for line in lines[1:]:
            try:
                entry = json.loads(line)
                support = tuple(tuple(map(int, row)) for row in entry["support"])
                values = tuple(tuple(map(_number, row)) for row in entry["values"])
                trained = None if entry["trained"] is None else _number(entry["trained"])
            except (ValueError, KeyError, TypeError):
                break  # torn by a kill; what follows, if anything, was written by nobody
            self._known[support] = Measured(values, trained)
            whole.append(line)
        return whole


def digest(batches: Sequence[ImageBatch]) -> str:
    """Make a short text that tells apart the images on which scores were measured."""
    found = hashlib.sha256()
    for images, labels in batches:
        found.update(np.ascontiguousarray(labels.cpu().numpy()).tobytes())
        # rounded: sums over many pixels differ in their last digits between machines
        found.update(f"{float(images.float().mean()):.3e}".encode())
    return found.hexdigest()[:16]


def _plain(value: float) -> float | str:
    return value if np.isfinite(value) else str(value)


def _number(value: float | str) -> float:
    return float(value)


def _difference(there: str, here: str) -> str:
    """Name the settings that differ."""
    try:
        old, new = json.loads(there)["settings"], json.loads(here)["settings"]
        return ", ".join(name for name in new if old.get(name) != new[name]) or "order"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "not a score file"
