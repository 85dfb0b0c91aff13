import io
import re
import sys

from pytorch_lightning import Callback

from sparsenas.callbacks import SearchProgressBar


def test_a_log_file_gets_one_line_per_epoch(fit, capsys):
    fit(SearchProgressBar(), epochs=3, enable_progress_bar=True)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    pattern = r"epoch (\d)/3  \d+\.\d it/s  val/loss \d\.\d{4}  val/acc \d\.\d{4}  churn 0\.2500  visited (\d)"
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
