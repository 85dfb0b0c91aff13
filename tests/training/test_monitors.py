"""Callbacks that monitor a metric: every one that is logged, and what early stopping ends."""

import pytest
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint

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
