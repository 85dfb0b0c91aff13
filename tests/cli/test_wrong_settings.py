"""Settings that cannot work, or would do nothing: one message, exit code 2, before anything is trained."""

import shlex
from pathlib import Path

import pytest

from sparsenas.cli import main

TRAINING = shlex.split(
    "fit --config train_digits --model.network.channels 4 --model.network.cells 3 --trainer.max_epochs 1 "
    "--trainer.limit_train_batches 2 --trainer.limit_val_batches 1 --trainer.log_every_n_steps 1"
)
SEARCH = shlex.split(
    "fit --config search_two_stage_digits --model.network.channels 4 --trainer.max_epochs 2 "
    "--trainer.limit_train_batches 2 --trainer.log_every_n_steps 1"
)
LR = "--model.training.optimizer.init_args.lr"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_tournament_may_train_nothing():
    assert main(shlex.split("fit --model.training.seconds 4 --trainer.max_epochs 0")) == 0
    assert list(Path().rglob("result.json"))


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        (TRAINING, f"{LR} -1", "training.optimizer: Invalid learning rate: -1"),
        (TRAINING, f"{LR} 0", "training.optimizer: lr is 0; use a positive number"),
        (TRAINING, f"{LR} nan", "training.optimizer"),
        (TRAINING, "--model.training.optimizer.init_args.momentum -1", "training.optimizer: Invalid momentum value"),
        (TRAINING, "--model.training.gradient_clip -1", "training: gradient_clip=-1"),
        (TRAINING, "--model.training.label_smoothing 2", "label_smoothing=2"),
        (TRAINING, "--model.network.channels 100000000", "network.channels is 100000000; use 1 to 65,536"),
        (TRAINING, "--model.network.channels 0", "network.channels is 0; use 1 to 65,536"),
        (TRAINING, "--model.network.cells -2", "network.cells is -2; use 1 to 1,000"),
        (TRAINING, "--model.num_classes 3", "--model.num_classes: is known from the data; leave it out"),
        (TRAINING, "--model.init_args.image_shape=[1,2,2]", "--model.init_args.image_shape: is known from the data"),
        (TRAINING, "--model.seed -1", "seed is -1"),
        (TRAINING, "--data.augmentation.cutout 100", "data.augmentation.cutout is 100, more than the 8 pixels"),
        (TRAINING, "--data.augmentation.crop_padding 100", "data.augmentation.crop_padding is 100"),
        (TRAINING, "--data.augmentation.cutout -1", "data.augmentation.cutout is -1"),
        (TRAINING, "--data.val_fraction 2", "val_fraction"),
        (TRAINING, "--data.batch_size 0", "batch_size"),
        (TRAINING, "--trainer.max_epochs 0", "trainer.max_epochs is 0, so that nothing would happen"),
        (TRAINING, "--trainer.limit_train_batches 0", "trainer.limit_train_batches is 0"),
        (TRAINING, "--trainer.check_val_every_n_epoch 0", "trainer.check_val_every_n_epoch is 0"),
        (TRAINING, "--trainer.devices -1", "`devices` selected with `CPUAccelerator` should be an int > 0"),
        (TRAINING, "--trainer.devices 0", "not a valid input"),
        (TRAINING, "--trainer.strategy nonsense", "invalid strategy name"),
        (TRAINING, "--trainer.strategy fsdp", "requires a GPU"),
        (TRAINING, "--trainer.precision 7", "precision"),
        (TRAINING, "--trainer.accumulate_grad_batches 0", "trainer.accumulate_grad_batches is 0"),
        (TRAINING, "--seed_everything -4", "-4 is not in bounds"),
        (SEARCH, "--model.architecture.optimizer.init_args.lr -1", "architecture.optimizer: Invalid learning rate"),
        (SEARCH, "--model.architecture.warmup_epochs -1", "architecture.warmup_epochs is -1"),
        (SEARCH, "--data.arch_fraction 1.5", "arch_fraction"),
    ],
)
def test_one_message_before_training(capsys, command, options, message):
    assert main([*command, *shlex.split(options)]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("Seed set")]
    assert message in lines[-1]
    assert len(lines) <= 6
    assert len(lines[-1]) <= 520
    assert not list(Path().rglob("*.ckpt"))
