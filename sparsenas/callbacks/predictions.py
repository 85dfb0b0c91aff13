"""Predictions as a file."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from sparsenas.files import write_atomically
from sparsenas.trainer import is_dry_run, run_folder


class PredictionWriter(pl.Callback):
    """Write the most probable class of every image to a CSV file: ``index,class,probability``.

    The index counts images from 0. ``predict_step`` returns class probabilities ``(B, classes)``; class names come from
    the data module. Each process writes its images to ``predictions.csv``, ``predictions.1.csv`` and so on; some images
    may be in two files.

    Args:
        filename: Name of the file in the folder of the run.
    """

    def __init__(self, filename: str = "predictions.csv") -> None:
        super().__init__()
        self.filename = filename
        self._best: list[tuple[int, float]] = []

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget an earlier prediction."""
        self._best = []

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the most probable label of every image and its probability."""
        probabilities: Tensor = outputs
        values, labels = probabilities.float().cpu().max(dim=1)
        self._best += zip(labels.tolist(), values.tolist(), strict=True)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the file, unless this is a ``fast_dev_run``."""
        if is_dry_run(trainer):
            return
        datamodule = getattr(trainer, "datamodule", None)  # set on the trainer, but not declared there
        names: Sequence[str] | None = getattr(datamodule, "class_names", None)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("index", "class", "probability"))
        for row, (label, probability) in enumerate(self._best):
            # every process reads each world_size-th image
            index = trainer.global_rank + row * trainer.world_size
            writer.writerow((index, names[label] if names else label, f"{probability:.6f}"))
        path = self.path(trainer)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.getvalue().encode())

    def path(self, trainer: pl.Trainer) -> Path:
        """Return the file of this process."""
        name = Path(self.filename)
        if trainer.global_rank:
            name = name.with_suffix(f".{trainer.global_rank}{name.suffix}")
        return run_folder(trainer) / name
