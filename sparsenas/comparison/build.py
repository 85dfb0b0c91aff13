"""From plain settings to objects, by the machinery of ``fit``."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from jsonargparse import ArgumentParser
from pytorch_lightning import Trainer
from pytorch_lightning.cli import LightningArgumentParser

# Imported so that configs can name their classes without the path
import sparsenas.callbacks
import sparsenas.data
import sparsenas.search
import sparsenas.spaces
import sparsenas.sparse_coding
import sparsenas.tables  # noqa: F401 - see above
from sparsenas.data import ImageData
from sparsenas.search import SearchModule
from sparsenas.tables import BenchmarkTable


def build_run(settings: Mapping[str, Any]) -> tuple[SearchModule, ImageData, Trainer]:
    """Searcher, images and trainer of a run.

    Args:
        settings: ``model``, ``data`` and ``trainer`` as in a config of ``fit``.

    Raises:
        argparse.ArgumentError: If a class or an option is unknown or of the wrong type.
        SparseNASError: What constructors raise.
    """
    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_lightning_class_args(Trainer, "trainer")
    parser.add_lightning_class_args(ImageData, "data", subclass_mode=True)
    parser.add_lightning_class_args(SearchModule, "model", subclass_mode=True)
    for name in ("image_shape", "num_classes"):
        parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate")
    # copied: the parser puts objects of its own into nested lists
    parsed = parser.parse_object({name: deepcopy(settings[name]) for name in ("model", "data", "trainer")})
    made = parser.instantiate(parsed)
    return made.model, made.data, Trainer(**made.trainer)  # left as options by Lightning's parser


def build_table(settings: Mapping[str, Any]) -> BenchmarkTable:
    """The table that judges; errors as for :func:`build_run`."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(BenchmarkTable, "table", required=True)
    table: BenchmarkTable = parser.instantiate(parser.parse_object({"table": settings})).table
    return table
