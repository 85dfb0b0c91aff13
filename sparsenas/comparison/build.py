"""From plain settings to objects, by the parser of ``fit``."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, cast

from jsonargparse import ArgumentParser
from pytorch_lightning import LightningModule, Trainer

from sparsenas.data import ImageData
from sparsenas.errors import ConfigError
from sparsenas.parser import SettingsParser
from sparsenas.search import Searcher
from sparsenas.spaces import SearchSpace
from sparsenas.tables import BenchmarkTable


class SearcherModule(Searcher, LightningModule):
    """A searcher that a trainer fits, for type checkers."""


def build_run(settings: Mapping[str, Any]) -> tuple[SearcherModule, ImageData, Trainer]:
    """Build searcher, images and trainer from ``model``, ``data`` and ``trainer`` as in a config of ``fit``.

    Raises:
        argparse.ArgumentError: If a class or an option is unknown or of the wrong type.
        SparseNASError: If a constructor refuses its options.
    """
    parser = SettingsParser(exit_on_error=False)
    parser.add_lightning_class_args(Trainer, "trainer")
    parser.add_lightning_class_args(ImageData, "data", subclass_mode=True)
    parser.add_lightning_class_args(LightningModule, "model", subclass_mode=True)
    for name in ("image_shape", "num_classes"):
        parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate")
    # copied: the parser puts objects of its own into nested lists
    parsed = parser.parse_object({name: deepcopy(settings[name]) for name in ("model", "data", "trainer")})
    made = parser.instantiate(parsed)
    if not isinstance(made.model, Searcher):
        raise ConfigError(f"model is {type(made.model).__name__}, which searches nothing")
    return cast(SearcherModule, made.model), made.data, Trainer(**made.trainer)  # left as options by Lightning's parser


def build_table(settings: Mapping[str, Any]) -> BenchmarkTable:
    """Build the table of accuracies; errors as for :func:`build_run`."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(BenchmarkTable, "table", required=True)
    table: BenchmarkTable = parser.instantiate(parser.parse_object({"table": settings})).table
    return table


def build_space(settings: Mapping[str, Any]) -> SearchSpace:
    """Build a search space; errors as for :func:`build_run`."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(SearchSpace, "space", required=True)
    space: SearchSpace = parser.instantiate(parser.parse_object({"space": settings})).space
    return space
