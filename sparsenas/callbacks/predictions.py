"""Predictions as a file."""

import csv
import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from sparsenas.files import write_atomically
from sparsenas.texts import readable
from sparsenas.trainer import is_dry_run, run_folder


class PredictionWriter(pl.Callback):
    """Write the most probable class of every image to a CSV file: ``index,class,probability``, and ``file`` if known.

    The index counts images from 0, in the order of their source. ``predict_step`` returns class probabilities
    ``(B, classes)``; names of classes and files come from the data module. Of several processes, the first one writes.

    Args:
        filename: Name of the file in the folder of the run; where it is taken, ``predictions_1.csv`` and so on.
    """

    def __init__(self, filename: str = "predictions.csv") -> None:
        super().__init__()
        self.filename = filename
        self._best: list[tuple[int, float]] = []
        self._path: Path | None = None

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget an earlier prediction, and choose a file that is not there yet: none is overwritten."""
        self._best, self._path = [], None
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
        """Keep the most probable label of every image and its probability."""
        probabilities: Tensor = outputs
        values, labels = probabilities.float().cpu().max(dim=1)
        self._best += zip(labels.tolist(), values.tolist(), strict=True)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the file, unless this is a ``fast_dev_run``."""
        rows = self._gathered(trainer)
        path = self.path(trainer)
        if is_dry_run(trainer) or not trainer.is_global_zero:
            return
        datamodule = getattr(trainer, "datamodule", None)  # set on the trainer, but not declared there
        names: Sequence[str] | None = getattr(datamodule, "class_names", None)
        parts = getattr(datamodule, "parts", None)
        files: Sequence[str] | None = None if parts is None else parts.test_files
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("index", "class", "probability", *(() if files is None else ("file",))))
        for index, label, probability in rows:
            file = () if files is None else (readable(files[index]),)
            writer.writerow((index, names[label] if names else label, f"{probability:.6f}", *file))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.getvalue().encode("utf-8", "backslashreplace"))

    def path(self, trainer: pl.Trainer) -> Path:
        """Return the file, which is not there before the prediction; call it on every rank."""
        if self._path is None:
            first, number = run_folder(trainer) / self.filename, 0
            self._path = first
            while self._path.exists():
                number += 1
                self._path = first.with_stem(f"{first.stem}_{number}")
        return self._path

    def _gathered(self, trainer: pl.Trainer) -> list[tuple[int, int, float]]:
        """Index, label and probability of the images of all processes, in order."""
        sampler = getattr(trainer.predict_dataloaders, "sampler", None)
        indices = getattr(sampler, "evaluated", None)
        if indices is None:  # not of this package: every process reads each world_size-th image
            indices = range(
                trainer.global_rank, trainer.global_rank + trainer.world_size * len(self._best), trainer.world_size
            )
        # limit_predict_batches leaves some out
        rows = [(int(index), *best) for index, best in zip(indices, self._best, strict=False)]
        if trainer.world_size == 1:
            return sorted(rows)
        gathered: list[Any] = [None] * trainer.world_size
        torch.distributed.all_gather_object(gathered, rows)
        return sorted(itertools.chain(*gathered))
