"""What a checkpoint holds, compared with what the command asks for."""

import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningDataModule

from sparsenas.errors import CheckpointError, GenotypeError
from sparsenas.spaces import read_genotype

#: Model settings that the command line takes from the data.
FROM_DATA = ("image_shape", "num_classes")


def read_checkpoint(path: str | Path, shown: str) -> dict[str, Any]:
    """A checkpoint's content; no code in it is run.

    Args:
        path: The file.
        shown: How messages name it.

    Raises:
        CheckpointError: If the file is missing, damaged, or no checkpoint.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{shown}: no such file; give a .ckpt file that a run wrote") from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{shown}: damaged, or not a checkpoint; give a .ckpt file that a run wrote") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise CheckpointError(f"{shown}: not a checkpoint of a run; give a .ckpt file that a run wrote")
    return checkpoint


def read_settings(path: str) -> dict[str, Any]:
    """The model settings stored in the checkpoint that ``--ckpt_path`` names.

    Raises:
        CheckpointError: If the file is missing, damaged, or no checkpoint.
    """
    settings: dict[str, Any] = read_checkpoint(path, f"--ckpt_path {path}").get("hyper_parameters", {})
    return settings


def check_images(shown: str, settings: Mapping[str, Any], data: LightningDataModule, option: str = "--data") -> None:
    """Check that a checkpoint belongs to images of the same shape and number of classes.

    Args:
        shown: How messages name the checkpoint.
        settings: Model settings stored in it.
        data: The images.
        option: The option that names them.

    Raises:
        CheckpointError: If it does not.
    """
    for name in FROM_DATA:
        kept, given = settings.get(name), getattr(data, name, None)
        if kept is not None and given is not None and _plain(kept) != _plain(given):
            raise CheckpointError(
                f"{shown}: was trained with {name} {_short(kept)}, but {option} has {_short(given)}; "
                "give the images, or the config, of that run"
            )


def check_model(path: str, settings: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Check that a checkpoint belongs to the class of model that is asked for.

    Raises:
        CheckpointError: If it does not; Lightning would build the checkpoint's model without a word.
    """
    kept, wanted = settings.get("_class_path"), asked.get("class_path")
    if kept is not None and wanted is not None and _class_name(kept) != _class_name(wanted):
        raise CheckpointError(
            f"--ckpt_path {path}: is a checkpoint of {_class_name(kept)}, but the config asks for "
            f"{_class_name(wanted)}; give the config of that run"
        )


def differences(asked: Mapping[str, Any], kept: Mapping[str, Any]) -> list[str]:
    """Settings of the checkpoint that Lightning lets win over those asked for.

    Args:
        asked: Model settings of the command line and its configs, as nested plain values.
        kept: The same after the checkpoint's were laid over them.

    Returns:
        One text per difference, e.g. ``"--model.channels: 16, not 24"``.
    """
    before, after = dict(_flat(asked.get("init_args", {}))), dict(_flat(kept.get("init_args", {})))
    return [
        f"--model.{key}: {_short(after[key])}, not {_short(before[key])}"
        for key in before
        # what the data decide is checked by check_images
        if key in after and key not in FROM_DATA and not _same(key, before[key], after[key])
    ]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _plain(value)


def _same(key: str, before: Any, after: Any) -> bool:
    if before == after:
        return True
    if not key.endswith("genotype"):
        return False
    try:  # a checkpoint keeps the text of the genotype that the command names by its file
        return read_genotype(str(before)) == read_genotype(str(after))
    except GenotypeError:
        return False


def _class_name(path: str) -> str:
    return path.rpartition(".")[2]


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _short(value: Any, most: int = 40) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= most else f"{text[: most - 3]}..."
