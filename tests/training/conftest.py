"""A training that takes seconds: a tiny network on the digits of scikit-learn."""

import warnings

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from sparsenas.data import Digits
from sparsenas.spaces import DartsSpace
from sparsenas.training import StandAloneTraining

#: Lightning's warnings about itself and about toy sizes.
LIGHTNING_NOISE = (
    r"`isinstance\(treespec, LeafSpec\)`",
    "Checkpoint directory .* exists and is not empty",
    "You're resuming from a checkpoint",
    "The dirpath has changed",
)


@pytest.fixture
def genotype():
    return DartsSpace(nodes=2).sample(np.random.default_rng(1))


@pytest.fixture
def make_training(genotype):
    """A tiny training; ``init`` seeds the network's weights."""

    def make(init=0, **options):
        torch.manual_seed(init)
        small = {"channels": 4, "cells": 3, "stem": "small", "genotype": genotype.to_json()}
        return StandAloneTraining((1, 8, 8), 10, **(small | options))

    return make


@pytest.fixture
def fit(tmp_path):
    """Fit a training on the digits; gives the trainer. Every epoch ends with a checkpoint ``epoch=K.ckpt``."""

    def run(training, *callbacks, folder="run", ckpt_path=None, data=None, batches=3, epochs=2, **options):
        checkpoint = ModelCheckpoint(
            tmp_path / folder, filename="{epoch}", save_top_k=-1, save_last=True, save_on_train_epoch_end=True
        )
        trainer = pl.Trainer(
            accelerator="cpu",
            devices=1,
            logger=False,
            default_root_dir=tmp_path,
            max_epochs=epochs,
            limit_train_batches=batches,
            limit_val_batches=1,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[checkpoint, *callbacks],
            **options,
        )
        with warnings.catch_warnings():
            for noise in LIGHTNING_NOISE:
                warnings.filterwarnings("ignore", noise)
            data = Digits(batch_size=32, arch_fraction=0.0, cutout=2) if data is None else data
            trainer.fit(training, data, ckpt_path=ckpt_path, weights_only=True)
        return trainer

    return run
