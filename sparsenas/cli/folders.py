"""Check that a run can write before it begins."""

import os
import tempfile
from pathlib import Path

from pytorch_lightning import Trainer

from sparsenas.errors import ConfigError
from sparsenas.trainer import first_folder, folder_loggers, is_dry_run


def check_writable(trainer: Trainer) -> None:
    """Make the folder of the run and write into it.

    Raises:
        ConfigError: If that is not possible, or a file stands where a folder should be; the message names the option.
    """
    if is_dry_run(trainer) or not trainer.is_global_zero:
        return
    folder, root = first_folder(trainer), Path(trainer.default_root_dir)
    if trainer.loggers and root.exists() and not root.is_dir():
        raise ConfigError(f"{root}: is a file; name a folder by --trainer.default_root_dir, or leave it out")
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        option = "--trainer.logger.save_dir" if folder_loggers(trainer) else "--trainer.default_root_dir"
        raise ConfigError(f"cannot write to {folder} ({error.strerror}); name a writable folder by {option}") from error
