"""Pictures in whatever logger a run has."""

from collections.abc import Mapping
from io import BytesIO

import numpy as np
import pytorch_lightning as pl
from PIL import Image
from pytorch_lightning.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger

from sparsenas.callbacks.tensorboard import trained_batches


def log_pictures(trainer: pl.Trainer, pictures: Mapping[str, bytes]) -> None:
    """Show pictures in TensorBoard, Weights & Biases and MLflow; other loggers know none.

    Args:
        trainer: Its loggers are asked; of several processes, the first one writes.
        pictures: PNG files by name.
    """
    if not trainer.is_global_zero:
        return
    step = trained_batches(trainer)
    for name, content in pictures.items():
        image = Image.open(BytesIO(content)).convert("RGB")
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(name, np.array(image), global_step=step, dataformats="HWC")
            elif isinstance(logger, WandbLogger):
                logger.log_image(name, [image], step)
            elif isinstance(logger, MLFlowLogger):
                logger.experiment.log_image(logger.run_id, image, f"{name}.png")
