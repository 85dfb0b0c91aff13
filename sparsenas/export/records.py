"""Records of a manifest: accuracies, the calibration of probabilities, and files."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sparsenas.export.fields import Fields

#: Range of a temperature.
COLDEST, HOTTEST = 1e-3, 1e3


@dataclass(frozen=True)
class Accuracy:
    """Share of images of a part that the checkpoint's network classifies correctly.

    Attributes:
        accuracy: In [0, 1]; of images with several labels, the share with every label right.
        images: Number of images.
        map: Mean average precision of images with several labels, in [0, 1]; ``None`` of others.
    """

    accuracy: float
    images: int
    map: float | None = None

    @property
    def score(self) -> float:
        """The mean average precision if there is one, else the accuracy."""
        return self.accuracy if self.map is None else self.map

    def to_tree(self) -> dict[str, Any]:
        """Return what JSON holds of it."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class FileRecord:
    """Record of an exported file.

    Attributes:
        sha256: Hash of its bytes, hexadecimal.
        bytes: Its size.
        max_difference: Largest absolute difference of its logits to those of the checkpoint's network on real images;
            None for a file that does not compute.
        agreement: Share of these images that get the same class; None for a file that does not compute.
        milliseconds: Median time of one image in one thread, on the machine of the export; None if it was not measured.
        accuracy: By part, of a file that may differ from the network; empty for others.
    """

    sha256: str
    bytes: int
    max_difference: float | None = None
    agreement: float | None = None
    milliseconds: float | None = None
    accuracy: Mapping[str, Accuracy | None] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path, max_difference: float | None = None, agreement: float | None = None) -> "FileRecord":
        """Make the record of a file on disk."""
        return cls(sha256_of(path), path.stat().st_size, max_difference, agreement)

    def to_tree(self) -> dict[str, Any]:
        """Return what JSON holds of it."""
        tree = {"sha256": self.sha256, "bytes": self.bytes, "max_difference": self.max_difference}
        measured = {"agreement": self.agreement, "milliseconds": self.milliseconds}
        tree |= {name: value for name, value in measured.items() if value is not None}
        return tree | ({"accuracy": tree_of_accuracies(self.accuracy)} if self.accuracy else {})


@dataclass(frozen=True)
class Calibration:
    """Temperature of a network's probabilities, chosen on validation images.

    Attributes:
        temperature: Divides logits before the softmax; changes no class.
        before: Expected calibration error without it, in [0, 1].
        after: With it, on the same images.
        images: Number of images.
    """

    temperature: float
    before: float
    after: float
    images: int


def sha256_of(path: Path) -> str:
    """Return the hash of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_of_accuracies(found: Mapping[str, Accuracy | None]) -> dict[str, dict[str, Any] | None]:
    """Return what JSON holds of accuracies by part."""
    return {part: None if accuracy is None else accuracy.to_tree() for part, accuracy in found.items()}


def tree_of_calibration(found: Calibration | None) -> dict[str, Any]:
    """Return the fields of a calibration, which older versions ignore."""
    if found is None:
        return {}
    error = {"before": found.before, "after": found.after, "images": found.images}
    return {"temperature": found.temperature, "calibration_error": error}


def read_calibration(tree: Fields) -> Calibration | None:
    """Read what :func:`tree_of_calibration` wrote, if it is there.

    Raises:
        ExportError: If something is missing or wrong, as from all functions that read.
    """
    if "temperature" not in tree.names:
        return None
    error = tree.inside("calibration_error")
    before, after = (error.get(name, float, 0, 1) for name in ("before", "after"))
    return Calibration(tree.get("temperature", float, COLDEST, HOTTEST), before, after, error.get("images", int, 0))


def read_accuracy(fields: Fields | None) -> Accuracy | None:
    """Read an accuracy; None for a part without images."""
    if fields is None:
        return None
    precision = fields.get("map", float, 0, 1) if "map" in fields.names else None
    return Accuracy(fields.get("accuracy", float, 0, 1), fields.get("images", int, 0), precision)


def read_record(fields: Fields) -> FileRecord:
    """Read what :meth:`FileRecord.to_tree` wrote; exports of older versions lack the later fields."""

    def number(name: str) -> float | None:
        return None if name not in fields.names or fields.is_null(name) else fields.get(name, float)

    parts = fields.inside("accuracy") if "accuracy" in fields.names else None
    return FileRecord(
        fields.get("sha256", str),
        fields.get("bytes", int),
        None if fields.is_null("max_difference") else fields.get("max_difference", float),
        number("agreement"),
        number("milliseconds"),
        {} if parts is None else {part: read_accuracy(parts.optional(part)) for part in parts.names},
    )
