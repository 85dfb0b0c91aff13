"""A run whose numbers are no longer finite ends in one line, and its last good checkpoint stays."""

import re
from dataclasses import replace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from sparsenas.data import Digits
from sparsenas.errors import DivergenceError, RecoveryError
from sparsenas.networks import NetworkConfig
from sparsenas.search import (
    OneStageSearch,
    Phases,
    RandomSearch,
    RelaxedSearch,
    SinglePathSearch,
    TournamentSearch,
    TwoStageSearch,
)
from sparsenas.spaces import DartsSpace
from sparsenas.training import WeightTraining

NETWORK = NetworkConfig(channels=4, cells=3, stem="small")
PLAIN = {"drop_path": 0.0, "auxiliary_weight": 0.0}


def huge_rate(parameters):
    return torch.optim.SGD(parameters, lr=1e18)


class Spoil(pl.Callback):
    """Sets numbers of the network to NaN at a chosen moment."""

    def __init__(self, moment, epoch=1, of=lambda network: network.parameters()):
        self.epoch, self.of = epoch, of
        setattr(self, moment, self._spoil)

    def _spoil(self, trainer, module, *args):
        if trainer.current_epoch == self.epoch and not trainer.sanity_checking:
            with torch.no_grad():
                next(iter(self.of(module.network))).fill_(float("nan"))


def statistics(network):
    return (tensor for name, tensor in network.named_buffers() if name.endswith("running_mean"))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_rate_far_too_large_ends_the_first_epoch(make_training, fit, tmp_path, precision):
    model = make_training(optimizer=huge_rate, gradient_clip=0.0, **PLAIN)
    with pytest.raises(DivergenceError, match=r"^epoch 1: the run has diverged: .* is nan.*; use a smaller") as caught:
        fit(model, precision=precision)
    assert "smaller training.gradient_clip above 0 (it is 0); no checkpoint had been written yet" in str(caught.value)
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize(
    ("moment", "of", "found"),
    [
        ("on_train_batch_start", torch.nn.Module.parameters, "weights are not finite"),
        ("on_validation_batch_start", statistics, "val/loss is nan, weights are not finite"),
        ("on_validation_end", torch.nn.Module.parameters, "weights are not finite"),
    ],
)
@pytest.mark.parametrize("on_train_epoch_end", [True, False])
def test_the_last_good_checkpoint_stays(make_training, fit, tmp_path, moment, of, found, on_train_epoch_end):
    best = pl.callbacks.ModelCheckpoint(
        tmp_path / "best", filename="best", monitor="val/loss", save_on_train_epoch_end=on_train_epoch_end
    )
    with pytest.raises(DivergenceError, match=rf"^epoch 2: the run has diverged: .*{found}; ") as caught:
        fit(make_training(**PLAIN), Spoil(moment, of=of), best, epochs=4)
    path = re.search(r"the last good checkpoint is (.*\.ckpt)$", str(caught.value))[1]
    state = torch.load(path, weights_only=True)["state_dict"]
    assert all(tensor.isfinite().all() for tensor in state.values() if tensor.is_floating_point())
    if moment != "on_validation_end" or on_train_epoch_end:
        state = torch.load(tmp_path / "best" / "best.ckpt", weights_only=True)["state_dict"]
        assert all(tensor.isfinite().all() for tensor in state.values() if tensor.is_floating_point())


def test_checkpoints_amid_an_epoch_are_good_too(make_training, fit, tmp_path):
    often = pl.callbacks.ModelCheckpoint(tmp_path / "often", filename="last", every_n_train_steps=1)
    with pytest.raises(DivergenceError, match=r"epoch 2: .*weights are not finite"):
        fit(make_training(**PLAIN), Spoil("on_train_batch_start"), often, epochs=3)
    assert torch.load(tmp_path / "often" / "last.ckpt", weights_only=True)["global_step"] == 3


