"""A search that takes seconds: a tiny super-net on the digits of scikit-learn, and a trainer without frills."""

import warnings

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from sparsenas.data import Digits
from sparsenas.networks import NormOptions, SuperNet
from sparsenas.search import CompressedArchitecture, RecoveryListener, SparseRecovery, TwoStageSearch
from sparsenas.spaces import DartsSpace

#: One primitive of each kind: pool, skip, separable and dilated convolution.
PRIMITIVES = ("avg_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_3x3")
#: Lightning's warnings about itself and about toy sizes.
LIGHTNING_NOISE = (
    r"`isinstance\(treespec, LeafSpec\)`",
    "Checkpoint directory .* exists and is not empty",
    "You're resuming from a checkpoint",
    "The dirpath has changed",
)


class Listener(RecoveryListener):
    """Keeps every report, and the phase of the trainer in which it came."""

    def __init__(self):
        self.reports = []

    def on_recovery(self, trainer, search, report):
        self.reports.append(report)


@pytest.fixture
def listener():
    return Listener()


@pytest.fixture
def space():
    return DartsSpace(nodes=2, primitives=PRIMITIVES)


@pytest.fixture
def make_network(space):
    """A tiny super-net on 8x8 grey images."""

    def make(norms=None, space=space):
        torch.manual_seed(0)
        norms = norms or NormOptions(affine=False, track=False, append="pools_and_skips")
        return SuperNet(space, (1, 8, 8), 10, channels=4, cells=3, stem="small", norms=norms)

    return make


@pytest.fixture
def make_architecture(space):
    def make(seed=0, space=space, **options):
        return CompressedArchitecture(space, SparseRecovery(**options), torch.Generator().manual_seed(seed))

    return make


@pytest.fixture
def batch():
    """Images and labels of one batch."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(16, 1, 8, 8, generator=generator), torch.randint(10, (16,), generator=generator)


@pytest.fixture
def make_search(space):
    """A tiny search; ``init`` seeds the network's weights."""

    def make(init=0, **options):
        torch.manual_seed(init)
        small = {"channels": 4, "cells": 3, "stem": "small", "space": space}
        return TwoStageSearch((1, 8, 8), 10, **(small | options))

    return make


@pytest.fixture
def fit(tmp_path):
    """Fit a search on the digits; gives the trainer. Every epoch ends with a checkpoint ``epoch=K.ckpt``."""

    def run(search, *callbacks, folder="run", ckpt_path=None, data=None, batches=4, epochs=2, **options):
        checkpoint = ModelCheckpoint(
            tmp_path / folder, filename="{epoch}", save_top_k=-1, save_last=True, save_on_train_epoch_end=True
        )
        settings = {"accelerator": "cpu", "devices": 1, "logger": False, "limit_val_batches": 1} | options
        trainer = pl.Trainer(
            default_root_dir=tmp_path,
            max_epochs=epochs,
            limit_train_batches=batches,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[checkpoint, *callbacks],
            **settings,
        )
        with warnings.catch_warnings():
            for noise in LIGHTNING_NOISE:
                warnings.filterwarnings("ignore", noise)
            data = Digits(batch_size=32, arch_fraction=0.4) if data is None else data
            trainer.fit(search, data, ckpt_path=ckpt_path, weights_only=True)
        return trainer

    return run
