"""A trained network as files that need no checkpoint and no trainer, each proven before it is put in place."""

from sparsenas.export.blueprint import Blueprint
from sparsenas.export.formats import FORMATS, WeightsFormat, choose_formats
from sparsenas.export.manifest import Manifest, read_manifest
from sparsenas.export.preparation import Preparation
from sparsenas.export.read import load
from sparsenas.export.records import Accuracy, Calibration, FileRecord
from sparsenas.export.target import check_target
from sparsenas.export.write import Description, Quantisation, export_network

__all__ = [
    "FORMATS",
    "Accuracy",
    "Blueprint",
    "Calibration",
    "Description",
    "FileRecord",
    "Manifest",
    "Preparation",
    "Quantisation",
    "WeightsFormat",
    "check_target",
    "choose_formats",
    "export_network",
    "load",
    "read_manifest",
]