def test_evaluation_of_weights_that_are_no_numbers_says_so(make_training, fit):
    model = make_training(**PLAIN)
    trainer, data = fit(model, epochs=1), Digits(batch_size=32, arch_fraction=0.0)
    for parameter in model.network.parameters():
        parameter.data.fill_(float("inf"))
    for command, found in ((trainer.validate, "val/loss"), (trainer.test, "test/loss"), (trainer.predict, "weights")):
        with pytest.raises(DivergenceError, match=rf"^{found} .*: the network computes no numbers; train it anew"):
            command(model, data)


SPACE = DartsSpace(nodes=2, primitives=("avg_pool_3x3", "skip_connect", "sep_conv_3x3"))
CELL = SPACE.sample(np.random.default_rng(0)).to_json()
BOTH = {"space": SPACE, "network": NETWORK}


@pytest.mark.parametrize(
    "make",
    [
        lambda training: TwoStageSearch((1, 8, 8), 10, training=training, **BOTH),
        lambda training: OneStageSearch(
            (1, 8, 8), 10, training=training, phases=Phases(search_epochs=2), space=SPACE, network=NetworkConfig(4, 3)
        ),
        lambda training: RelaxedSearch((1, 8, 8), 10, training=training, **BOTH),
        lambda training: SinglePathSearch((1, 8, 8), 10, training=training, **BOTH),
        lambda training: RandomSearch((1, 8, 8), 10, training=training, epochs_each=1, **BOTH),
        lambda training: TournamentSearch((1, 8, 8), 10, training=replace(training, steps=80), genotype=CELL, **BOTH),
    ],
    ids=["two_stage", "one_stage", "relaxed", "single_path", "random", "tournament"],
)
def test_searches_end_in_the_same_line(fit_briefly, tmp_path, make):
    torch.manual_seed(0)
    search = make(WeightTraining(optimizer=huge_rate, gradient_clip=0.0))
    one_stream = isinstance(search, (OneStageSearch, TournamentSearch))
    data = Digits(batch_size=64, arch_fraction=0.0 if one_stream else 0.4)
    with pytest.raises(
        DivergenceError, match=r"^epoch 1: the run has diverged: .*weights are not finite; use a smaller"
    ):
        fit_briefly(search, data, epochs=4)
    assert not list(tmp_path.rglob("*.ckpt"))


def test_one_training_of_several_that_diverged_is_the_worst(fit_briefly, capsys):
    search = RandomSearch((1, 8, 8), 10, epochs_each=1, **BOTH)
    data = Digits(batch_size=32, arch_fraction=0.4)
    fit_briefly(search, data, Spoil("on_train_batch_start"), epochs=3)
    assert sorted(np.isfinite(list(search.measured.values()))) == [False, True, True]
    assert np.isfinite(search.measured[search.support])
    assert "epoch 2: this training has diverged; its architecture is the worst" in capsys.readouterr().out


class Once(pl.Callback):
    """Puts infinite pixels into one batch, and keeps the state before and after its step."""

    def __init__(self, step=2, every=False, stream=None):
        self.step, self.every, self.stream, self.states = step, every, stream, []
        self.skipped = []

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if self.every or trainer.global_step == self.step:
            images, _ = batch[self.stream] if self.stream else batch
            images[0, 0, :2] = float("inf")
            self.states.append(self._state(trainer, module))

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if self.states and not self.every and trainer.global_step == self.step + 1:
            self.states.append(self._state(trainer, module))

    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch:
            self.on_train_end(trainer, module)

    def on_train_end(self, trainer, module):
        self.skipped.append(float(trainer.callback_metrics["train/skipped_steps"]))

    def _state(self, trainer, module):
        memory = trainer.optimizers[0].state
        kept = {f"{i}/{name}": value for i, state in enumerate(memory.values()) for name, value in state.items()}
        return {name: torch.as_tensor(value).clone() for name, value in (module.network.state_dict() | kept).items()}


