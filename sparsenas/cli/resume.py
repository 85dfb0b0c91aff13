"""Compare the settings of a checkpoint with those that a command asks for."""

from collections.abc import Iterator, Mapping
from typing import Any

from sparsenas.api.checkpoint import plain, read_checkpoint
from sparsenas.api.settings import FROM_DATA
from sparsenas.errors import CheckpointError, ConfigError, GenotypeError
from sparsenas.imports import check_classes
from sparsenas.reading import shorten
from sparsenas.spaces import read_genotype


def read_settings(path: str, resume: bool, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Read the model settings stored in the checkpoint that ``--ckpt_path`` names.

    Args:
        path: The checkpoint.
        resume: True if the run of the checkpoint is to go on.
        asked: Model settings of the command line and its configs.

    Raises:
        CheckpointError: If the file is missing, damaged, or no checkpoint, does not hold what a resume needs, or names
            classes of modules that are not trusted.
    """
    checkpoint = read_checkpoint(path, f"--ckpt_path {path}")
    if resume and not {"optimizer_states", "lr_schedulers", "loops"} <= checkpoint.keys():
        raise CheckpointError(
            f"--ckpt_path {path}: holds weights only, which `test` and `export` take, but no run can go on from; set "
            "save_weights_only of ModelCheckpoint to false"
        )
    settings: dict[str, Any] = checkpoint.get("hyper_parameters", {})
    try:
        check_classes(settings, asked)
    except ConfigError as error:
        raise CheckpointError(f"--ckpt_path {path}: {error}") from error
    return settings


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
        f"--model.{key}: {shorten(after[key], 40)}, not {shorten(before[key], 40)}"
        for key in before
        # what the data decide is checked by check_images
        if key in after and key not in FROM_DATA and not _same(key, before[key], after[key])
    ]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", plain(value)


def _same(key: str, before: Any, after: Any) -> bool:
    if before == after:
        return True
    if not key.endswith("genotype"):
        return False
    if before is None:  # none was asked for, and the run has found one since
        return True
    try:  # a checkpoint keeps the text of the genotype that the command names by its file
        return read_genotype(str(before)) == read_genotype(str(after))
    except GenotypeError:
        return False


def _class_name(path: str) -> str:
    return path.rpartition(".")[2]
