"""From plain settings to images, space, recipe and searcher, by the parser of ``fit``."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from pytorch_lightning import LightningModule

from sparsenas.data import ImageData
from sparsenas.errors import ConfigError
from sparsenas.parser import SettingsParser
from sparsenas.search import Tournament
from sparsenas.spaces import StageSpace
from sparsenas.training import WeightTraining


def parse_run(settings: Mapping[str, Any], seed: int) -> Callable[[], Any]:
    """Read the settings of a run; the function that is returned makes the objects, which reads the images.

    Args:
        settings: ``data``, ``space``, ``training``, ``seconds``; for a searcher ``model`` and ``arch_fraction``; for a
            tournament ``tournament``.
        seed: Seeds data and searcher.

    Returns:
        Function that gives ``data``, ``space``, ``training``, of a searcher ``model`` and ``images``, of a tournament
        ``tournament``.

    Raises:
        argparse.ArgumentError: If a class or an option is unknown or of the wrong type.
        SparseNASError: By the function, if a constructor refuses its options.
    """
    given: dict[str, Any] = deepcopy(dict(settings))  # the parser puts objects of its own into nested lists
    tournament = given.pop("tournament", None)
    model, arch_fraction = given.pop("model", None), given.pop("arch_fraction", 0.0)
    parser = SettingsParser(exit_on_error=False)
    parser.add_lightning_class_args(ImageData, "data", subclass_mode=True)
    parser.add_subclass_arguments(StageSpace, "space", required=True)
    parser.add_class_arguments(WeightTraining, "training")
    given["training"] = {**given["training"], "seconds": given.pop("seconds")}
    own = given["data"]
    given["data"] = _images(own, seed, 0.0)
    if tournament is not None:
        parser.add_class_arguments(Tournament, "tournament")
        given["tournament"] = deepcopy(dict(tournament))
    if model is not None:
        _check_free("model", model.get("init_args", {}), "seed")
        parser.add_lightning_class_args(LightningModule, "model", subclass_mode=True)
        options = {"space": given["space"], **model.get("init_args", {}), "seed": seed}
        given["model"] = {**model, "init_args": deepcopy(options)}
        source = "data"
        if arch_fraction > 0:
            source = "images"
            parser.add_lightning_class_args(ImageData, source, subclass_mode=True)
            given[source] = _images(own, seed, arch_fraction)
        for name in ("image_shape", "num_classes"):
            parser.link_arguments(f"{source}.{name}", f"model.init_args.{name}", apply_on="instantiate")
    parsed = parser.parse_object(given)
    return lambda: parser.instantiate(parsed)


def _images(data: Mapping[str, Any], seed: int, arch_fraction: float) -> dict[str, Any]:
    options = deepcopy(dict(data.get("init_args", {})))
    _check_free("data", options, "seed", "arch_fraction")
    if options.get("num_workers"):
        raise ConfigError("data: num_workers is above 0, but seconds of other processes would not count; leave it out")
    return {**data, "init_args": {**options, "num_workers": 0, "seed": seed, "arch_fraction": arch_fraction}}


def _check_free(where: str, options: Mapping[str, Any], *names: str) -> None:
    """Raise a ``ConfigError`` if an option is given that the comparison decides for each run."""
    for name in names:
        if name in options:
            raise ConfigError(f"{where}: {name} is {options[name]}, but the comparison decides it; leave it out")
