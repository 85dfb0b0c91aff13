"""The manifest of an export: origin, accuracy and files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from sparsenas.errors import ExportError, GenotypeError
from sparsenas.export.blueprint import Blueprint
from sparsenas.export.fields import Fields
from sparsenas.export.preparation import Preparation
from sparsenas.export.records import (
    Accuracy,
    Calibration,
    FileRecord,
    read_accuracy,
    read_calibration,
    read_record,
    sha256_of,
    tree_of_accuracies,
    tree_of_calibration,
)
from sparsenas.images import Resize, covered
from sparsenas.networks import NormOptions, StemName
from sparsenas.networks.config import DEEPEST, WIDEST
from sparsenas.networks.normalisation import AppendedNorm
from sparsenas.reading import ReadingError, parse_json, read_text, shorten
from sparsenas.spaces import Genotype

#: Name and version of the JSON layout; the version is raised when the layout changes.
SCHEMA, VERSION = "sparsenas.export", 1
#: Most pixels of a side, and channels; most classes; range of mean and deviation of pixels scaled to [0, 1].
LARGEST, CLASSES, BRIGHTEST, DARKEST = 2**14, 2**20, 1e4, 1e-30
#: Files of every export.
MANIFEST, GENOTYPE = "manifest.json", "genotype.json"


@dataclass(frozen=True)
class Manifest:
    """Description of an export; :meth:`to_json` is the file ``manifest.json``.

    Attributes:
        blueprint: Arguments of the network. The genotype has a file of its own.
        preparation: Preparation of images for the network.
        class_names: One name per logit.
        parameters: Number of parameters of the exported network.
        macs: MACs of the exported network, for one image.
        accuracy: By part, ``"val"`` and ``"test"``; None without images. Test images decide nothing.
        tolerance: Largest absolute difference of logits that an exported file may have.
        compared_images: Number of images on which every file was run.
        files: Record of every file beside the manifest.
        created: Time of the export, ISO 8601, UTC.
        versions: Versions of ``sparsenas``, ``torch`` and ``python`` that wrote it.
        calibration: Temperature of its probabilities; None without validation images, and in older exports.
        multilabel: True if images have any number of labels: the sigmoid of a logit is the probability of its label.
    """

    blueprint: Blueprint
    preparation: Preparation
    class_names: tuple[str, ...]
    parameters: int
    macs: int
    accuracy: Mapping[str, Accuracy | None]
    tolerance: float
    compared_images: int
    files: Mapping[str, FileRecord]
    created: str
    versions: Mapping[str, str]
    calibration: Calibration | None = None
    multilabel: bool = False

    @property
    def temperature(self) -> float:
        """Number that divides logits for calibrated probabilities; 1 if it was not chosen."""
        return 1.0 if self.calibration is None else self.calibration.temperature

    def to_json(self) -> str:
        """Return the JSON text."""
        blueprint, preparation = self.blueprint, self.preparation
        tree = {
            "schema": f"{SCHEMA}/{VERSION}",
            "created": self.created,
            "versions": dict(self.versions),
            "input": {
                "shape": blueprint.image_shape,
                "layout": "CHW",
                "dtype": "float32",
                "range": [0.0, 1.0],
                "mean": preparation.mean,
                "std": preparation.std,
                "resize": _resize_recipe(preparation),
            },
            "classes": self.class_names,
            **({"multilabel": True} if self.multilabel else {}),
            "network": {
                "num_classes": blueprint.num_classes,
                "channels": blueprint.channels,
                "cells": blueprint.cells,
                "stem": blueprint.stem,
                "norms": vars(blueprint.norms),
                "fused": blueprint.fused,
            },
            "parameters": self.parameters,
            "macs": self.macs,
            "accuracy": tree_of_accuracies(self.accuracy),
            **tree_of_calibration(self.calibration),
            "comparison": {"images": self.compared_images, "tolerance": self.tolerance},
            "files": {name: record.to_tree() for name, record in self.files.items()},
        }
        return json.dumps(tree, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, genotype: Genotype, where: str) -> "Manifest":
        """Read what :meth:`to_json` wrote; the genotype has a file of its own, and messages name ``where``.

        Raises:
            ExportError: If the text is no manifest, has another version, or lacks something.
        """
        tree = parse(text, where)
        network, given = tree.inside("network"), tree.inside("input")
        comparison, accuracy, files = tree.inside("comparison"), tree.inside("accuracy"), tree.inside("files")
        shape = given.several("shape", int, 3, 1, LARGEST)
        classes = network.get("num_classes", int, 1, CLASSES)
        image_shape = shape[0], shape[1], shape[2]
        norms, resize, versions = network.inside("norms"), given.optional("resize"), tree.inside("versions")
        return cls(
            blueprint=Blueprint(
                genotype=genotype,
                image_shape=image_shape,
                num_classes=classes,
                channels=network.get("channels", int, 1, WIDEST),
                cells=network.get("cells", int, 0, DEEPEST),
                stem=cast(StemName, network.choice("stem", get_args(StemName))),
                norms=NormOptions(
                    affine=norms.get("affine", bool),
                    track=norms.get("track", bool),
                    append=cast(AppendedNorm, norms.choice("append", get_args(AppendedNorm))),
                ),
                fused=network.get("fused", bool),
            ),
            preparation=Preparation(
                image_shape=image_shape,
                mean=given.several("mean", float, shape[0], -BRIGHTEST, BRIGHTEST),
                std=given.several("std", float, shape[0], DARKEST, BRIGHTEST),
                resize=None if resize is None else _resize(resize),
            ),
            class_names=tree.several("classes", str, classes),
            parameters=tree.get("parameters", int, 0),
            macs=tree.get("macs", int, 0),
            accuracy={part: read_accuracy(accuracy.optional(part)) for part in accuracy.names},
            tolerance=comparison.get("tolerance", float, 0),
            compared_images=comparison.get("images", int, 0),
            files={name: read_record(files.inside(name)) for name in files.names},
            created=tree.get("created", str),
            versions={name: versions.get(name, str) for name in versions.names},
            calibration=read_calibration(tree),
            multilabel="multilabel" in tree.names and tree.get("multilabel", bool),
        )


def parse(text: str, where: str) -> Fields:
    """Return the fields of a manifest of this version.

    Raises:
        ExportError: If the text is not JSON, no manifest, or has another version.
    """
    try:
        tree = parse_json(text)
    except ReadingError as error:
        raise ExportError(f"{where}: not a manifest ({error}); export the network again") from error
    schema = tree.get("schema") if isinstance(tree, dict) else None
    name, _, version = schema.partition("/") if isinstance(schema, str) else ("", "", "")
    if name != SCHEMA or not version.isdecimal():
        raise ExportError(
            f"{where}: not the manifest of an export (schema is {shorten(repr(schema), 40)}, not '{SCHEMA}/{VERSION}')"
        )
    if int(version) != VERSION:
        raise ExportError(
            f"{where}: is of layout {shorten(schema, 40)}, this version of sparsenas reads '{SCHEMA}/{VERSION}'; "
            "read it by the version that wrote it, or export the network again"
        )
    return Fields(tree, where)


def read_manifest(folder: str | Path) -> Manifest:
    """Read the manifest of an export and its genotype.

    Raises:
        ExportError: If the folder holds no intact export.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ExportError(f"{folder}: no such folder; name one that `python -m sparsenas export` wrote")
    where = str(folder / MANIFEST)
    text = _text(folder / MANIFEST)
    parse(text, where)  # a foreign folder is refused as such, not for its missing genotype
    try:
        genotype = Genotype.from_json(_text(folder / GENOTYPE), str(folder / GENOTYPE))
    except GenotypeError as error:
        raise ExportError(f"{error}; export the network again") from error
    manifest = Manifest.from_json(text, genotype, where)
    check_intact(folder, manifest, GENOTYPE)
    return manifest


