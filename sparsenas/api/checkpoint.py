"""Read checkpoints, and rebuild the trained model and its images from nothing but one."""

from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from pytorch_lightning import LightningDataModule, LightningModule
from pytorch_lightning.cli import instantiate_module

from sparsenas.api.messages import user_error
from sparsenas.api.settings import FROM_DATA
from sparsenas.api.trained import TrainedNetwork
from sparsenas.checkpoints import load
from sparsenas.data import ImageData
from sparsenas.errors import CheckpointError, ConfigError, DataError, SparseNASError
from sparsenas.imports import check_classes, only_trusted
from sparsenas.networks import DerivedNet
from sparsenas.reading import shorten
from sparsenas.search import SearchModule

#: Options of data modules that say where the images are.
_PLACES = ("path", "root")

Made = TypeVar("Made", LightningModule, LightningDataModule)


def load_checkpoint(checkpoint: str | PathLike[str], data: str | PathLike[str] | None = None) -> TrainedNetwork:
    """Read the trained network of a checkpoint.

    It runs no code but that of this package, and of modules that :func:`sparsenas.trust` names.

    Args:
        checkpoint: A ``.ckpt`` file that a run of sparsenas wrote.
        data: Place of the images now, if they have moved.

    Raises:
        CheckpointError: If the checkpoint is damaged, foreign, or holds no trained network.
        DataError: If the images are gone or damaged.
    """
    path = Path(checkpoint)
    content = read_checkpoint(path, str(path))
    model = _model(path, content)
    images = _data(path, content, None if data is None else str(data))
    return TrainedNetwork(model, _deployable(path, model), images, path.resolve().parent.parent, path)


def read_checkpoint(path: str | Path, shown: str) -> dict[str, Any]:
    """Read a checkpoint; no code in it is run.

    Args:
        path: The file.
        shown: Its name in messages.

    Raises:
        CheckpointError: If the file is missing, damaged, or no checkpoint.
    """
    try:
        checkpoint = load(path)
    except CheckpointError as error:
        raise CheckpointError(f"{shown}{str(error).removeprefix(str(Path(path)))}") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise CheckpointError(f"{shown}: not a checkpoint of a run; give a .ckpt file that a run wrote")
    return checkpoint


def later_checkpoint(path: Path) -> Path | None:
    """Find a checkpoint beside another one that has trained for more steps; damaged files are none."""
    folder = next((parent for parent in path.absolute().parents if parent.name == "checkpoints"), path.parent)
    others = [file for file in sorted(folder.rglob("*.ckpt")) if not file.samefile(path)]
    steps = None
    for other in others:
        if other.stat().st_mtime_ns <= path.stat().st_mtime_ns:
            continue  # reading takes long
        with suppress(CheckpointError, LookupError, TypeError):
            steps = load(path)["global_step"] if steps is None else steps
            if load(other)["global_step"] > steps:
                return other
    return None


def plain(value: Any) -> Any:
    """Turn tuples into lists, as a configuration has them."""
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def check_images(shown: str, settings: Mapping[str, Any], data: LightningDataModule, option: str = "--data") -> None:
    """Check that a checkpoint belongs to images of the same shape and number of classes.

    Args:
        shown: Name of the checkpoint in messages.
        settings: Model settings stored in it.
        data: The images.
        option: The option that names them.

    Raises:
        CheckpointError: If it does not.
    """
    for name in FROM_DATA:
        kept, given = settings.get(name), getattr(data, name, None)
        if kept is not None and given is not None and plain(kept) != plain(given):
            raise CheckpointError(
                f"{shown}: was trained with {name} {shorten(kept, 40)}, but {option} has {shorten(given, 40)}; "
                "give the images, or the config, of that run"
            )


def _model(path: Path, checkpoint: Mapping[str, Any]) -> LightningModule:
    settings = _settings(path, checkpoint, LightningModule.CHECKPOINT_HYPER_PARAMS_KEY, "model")
    kind = _class(path, settings["_class_path"], LightningModule)
    if not hasattr(kind, "deployable"):
        raise CheckpointError(f"{path}: {_why_not_deployable(kind)}")
    try:
        model = _instantiate(LightningModule, settings)
        model.on_load_checkpoint(dict(checkpoint))
        model.load_state_dict(checkpoint["state_dict"])
    except Exception as error:  # defects are raised again by _mistake
        mistake = _mistake(error)
        raise CheckpointError(f"{path}: its model cannot be rebuilt: {mistake}") from error
    return model.eval()


def _deployable(path: Path, model: LightningModule) -> DerivedNet:
    try:
        network: DerivedNet = model.deployable()  # type: ignore[operator]  # a method that Lightning does not declare
        return network
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
    except Exception as error:  # defects are raised again by _mistake
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
        SparseNASError: If its constructor refuses.
    """
    try:
        with only_trusted():
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
    try:
        check_classes(settings)
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from error
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
