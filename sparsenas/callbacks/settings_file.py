"""The settings of a run in a file of its folder."""

import pytorch_lightning as pl
from pytorch_lightning.cli import SaveConfigCallback

from sparsenas.trainer import first_folder


class SettingsFile(SaveConfigCallback):
    """Write the settings into the folder of the run; Lightning writes them into that of the first logger.

    Use it with ``save_to_log_dir=False``.
    """

    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Write the file; Lightning calls this in the first process only."""
        folder = first_folder(trainer)
        folder.mkdir(parents=True, exist_ok=True)
        self.parser.save(self.config, str(folder / self.config_filename), skip_none=False, overwrite=self.overwrite)
