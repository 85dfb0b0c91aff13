"""The folder that a command writes to: a new one, with a name or a number, or that of the run it goes on with."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace

from sparsenas.api.checkpoint import later_checkpoint
from sparsenas.api.run_names import check_name, free_name, next_version
from sparsenas.cli.processes import is_first
from sparsenas.errors import ConfigError
from sparsenas.files import write_atomically
from sparsenas.texts import note

CONFIG = "config.yaml"
#: Options that name a folder.
_PLACES = ("save_dir", "name", "version")
#: Loggers that write files into a folder ``save_dir/name/version``.
_IN_FOLDERS = ("TensorBoardLogger", "CSVLogger")


@dataclass(frozen=True)
class RunFolder:
    """Place that a command writes to.

    Attributes:
        logger: Option ``trainer.logger``.
        root: Option ``trainer.default_root_dir``.
        going_on: Folder of the run that goes on, or whose checkpoint is evaluated; ``None`` for a new folder.
    """

    logger: Any
    root: Any
    going_on: Path | None = None


def choose_folder(command: str, args: Sequence[str], config: Any) -> RunFolder:
    """Choose the folder of a command.

    A fit with ``--ckpt_path`` goes on in the folder of that run, unless it holds a later checkpoint, which it would
    overwrite. An evaluation writes into the folder of the run, and no events. If the folder is unknown or cannot be
    written, or options name another place, all get a new folder. A fit without a logger that has a folder for each run
    gets one as ``default_root_dir``; with no logger at all, only where it has a name.

    Args:
        command: ``"fit"``, ``"validate"``, ``"test"`` or ``"predict"``.
        args: Its arguments.
        config: Its settings.

    Raises:
        ConfigError: If ``--name`` is no name, or stands beside other options that name the folder.
    """
    logger, root = config["trainer"]["logger"], config["trainer"]["default_root_dir"]
    options = [str(arg).partition("=")[0] for arg in args]
    named = [option for option in options if _names_folder(option, logger)]
    name, dry = config["name"], bool(config["trainer"]["fast_dev_run"])
    if name is not None:
        check_name("--name", name)
    if "--name" in options and named:
        raise ConfigError(f"--name {name}: {named[0]} names the folder, too; leave one out")
    if dry or named:
        return RunFolder(logger, root)
    path = config["ckpt_path"]
    run = None if path is None else _folder_of(Path(path))
    if run is not None and path is not None:
        if command != "fit":
            if _can_be_written(run):
                return RunFolder(_without_files(logger), str(run), run)
        elif _goes_on(run, Path(path), logger, name if "--name" in options else None):
            return RunFolder(*_placed(logger, root, run), run)
    homeless = root is None and _parts(logger) and not _in_folders(logger)
    if command == "fit" and (name is not None or homeless):
        parent = _parent(logger)
        # other processes than the first ask it where the folder is
        free = (free_name(parent, name) if name else next_version(parent)) if is_first() else name or ""
        return RunFolder(*_placed(logger, root, parent / free))
    return RunFolder(logger, root)


def number_folder(folder: RunFolder) -> tuple[Path, RunFolder]:
    """Fix the folder that the logger of a run would number, so that a file can be put there before the run.

    Args:
        folder: Where the run writes.

    Returns:
        The folder, and where the run writes now.
    """
    parent = _parent(folder.logger)
    options = getattr(next(iter(_parts(folder.logger)), None), "init_args", {})
    version = options.get("version")
    if version is None:
        run = parent / next_version(parent)
    else:
        run = parent / (f"version_{version}" if isinstance(version, int) else str(version))
    return run, RunFolder(*_placed(folder.logger, folder.root, run), folder.going_on)


def same_folder(run: Path) -> tuple[object, ...]:
    """Return the options by which a run with the settings of a folder writes into that folder.

    Args:
        run: The folder, whose loggers have a folder for each run.
    """
    loggers = yaml.safe_load((run / CONFIG).read_bytes())["trainer"]["logger"]
    if not isinstance(loggers, list):
        return "--trainer.logger.init_args.version", run.name
    for logger in loggers:  # an option of one would be that of the last
        if logger["class_path"].rpartition(".")[2] in _IN_FOLDERS:
            logger["init_args"]["version"] = run.name
    return "--trainer.logger", json.dumps(loggers)


def keep_config(run: Path, config: str) -> None:
    """Keep the settings of a run that goes on with others, as ``config_1.yaml`` and so on.

    Args:
        run: Folder of the run.
        config: Settings with which it goes on.
    """
    before = (run / CONFIG).read_bytes()
    if yaml.safe_load(before) == yaml.safe_load(config):
        return
    stem, ending = CONFIG.split(".")
    number = 1
    while (kept := run / f"{stem}_{number}.{ending}").exists():
        number += 1
    write_atomically(kept, before)
    note(f"the run goes on in {run}; its settings so far are kept in {kept}")


def _names_folder(option: str, logger: Any) -> bool:
    """Say if an option of the command line says where to write; folders of other loggers are their own."""
    _, of_logger, field = option.partition("--trainer.logger")
    place = of_logger and (not field or field.rpartition(".")[2] in _PLACES) and _in_folders(logger)
    return bool(place) or option == "--trainer.default_root_dir"


def _folder_of(checkpoint: Path) -> Path | None:
    """Find the folder of the run that wrote a checkpoint: the one with its settings, above ``checkpoints``."""
    for folder in checkpoint.absolute().parents:
        if folder.name == "checkpoints" and (folder.parent / CONFIG).is_file():
            run, here = folder.parent, Path.cwd()
            return run.relative_to(here) if run.is_relative_to(here) else run
    return None


def _can_be_written(run: Path) -> bool:
    return os.access(run, os.W_OK)


def _goes_on(run: Path, checkpoint: Path, logger: Any, name: str | None) -> bool:
    """Say if a fit goes on in the folder of its run; a note says why not."""
    if name is not None and name != run.name:
        return False
    if any(_class(part) == "CSVLogger" for part in _parts(logger)):
        reason = "CSVLogger would begin its file anew"
    elif (later := later_checkpoint(checkpoint)) is not None:
        reason = f"{later} is later, and would be overwritten"
    elif not _can_be_written(run):
        reason = "it cannot be written"
    else:
        return True
    if is_first():
        note(f"the run gets a folder of its own, and does not go on in {run}: {reason}")
    return False


def _placed(logger: Any, root: Any, folder: Path) -> tuple[Any, Any]:
    """Return the options ``trainer.logger`` and ``trainer.default_root_dir`` of a run in a folder."""
    above = folder.parent
    place = {"save_dir": str(above.parent if above.name else above), "name": above.name, "version": folder.name}
    placed = []
    for part in _parts(logger):
        if part is True:
            part = _settings("pytorch_lightning.loggers.TensorBoardLogger", {})
        if _class(part) in _IN_FOLDERS:
            part = _settings(part.class_path, {**vars(part.init_args), **place})
        placed.append(part)
    in_folder = bool(_in_folders(placed))
    return (placed if isinstance(logger, list) else placed[0] if placed else False), root if in_folder else str(folder)


def _settings(class_path: str, options: Mapping[str, Any]) -> Namespace:
    inner = Namespace(options)  # type: ignore[no-untyped-call]  # jsonargparse's own
    return Namespace(class_path=class_path, init_args=inner)  # type: ignore[no-untyped-call]


def _without_files(logger: Any) -> Any:
    """Return the loggers of an evaluation, whose step is 0: none that would draw it into the charts of the run."""
    return [part for part in _parts(logger) if part not in _in_folders(logger)] or False


def _parent(logger: Any) -> Path:
    """Return the folder of the runs of a logger."""
    for part in _in_folders(logger):
        if part is not True:
            return Path(part.init_args.get("save_dir") or ".") / (part.init_args.get("name") or "")
    return Path("lightning_logs")


def _in_folders(logger: Any) -> list[Any]:
    """Return the loggers of an option that have a folder for each run; ``True`` stands for the usual one."""
    return [part for part in _parts(logger) if part is True or _class(part) in _IN_FOLDERS]


def _parts(logger: Any) -> list[Any]:
    """Return the loggers of an option; ``True`` stands for the usual one."""
    if isinstance(logger, list):
        return logger
    return [] if logger is False else [True if logger is None else logger]


def _class(logger: Any) -> str:
    return str(getattr(logger, "class_path", "")).rpartition(".")[2]
