"""Callbacks that monitor a metric: every one that is logged, and what early stopping ends."""

import pytest
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint

from sparsenas.data import Digits
from sparsenas.trainer import stopped_early


def test_every_logged_metric_can_be_monitored(make_training, fit, tmp_path):
    module = make_training(steps=6)
    keeping = [ModelCheckpoint(tmp_path / name, monitor=name, mode="max") for name in module.logs(False)]
    stopping = [EarlyStopping(name, patience=9) for name in module.logs(False) if name.startswith("val/")]
    trainer = fit(module, *keeping, *stopping, epochs=-1)
    for callback in keeping:
        assert callback.best_model_path, callback.monitor
    assert [float(callback.best_score) for callback in stopping] != [0.0] * 5
    assert module.finished
    assert not stopped_early(trainer)
    tested = trainer.test(module, Digits(arch_fraction=0.0), verbose=False)[0]
    assert set(tested) == {f"test/{name}" for name in ("loss", "acc", "macro_f1", "balanced_acc", "calibration_error")}


@pytest.mark.parametrize("length", [{}, {"steps": 1000}])
def test_a_training_that_was_stopped_early_is_finished(make_training, fit, length):
    module = make_training(**length)
    trainer = fit(module, EarlyStopping("val/loss", stopping_threshold=1e9), epochs=-1 if length else 9, batches=1)
    assert trainer.current_epoch == 1
    assert module.finished


def test_a_run_that_goes_on_from_a_validation_within_an_epoch_validates_anew(make_training, fit, tmp_path):
    class Losses(Callback):
        def __init__(self):
            self.found = {}

        def on_validation_end(self, trainer, pl_module):
            self.found[trainer.global_step] = {name: float(value) for name, value in trainer.callback_metrics.items()}

    options = {"epochs": 2, "batches": 6, "limit_val_batches": 3, "val_check_interval": 2, "num_sanity_val_steps": 0}
    whole, rest = Losses(), Losses()
    one, other = (ModelCheckpoint(tmp_path / name, "{step}", "val/loss", save_top_k=-1) for name in ("whole", "parts"))
    fit(make_training(), whole, one, **options)
    fit(make_training(), rest, other, folder="rest", ckpt_path=tmp_path / "whole" / "step=8.ckpt", **options)
    assert rest.found.keys() == {10, 12}
    for step, found in rest.found.items():
        evaluated = {name: value for name, value in whole.found[step].items() if name.startswith("val/")}
        assert {name: found[name] for name in evaluated} == evaluated
