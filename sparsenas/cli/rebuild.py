"""A trained model and its images, rebuilt from nothing but a checkpoint."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from pytorch_lightning import LightningDataModule, LightningModule
from pytorch_lightning.cli import instantiate_module

from sparsenas.cli.messages import user_error
from sparsenas.cli.resume import check_images, read_checkpoint
from sparsenas.data import ImageData
from sparsenas.errors import CheckpointError, ConfigError, DataError, SparseNASError
from sparsenas.networks import DerivedNet
from sparsenas.search import SearchModule

#: Options of data modules that say where the images are.
_PLACES = ("path", "root")

Made = TypeVar("Made", LightningModule, LightningDataModule)


@dataclass(frozen=True)
class Trained:
    """What a run trained.

    Attributes:
        model: In evaluation mode.
        network: The network for use, computing the same.
        data: The images it was trained on, normalised as they were then.
    """

    model: LightningModule
    network: DerivedNet
    data: ImageData


def rebuild(path: Path, data_path: str | None = None) -> Trained:
    """Rebuild what the run that wrote a checkpoint trained.

    Only the classes that its configuration names are imported; the checkpoint itself runs no code.

    Args:
        path: The checkpoint.
        data_path: Where the images are now; by default, where they were.

    Raises:
        CheckpointError: If the checkpoint is damaged, foreign, or holds no trained network.
        DataError: If the images are gone or damaged.
    """
    checkpoint = read_checkpoint(path, str(path))
    model = _model(path, checkpoint)
    return Trained(model, _deployable(path, model), _data(path, checkpoint, data_path))


def _model(path: Path, checkpoint: Mapping[str, Any]) -> LightningModule:
    settings = _settings(path, checkpoint, LightningModule.CHECKPOINT_HYPER_PARAMS_KEY, "model")
    kind = _class(path, settings["_class_path"], LightningModule)
    if not hasattr(kind, "deployable"):
        raise CheckpointError(f"{path}: {_why_not_deployable(kind)}")
    try:
        model = _instantiate(LightningModule, settings)
        model.on_load_checkpoint(dict(checkpoint))
        model.load_state_dict(checkpoint["state_dict"])
    except Exception as error:
        mistake = _mistake(error)
        raise CheckpointError(f"{path}: its model cannot be rebuilt: {mistake}") from error
    return model.eval()


def _deployable(path: Path, model: LightningModule) -> DerivedNet:
    make: Callable[[], DerivedNet] = getattr(model, "deployable")  # noqa: B009 - a method that Lightning does not declare
    try:
        return make()
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _why_not_deployable(kind: type[LightningModule]) -> str:
    if issubclass(kind, SearchModule):
        return (
            f"is of {kind.__name__}, which finds a genotype but trains no network for it; train it first: "
            "python -m sparsenas fit --config train_digits --model.genotype GENOTYPE.json (or another train_* config)"
        )
    return f"is of {kind.__name__}, which has no method deployable() that gives its trained network"


def _data(path: Path, checkpoint: Mapping[str, Any], data_path: str | None) -> ImageData:
    settings = _settings(path, checkpoint, LightningDataModule.CHECKPOINT_HYPER_PARAMS_KEY, "data")
    kind = _class(path, settings["_class_path"], ImageData)
    if data_path is not None:
        places = [name for name in _PLACES if name in settings]
        if not places:
            raise ConfigError(
                f"--data-path {data_path}: {kind.__name__} has no path that it could replace; leave it out"
            )
        settings[places[0]] = data_path
    try:
        data = _instantiate(LightningDataModule, settings)
        assert isinstance(data, ImageData)
        data.prepare_data()
        if kind.__qualname__ in checkpoint:  # where Lightning keeps the state of data modules
            data.load_state_dict(checkpoint[kind.__qualname__])
    except Exception as error:
        raise DataError(
            f"{path}: its images cannot be read: {_mistake(error)}; if they have moved, give --data-path"
        ) from error
    model_settings = checkpoint[LightningModule.CHECKPOINT_HYPER_PARAMS_KEY]
    check_images(str(path), model_settings, data, "--data-path" if data_path else f"its {kind.__name__}")
    return data


def _instantiate(base: type[Made], settings: dict[str, Any]) -> Made:
    """Make what a stored configuration describes.

    Raises:
        ConfigError: If its class does not take the stored options.
        SparseNASError: What its constructor raises.
    """
    try:
        return instantiate_module(base, settings)
    except (TypeError, ValueError) as error:  # jsonargparse makes one out of the other
        mistake, cause = user_error(error), error.__cause__ or error
        raise mistake or ConfigError(f"its options do not fit its class ({cause})") from error


def _mistake(error: Exception) -> SparseNASError:
    """The error of the user behind an exception; others are defects and go on as they are."""
    mistake = user_error(error)
    if mistake is None:
        raise error
    return mistake


def _settings(path: Path, checkpoint: Mapping[str, Any], key: str, what: str) -> dict[str, Any]:
    """Stored configuration of the model or the data."""
    settings = checkpoint.get(key)
    if not isinstance(settings, Mapping) or not isinstance(settings.get("_class_path"), str):
        raise CheckpointError(
            f"{path}: does not say of which class its {what} is; checkpoints of `python -m sparsenas fit` do, if this "
            "version wrote them (in Python, use sparsenas.export.export_network)"
        )
    return {name: value for name, value in settings.items() if name != "_instantiator"}


def _class(path: Path, name: str, base: type[Made]) -> type[Made]:
    """The class of a dotted name."""
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot import {name} ({error}); put its module on PYTHONPATH") from error
    if not isinstance(found, type) or not issubclass(found, base):
        raise CheckpointError(f"{path}: {name} is no {base.__name__}, so it cannot be exported")
    return found
