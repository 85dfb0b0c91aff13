"""What Lightning's loop costs beside a bare loop over the same steps.

    python benchmarks/framework_overhead.py [--json FILE]

A two-stage search on random images, with signal, sampling, callbacks and logger of the shipped configs. Epochs of the
trainer, figures and logs at their ends included, and passes of a bare loop over the same batches take turns. The bare
loop begins at the state and the random numbers that the epoch began with, so it draws the same supports; it reads,
augments and calls the same training step, without callbacks and loggers. Lightning's wrappers around backward pass and
optimizer run in both. Validation and checkpoints, which both would have, are left out.
"""

import argparse
import copy
import io
import sys
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from harness import Report, Samples, now, parser, run
from pytorch_lightning.callbacks import LearningRateMonitor
from pytorch_lightning.loggers import TensorBoardLogger

from sparsenas.callbacks import CellFigures, GenotypeFile, HParamsSummary, SearchProgressBar, StepTimer, SupportMonitor
from sparsenas.data import Augmentation, NpzImages
from sparsenas.networks import NetworkConfig
from sparsenas.search import TwoStageSearch

CLASSES = 10


def main(args: Sequence[str] | None = None) -> int:
    """Time both and print the ratio."""
    options = parser(__doc__, repeats=5)
    options.add_argument("--batches", type=int, default=60, help="batches of an epoch")
    options.add_argument("--batch", type=int, default=64)
    options.add_argument("--channels", type=int, default=8)
    options.add_argument("--cells", type=int, default=5)
    options.add_argument("--pixels", type=int, default=16)
    chosen = options.parse_args(args)
    return run("framework_overhead", chosen, lambda report: measure(chosen, report))


def measure(options: argparse.Namespace, report: Report) -> None:
    """Fit, with a bare loop after every epoch."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a loader without workers, which has nothing to load
        data = random_images(options, Path(folder))
        search = TwoStageSearch(
            (3, options.pixels, options.pixels),
            CLASSES,
            network=NetworkConfig(channels=options.channels, cells=options.cells, stem="small"),
        )
        watch = Turns(options.device)
        trainer = pl.Trainer(
            max_epochs=options.repeats + 2,
            limit_train_batches=options.batches,
            limit_val_batches=0,
            log_every_n_steps=10,
            accelerator="gpu" if options.device == "cuda" else "cpu",
            devices=1,
            logger=TensorBoardLogger(folder, default_hp_metric=False),
            callbacks=[
                *(watch, GenotypeFile(), SupportMonitor(), CellFigures(), StepTimer(), LearningRateMonitor()),
                *(HParamsSummary(), SearchProgressBar()),
            ],
            enable_checkpointing=False,
            enable_model_summary=False,
        )
        with redirect_stdout(io.StringIO()):
            trainer.fit(search, datamodule=data)
    median = report.seconds(f"{options.batches} batches of {options.batch}", watch.seconds)
    report.ratios["lightning_over_bare"] = median["Lightning"] / median["bare loop"]


def random_images(options: argparse.Namespace, folder: Path) -> NpzImages:
    """A data module of random images with so many batches in each of its two streams."""
    rng = np.random.default_rng(0)
    count = 3 * options.batches * options.batch
    images = rng.integers(256, size=(count, options.pixels, options.pixels, 3), dtype=np.uint8)
    labels = np.arange(count) % CLASSES
    np.savez(folder / "images.npz", x_train=images, y_train=labels, x_test=images[:100], y_test=labels[:100])
    return NpzImages(
        str(folder / "images.npz"),
        batch_size=options.batch,
        arch_fraction=0.5,
        val_fraction=0.0,
        augmentation=Augmentation(padding_mode="zeros"),
    )


class Turns(pl.Callback):
    """Times the epochs of the trainer, and in each of them a bare loop over as many batches, which does not count."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.seconds: Samples = {"Lightning": [], "bare loop": []}
        self._start = self._bare = 0.0
        self._state: dict[str, Any] = {}
        self._batches = 0

    def on_train_epoch_start(self, trainer: pl.Trainer, search: pl.LightningModule) -> None:
        """Take the time of the epoch before, all callbacks included; the first one warms up."""
        end = now(self.device)
        if trainer.current_epoch > 1:
            self.seconds["Lightning"].append(end - self._start - self._bare)
            self.seconds["bare loop"].append(self._bare)
        assert isinstance(search, TwoStageSearch)
        self._state, self._batches = copy.deepcopy(search.state_dict()), search.batches
        self._start = now(self.device)

    def on_train_epoch_end(self, trainer: pl.Trainer, search: pl.LightningModule) -> None:
        """Run the bare loop from where the epoch began."""
        assert isinstance(search, TwoStageSearch)
        start = now(self.device)
        callbacks, trainer.callbacks = trainer.callbacks, []  # type: ignore[attr-defined]  # set there, not declared
        search.load_state_dict(self._state)
        search.batches = self._batches
        search.on_train_epoch_start()
        restored = now(self.device)
        data = trainer.datamodule  # type: ignore[attr-defined]
        for index, (batch, _, _) in enumerate(iter(data.train_dataloader())):
            if index == trainer.num_training_batches:
                break
            moved = {name: tuple(part.to(self.device) for part in pair) for name, pair in batch.items()}
            search.training_step(data.on_after_batch_transfer(moved, 0), index)
        self._bare = now(self.device) - restored
        self._start += restored - start  # neither loop's
        trainer.callbacks = callbacks  # type: ignore[attr-defined]


if __name__ == "__main__":
    sys.exit(main())
