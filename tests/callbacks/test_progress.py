import io
import re
import sys
from functools import reduce

import pytest
from pytorch_lightning import Callback

from sparsenas.callbacks import SearchProgressBar


def test_a_log_file_gets_one_line_per_epoch(fit, capsys):
    fit(SearchProgressBar(), epochs=3, enable_progress_bar=True)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert [" left  " in line for line in lines] == [True, True, False]
    metrics = r"val/loss \d\.\d{4}  val/acc \d\.\d{4}  churn 0\.2500  visited (\d)"
    pattern = rf"epoch (\d)/3  \d+\.\d it/s  (?:\d\d:\d\d left  )?{metrics}"
    assert [re.fullmatch(pattern, line).groups() for line in lines] == [("1", "3"), ("2", "5"), ("3", "7")]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_a_bar_with_accuracy_and_churn(fit, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    fit(SearchProgressBar(), epochs=1, enable_progress_bar=True)
    last = re.split(r"[\r\n]+", screen.getvalue().rstrip())[-1]
    assert last.startswith("Epoch 0: 100%")
    for part in ("it/s", "val/acc=", "churn=0.250", "visited=3"):
        assert part in last
    assert "v_num" not in last


@pytest.mark.parametrize(("every", "kept"), [(1, ["1", "2", "3"]), (2, ["2"])])
def test_a_line_of_every_validation_stays_above_the_bar(fit, monkeypatch, every, kept):
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    fit(SearchProgressBar(), epochs=3, enable_progress_bar=True, check_val_every_n_epoch=every)
    lines = [line.rpartition("\r")[2] for line in screen.getvalue().split("\n")]
    found = [re.fullmatch(r"epoch (\d)/3  .*val/acc \d\.\d{4}  churn 0\.2500  visited \d\s*", line) for line in lines]
    assert [match[1] for match in found if match] == kept


def test_the_time_left_is_that_of_the_pace_so_far(fit, monkeypatch):
    now = iter(range(10_000))

    lefts = []

    class Clock(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            lefts.append(bar.get_metrics(trainer, pl_module).get("left"))

    monkeypatch.setattr("sparsenas.callbacks.progress.perf_counter", lambda: 60.0 * next(now))
    bar = SearchProgressBar()
    fit(bar, Clock(), epochs=3, max_steps=11, enable_progress_bar=True)
    assert lefts[-1] is None  # after the last step
    minutes = [reduce(lambda total, part: 60 * total + int(part), left.split(":"), 0) / 60 for left in lefts[:-1]]
    passed = [11 / (11 - step) for step in range(1, 11)]  # the pretended clock has passed the rest of it
    wholes = [left * share for left, share in zip(minutes, passed, strict=True)]
    assert max(wholes[2:]) < 1.5 * min(wholes[2:])


def test_what_is_printed_when_the_bar_is_closed_is_seen(fit, monkeypatch):
    class Late(Callback):
        def on_fit_end(self, trainer, pl_module):
            pl_module.print("late")

    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    fit(SearchProgressBar(), Late(), epochs=1, enable_progress_bar=True)
    assert screen.getvalue().endswith("late\n")


def test_no_output_when_asked_for_none(fit, capsys):
    fit(SearchProgressBar(refresh_rate=0), enable_progress_bar=True)
    assert capsys.readouterr().out == ""