def same(before, after):
    return before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_of_infinite_pixels_is_left_out(make_training, fit, optimizer, accumulate):
    options = {"momentum": 0.9} if optimizer is torch.optim.SGD else {}
    once = Once()
    model = make_training(
        optimizer=lambda parameters: optimizer(parameters, lr=0.01, weight_decay=0.1, **options),
        on_nonfinite="skip",
        **PLAIN,
    )
    trainer = fit(model, once, batches=4 * accumulate, accumulate_grad_batches=accumulate, epochs=2)
    if accumulate == 1:
        before, after = once.states
        assert same(before, after)
    assert once.skipped == [1.0, 0.0]
    assert trainer.global_step == 8
    assert np.isfinite(float(trainer.callback_metrics["train/loss"]))
    assert all(tensor.isfinite().all() for tensor in model.network.state_dict().values())


@pytest.mark.slow
def test_a_step_is_left_out_in_a_search_too(fit_briefly):
    for make, stream in (
        (lambda training: TwoStageSearch((1, 8, 8), 10, training=training, **BOTH), "weights"),
        (lambda training: RelaxedSearch((1, 8, 8), 10, training=training, **BOTH), "weights"),
        (lambda training: SinglePathSearch((1, 8, 8), 10, training=training, **BOTH), "weights"),
        (
            lambda training: OneStageSearch(
                (1, 8, 8), 10, training=training, phases=Phases(search_epochs=1), space=SPACE, network=NETWORK
            ),
            None,
        ),
    ):
        once, search = Once(stream=stream), make(WeightTraining(on_nonfinite="skip"))
        trainer = fit_briefly(search, Digits(batch_size=32, arch_fraction=0.4 if stream else 0.0), once)
        before, after = once.states
        assert same(before, after)
        assert once.skipped == [1.0, 0.0]
        assert trainer.global_step == 8
        assert all(tensor.isfinite().all() for tensor in search.state_dict().values() if tensor.is_floating_point())


def test_nothing_is_counted_unless_asked_for(make_training, fit):
    trainer = fit(make_training(**PLAIN), epochs=1)
    assert "train/skipped_steps" not in trainer.callback_metrics


def test_an_epoch_without_a_step_ends_the_run(make_training, fit, tmp_path):
    with pytest.raises(DivergenceError, match=r"^epoch 1: the run has diverged: .*all 3 steps were left out; use a"):
        fit(make_training(on_nonfinite="skip", **PLAIN), Once(every=True))
    assert not list(tmp_path.rglob("*.ckpt"))


def test_weights_that_are_no_numbers_end_a_run_that_skips(make_training, fit):
    with pytest.raises(DivergenceError, match=r"^epoch 2: the run has diverged: .*weights are not finite"):
        fit(make_training(on_nonfinite="skip", **PLAIN), Spoil("on_train_batch_start"), epochs=3)


class Jump(pl.Callback):
    """Raises the learning rate in the second epoch."""

    def on_train_epoch_start(self, trainer, module):
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = 1e6 if trainer.current_epoch == 1 else group["lr"]


@pytest.mark.parametrize("search", [False, True])
def test_a_good_checkpoint_survives_a_jump_of_the_rate(make_training, fit_briefly, tmp_path, search):
    training = WeightTraining(gradient_clip=0.0)
    model = TwoStageSearch((1, 8, 8), 10, training=training, **BOTH) if search else make_training(**PLAIN)
    data = Digits(batch_size=32, arch_fraction=0.4 if search else 0.0)
    with pytest.raises((DivergenceError, RecoveryError), match=r"has diverged"):
        fit_briefly(model, data, Jump(), epochs=4, batches=8)
    for path in tmp_path.rglob("*.ckpt"):
        state = torch.load(path, weights_only=True)["state_dict"]
        assert all(tensor.isfinite().all() for tensor in state.values() if tensor.is_floating_point())
    assert list(tmp_path.rglob("*.ckpt"))
