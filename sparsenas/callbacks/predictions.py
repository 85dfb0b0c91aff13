"""Predictions as a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from sparsenas.callbacks.gathered import Gathered
from sparsenas.files import write_atomically
from sparsenas.reporting import csv_bytes, prediction_rows
from sparsenas.trainer import is_dry_run, run_folder


class PredictionWriter(pl.Callback):
    """Write what the network says of every image to a CSV file: true and predicted label, and all probabilities.

    Columns are ``file``, or ``index`` in the order of their source, ``label``, ``predicted``, ``probability`` of the
    predicted label, and ``p(NAME)`` of each class. ``predict_step`` returns class probabilities ``(B, classes)``; names
    of classes and files come from the data module. Of several processes, the first one writes.

    Args:
        filename: Name of the file in the folder of the run; where it is taken, ``predictions_1.csv`` and so on.
    """

    def __init__(self, filename: str = "predictions.csv") -> None:
        super().__init__()
        self.filename = filename
        self._gathered = Gathered()
        self._path: Path | None = None

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget an earlier prediction, and choose a file that is not there yet: none is overwritten."""
        self._gathered, self._path = Gathered(), None
        self.path(trainer)

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the probabilities."""
        self._gathered.add(outputs, batch)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the file, unless this is a ``fast_dev_run``."""
        found = self._gathered.all(trainer, trainer.predict_dataloaders)
        self._gathered = Gathered()
        path = self.path(trainer)
        if is_dry_run(trainer) or not trainer.is_global_zero or found is None:
            return
        places, probabilities, labels = found
        data: Any = getattr(trainer, "datamodule", None)  # set on the trainer, but not declared there
        parts = getattr(data, "parts", None)
        files: Sequence[str] | None = None if parts is None else parts.test_files
        classes = getattr(data, "class_names", None) or [str(label) for label in range(probabilities.shape[1])]
        names = [str(place) if files is None else files[place] for place in places.tolist()]
        rows = prediction_rows(probabilities, labels, classes, names, files is not None, labels.ndim == 2)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, csv_bytes(rows))

    def path(self, trainer: pl.Trainer) -> Path:
        """Return the file, which is not there before the prediction; call it on every rank."""
        if self._path is None:
            first, number = run_folder(trainer) / self.filename, 0
            self._path = first
            while self._path.exists():
                number += 1
                self._path = first.with_stem(f"{first.stem}_{number}")
        return self._path
