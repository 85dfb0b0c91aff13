"""A tournament that takes a second: by steps, so that it is the same on every machine, on the digits."""

import warnings
from dataclasses import replace

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from sparsenas.data import Digits
from sparsenas.schedules import Schedule
from sparsenas.search import Budget, Governor, Tournament, TournamentSearch
from sparsenas.spaces import StageSpace
from sparsenas.training import WeightTraining

SPACE = StageSpace(stages=2, layers=2, types=("conv_3x3", "residual_3x3"))
#: Five networks of three steps, of which two go on to six; 21 steps in all.
TOURNAMENT = Tournament(
    rungs=(1 / 16, 1 / 8),
    references=("plain_cnn", "resnet8"),
    random=2,
    rounds=1,
    proposals=1,
    keep=0.34,
    prior="none",
    governor=Governor(share=0.5, most=0.6),
    images=64,
    bootstraps=20,
)
TRAINING = WeightTraining(
    lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9, nesterov=True),
    Schedule(),
    steps=48,
    gradient_clip=0.0,
)


@pytest.fixture
def make_tournament():
    """A tiny tournament; other options are those of the search, ``rules`` those of the tournament."""

    def make(training=TRAINING, space=SPACE, budget=Budget(max_params=4000), seed=0, rules=None, **options):
        tournament = replace(TOURNAMENT, **(rules or {}))
        return TournamentSearch(
            (1, 8, 8), 10, space, training=training, budget=budget, tournament=tournament, seed=seed, **options
        )

    return make


@pytest.fixture
def load_tournament():
    """Load a search from its checkpoint, in which is nothing but plain values."""

    def load(checkpoint):
        others = {"space": SPACE, "training": TRAINING, "budget": Budget(max_params=4000)}
        return TournamentSearch.load_from_checkpoint(checkpoint, weights_only=True, **others)

    return load


@pytest.fixture
def fit_in(tmp_path):
    """Fit a model on the digits in a folder of its own below ``tmp_path``; gives the trainer.

    ``init`` seeds whatever is drawn; every epoch ends with a checkpoint ``epoch=K.ckpt`` in the folder.
    """

    def run(model, *callbacks, folder="run", init=0, epochs=-1, batches=8, ckpt_path=None, data=None, **options):
        torch.manual_seed(init)
        where = tmp_path / folder
        keep = ModelCheckpoint(where, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
        quiet = {"accelerator": "cpu", "devices": 1, "logger": False, "limit_val_batches": 0}
        trainer = pl.Trainer(
            default_root_dir=where,
            max_epochs=epochs,
            limit_train_batches=batches,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[keep, *callbacks],
            **(quiet | options),
        )
        with warnings.catch_warnings():
            for noise in (
                "Checkpoint directory .* exists and is not empty",
                "The dirpath has changed",
                "You're resuming from a checkpoint",
            ):
                warnings.filterwarnings("ignore", noise)
            images = Digits(batch_size=16, arch_fraction=0.0) if data is None else data
            trainer.fit(model, images, ckpt_path=ckpt_path, weights_only=True)
        return trainer

    return run
