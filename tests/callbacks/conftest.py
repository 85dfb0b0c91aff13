"""A search that costs nothing: a real module in a real trainer, with made-up recoveries."""

import warnings

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader, TensorDataset

from sparsenas.networks import SuperNet
from sparsenas.search import Budget, RecoveryReport, SearchModule
from sparsenas.spaces import DartsSpace
from sparsenas.sparse_coding import Certificate
from sparsenas.training import WeightTraining

SPACE = DartsSpace(nodes=2)
#: Lightning's warnings about itself and about toy sizes.
LIGHTNING_NOISE = (
    r"`isinstance\(treespec, LeafSpec\)`",
    "The '.*_dataloader' does not have many workers",
    "Checkpoint directory .* exists and is not empty",
    "Be aware that when using `ckpt_path`",
    "You're resuming from a checkpoint",
)


class PretendedSearch(SearchModule):
    """Draws a new support every two batches; its shared weights are one linear layer."""

    def __init__(self, lr=0.1):
        network = SuperNet(SPACE, (1, 8, 8), 2, channels=2, cells=3, stem="small")
        super().__init__(SPACE, network, 2, WeightTraining(), Budget(), seed=0)
        self.save_hyperparameters()
        self.linear = torch.nn.Linear(4, 2)
        self.batches = self.recoveries = 0
        self._support = SPACE.sample_support(np.random.default_rng(0))

    @property
    def support(self):
        return self._support

    @property
    def shares_weights(self):
        return False

    def logits(self, images):
        return self.linear(images)

    def configure_optimizers(self):
        return torch.optim.SGD(self.linear.parameters(), lr=0.1)

    def on_train_start(self):
        self.pretend(churn=0.0)

    def training_step(self, batch, batch_idx):
        self.batches += 1
        optimizer = self.optimizers()
        loss = torch.nn.functional.cross_entropy(self.logits(batch[0]), batch[1])
        self.manual_backward(loss)
        optimizer.step()
        if self.batches % 2 == 0:
            self.recoveries += 1
            self._support = SPACE.sample_support(np.random.default_rng(self.recoveries))
            self.pretend(churn=0.25)

    def on_save_checkpoint(self, checkpoint):
        checkpoint["search"] = [self.batches, self.recoveries]

    def on_load_checkpoint(self, checkpoint):
        self.batches, self.recoveries = checkpoint["search"]
        self._support = SPACE.sample_support(np.random.default_rng(self.recoveries))

    def pretend(self, churn):
        self.visited = set(range(self.recoveries + 1))
        ones = torch.ones(len(SPACE.blocks), dtype=torch.float64)
        self.tell_listeners(
            RecoveryReport(
                count=self.recoveries,
                epoch=self.current_epoch,
                batch=self.batches,
                support=self.support,
                genotype=self.genotype,
                churn=churn,
                visited=self.recoveries + 1,
                code=torch.ones(len(SPACE.blocks), 21, dtype=torch.float64),
                certificate=Certificate(0.5 * ones, 0 * ones, "exact", 3 * ones.long(), 0.75 * ones, 0 * ones.long()),
            )
        )


class Fit:
    """A finished fit: its trainer, its search, and what TensorBoard sees."""

    def __init__(self, folder, callbacks, epochs=2, search=None, logger=None, **options):
        self.search = search or PretendedSearch()
        if logger is None:
            logger = TensorBoardLogger(str(folder), default_hp_metric=False)
        images = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
        loader = DataLoader(TensorDataset(images, (images[:, 0] > 0).long()), batch_size=4)
        settings = {"enable_checkpointing": False, "enable_progress_bar": False} | options
        checkpoint = settings.pop("ckpt_path", None)
        self.trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            logger=logger,
            default_root_dir=str(folder),
            callbacks=callbacks,
            enable_model_summary=False,
            log_every_n_steps=1,
            **settings,
        )
        with warnings.catch_warnings():
            for noise in LIGHTNING_NOISE:
                warnings.filterwarnings("ignore", noise)
            self.trainer.fit(self.search, loader, loader, ckpt_path=checkpoint)

    @property
    def events(self):
        """Everything TensorBoard reads from the run's folder."""
        accumulator = EventAccumulator(self.trainer.log_dir, size_guidance={"images": 0, "scalars": 0, "tensors": 0})
        accumulator.Reload()
        return accumulator


@pytest.fixture
def fit(tmp_path):
    """Run a fit with the given callbacks in a folder of its own."""
    return lambda *callbacks, **options: Fit(tmp_path, list(callbacks), **options)


@pytest.fixture
def search_class():
    """The class of the pretended search."""
    return PretendedSearch
