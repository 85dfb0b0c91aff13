"""Trainings whose length is in steps or seconds."""

import math
from time import perf_counter, process_time

import pytest
import torch
from PIL import Image
from pytorch_lightning import Callback

from sparsenas.data import ImageFolder
from sparsenas.errors import ConfigError
from sparsenas.schedules import Schedule
from sparsenas.training import WeightTraining
from sparsenas.training.pace import clock_for

PLAIN = {"drop_path": 0.0, "auxiliary_weight": 0.0}


class Rates(Callback):
    """Learning rate of every step, and validations."""

    def __init__(self):
        self.rates, self.validations = [], 0

    def on_train_batch_start(self, trainer, training, batch, batch_idx):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_validation_end(self, trainer, training):
        self.validations += not trainer.sanity_checking


def test_a_training_of_steps_ends_after_them(make_training, fit):
    """Amid an epoch, with a last validation; the rate follows the schedule step by step."""
    seen = Rates()
    schedule = Schedule("cosine", warmup_share=0.25)
    training = make_training(steps=8, schedule=schedule, **PLAIN)
    trainer = fit(training, seen, batches=3, epochs=-1)
    assert trainer.global_step == 8
    peak = seen.rates[2]
    assert seen.rates == pytest.approx([peak * schedule.at(step / 8) for step in range(8)])
    assert seen.rates[-1] == pytest.approx(peak * (1 + math.cos(math.pi * 5 / 6)) / 2)
    assert seen.validations == 3
    assert training.finished


def test_a_run_has_one_length(make_training, fit):
    """Epochs of a config do not end a training of steps amid its schedule; 0 epochs are none."""
    training = make_training(steps=8, **PLAIN)
    assert fit(training, batches=3, epochs=1).global_step == 8
    assert training.finished
    assert fit(make_training(steps=8, **PLAIN), batches=3, epochs=0).global_step == 0


@pytest.mark.parametrize(("steps", "message"), [(2.5, "is 2.5; use a whole number"), (True, "is True; use a positive")])
def test_steps_are_whole(steps, message):
    with pytest.raises(ConfigError, match=message):
        WeightTraining(steps=steps)


def test_reading_processes_make_the_clock_count(tmp_path):
    """Their processor time is their own."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(12):
            Image.new("RGB", (70, 70), (20 * number, 0, 0)).save(tmp_path / name / f"{number}.png")
    for size, workers, counted in ((8, 2, 0), (66, 2, 2), (66, 0, 0)):
        data = ImageFolder(str(tmp_path), size, arch_fraction=0.0, num_workers=workers)
        data.setup("fit")
        assert data.train_dataloader().num_workers == counted


def test_the_last_weights_are_validated_in_any_epoch(make_training, fit):
    seen = Rates()
    fit(make_training(steps=8, **PLAIN), seen, batches=3, epochs=-1, check_val_every_n_epoch=10)
    assert seen.validations == 1


def test_a_training_of_seconds_ends_after_them(make_training, fit, monkeypatch):
    now = iter(range(1000))
    monkeypatch.setattr("sparsenas.training.pace.process_time", lambda: float(next(now)))
    monkeypatch.setattr("sparsenas.training.pace.perf_counter", lambda: float(next(now)))
    seen = Rates()
    training = make_training(seconds=20.0, schedule=Schedule("linear"), **PLAIN)
    fit(training, seen, batches=3, epochs=-1)
    assert training.finished
    assert 3 < len(seen.rates) < 20
    assert seen.rates == sorted(seen.rates, reverse=True)
    assert 0 < seen.rates[-1] < 0.2 * seen.rates[0]


def test_a_resumed_training_goes_on_with_its_clock(make_training, fit, tmp_path):
    class Stop(Callback):
        def on_train_batch_end(self, trainer, training, outputs, batch, batch_idx):
            trainer.should_stop = trainer.global_step == 3

    first = make_training(seconds=3600.0, **PLAIN)
    trainer = fit(first, Stop(), batches=3, epochs=-1)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    assert not first.finished
    before = torch.load(tmp_path / "half.ckpt", weights_only=True)["seconds_trained"]
    assert before > 0
    second = make_training(seconds=before, **PLAIN)  # all of them are over
    trainer = fit(second, batches=3, epochs=-1, ckpt_path=tmp_path / "half.ckpt")
    assert second.finished
    assert trainer.global_step <= 4


def test_seconds_of_the_processor_count_on_one_thread_only():
    cpu, threads = torch.device("cpu"), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert clock_for(cpu) is process_time
        assert clock_for(torch.device("cuda")) is perf_counter
        assert clock_for(cpu, workers=2) is perf_counter
        torch.set_num_threads(2)
        assert clock_for(cpu) is perf_counter
    finally:
        torch.set_num_threads(threads)