def check_intact(folder: Path, manifest: Manifest, name: str) -> None:
    """Check that a file is the one for which the manifest was written.

    Raises:
        ExportError: If it is missing or another.
    """
    path = folder / name
    if name not in manifest.files:
        raise ExportError(f"{folder / MANIFEST}: has no record of {name}; export the network again")
    if path.exists() and not path.is_file():  # to read a pipe would wait for ever
        raise ExportError(f"{path}: is no file; export the network again")
    try:
        found = sha256_of(path)
    except OSError as error:
        raise ExportError(f"{path}: cannot be read ({error.strerror}); export the network again") from error
    if found != manifest.files[name].sha256:
        raise ExportError(
            f"{path}: damaged or replaced (its sha256 is not that of {MANIFEST}); export the network again"
        )


def _resize_recipe(preparation: Preparation) -> dict[str, Any] | None:
    resize, (_, height, width) = preparation.resize, preparation.image_shape
    if resize is None:
        return None
    how: dict[str, Any] = {"squash": (height, width)}
    if resize == "pad":
        how = {"pad": (height, width), "colour": "black"}
    elif resize != "squash":
        box = {"shorter_side": resize} if height == width else {"cover": covered(resize, height, width)}
        how = {**box, "centre_crop": (height, width)}
    return {"orientation": "upright, by EXIF", **how, "interpolation": "bilinear, antialiased"}


def _resize(fields: Fields) -> Resize:
    if {"squash", "squeeze"} & set(fields.names):  # the latter is the word of earlier versions
        return "squash"
    if "pad" in fields.names:
        return "pad"
    if "cover" in fields.names:
        return min(fields.several("cover", int, 2, 1, LARGEST))
    return fields.get("shorter_side", int, 1, LARGEST)


def _text(path: Path) -> str:
    if not path.is_file():  # nor a pipe, which to read would wait for ever
        raise ExportError(
            f"{path}: no such file, so {path.parent} is no whole export; name a folder that "
            "`python -m sparsenas export` wrote"
        )
    try:
        return read_text(path)
    except ReadingError as error:
        raise ExportError(f"{path}: cannot be read ({error}); export the network again") from error
