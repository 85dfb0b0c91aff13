"""Refusals of a trainer that no command line on a CPU can make."""

import pytest
import pytorch_lightning as pl
from pytorch_lightning.strategies import FSDPStrategy

from sparsenas.api.refusals import check_trainer
from sparsenas.errors import ConfigError


def test_strategies_that_split_weights():
    trainer = pl.Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)
    trainer._accelerator_connector.strategy = FSDPStrategy()
    with pytest.raises(ConfigError, match="FSDPStrategy, which splits weights over processes"):
        check_trainer(trainer, pl.LightningModule(), "fit", multilabel=False)


def test_batch_norms_that_would_lose_their_architecture_weights():
    trainer = pl.Trainer(
        accelerator="cpu", devices=2, strategy="ddp", sync_batchnorm=True, logger=False, enable_checkpointing=False
    )
    with pytest.raises(ConfigError, match=r"trainer.sync_batchnorm is true, .* leave it out"):
        check_trainer(trainer, pl.LightningModule(), "fit", multilabel=False)
