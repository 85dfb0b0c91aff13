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
        check_trainer(trainer, pl.LightningModule(), "fit")
