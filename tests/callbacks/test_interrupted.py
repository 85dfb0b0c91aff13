"""The report of a run that ends before its planned end, or whose last weights were not validated."""

import csv
import signal
import time
from datetime import timedelta

import pytest
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Timer

from sparsenas.callbacks import RunReport, interrupted


class Interrupts(pl.Callback):
    """Press Ctrl-C in a batch."""

    def __init__(self, batch):
        self.batch = batch

    def on_train_batch_end(self, trainer, *_):
        if trainer.fit_loop.epoch_loop.batch_progress.total.ready == self.batch:
            raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """A busy machine may be slow; and Lightning leaves Ctrl-C ignored."""
    monkeypatch.setattr("sparsenas.callbacks.run_report.LIMIT", 60.0)
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def accuracy(folder):
    (row,) = csv.DictReader((folder / "results.csv").read_text(encoding="utf-8").splitlines())
    return row["val_accuracy"]


def test_a_validation_of_earlier_weights_is_not_that_of_the_network(fit, tmp_path):
    fit(RunReport(), epochs=3, logger=False)
    assert 0 <= float(accuracy(tmp_path)) <= 1
    assert "training batches<" not in (tmp_path / "report.html").read_text(encoding="utf-8")
    fit(RunReport(), epochs=3, logger=False, check_val_every_n_epoch=2)
    assert accuracy(tmp_path) == ""
    assert "after 8 of 12 training batches<" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_run_that_is_interrupted_after_a_validation_has_a_report(fit, tmp_path):
    with pytest.raises(SystemExit):
        fit(RunReport(), Interrupts(3), epochs=3, logger=False)
    assert list(tmp_path.glob("report.html")) == []
    with pytest.raises(SystemExit):
        fit(RunReport(), Interrupts(6), epochs=3, logger=False)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "interrupted at epoch 2 of 3" in text
    assert "after 4 of 6 training batches<" in text
    assert accuracy(tmp_path) == ""


def test_an_interrupted_run_does_not_wait_for_its_report(fit, monkeypatch, tmp_path):
    monkeypatch.setattr("sparsenas.callbacks.run_report.LIMIT", 0.1)
    monkeypatch.setattr(RunReport, "_write", lambda *_: time.sleep(30))
    start = time.monotonic()
    with pytest.raises(SystemExit):
        fit(RunReport(), Interrupts(6), epochs=3, logger=False)
    assert time.monotonic() - start < 15


def test_what_fails_in_time_is_raised():
    with pytest.raises(ZeroDivisionError):
        interrupted.at_most(10.0, lambda: [][1 // 0])


class Slow(pl.Callback):
    """Take more time for an epoch than there is."""

    def __init__(self, timer, epoch):
        self.timer, self.epoch = timer, epoch

    def on_train_epoch_end(self, trainer, *_):
        if trainer.current_epoch == self.epoch:
            self.timer._duration = 0.0


@pytest.mark.slow
@pytest.mark.parametrize(("slow", "said"), [(0, True), (5, False)])
def test_a_run_that_its_clock_has_stopped_says_so(fit, tmp_path, slow, said):
    timer = Timer(timedelta(hours=1))
    fit(RunReport(), Slow(timer, slow), timer, epochs=3, logger=False)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert ("stopped by trainer.max_time at epoch 2 of 3" in text) == said
