"""SIGTERM where no trainer waits for it: before a training, and in a search."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sparsenas.callbacks import RunReport
from sparsenas.cli import entry, main
from sparsenas.cli.signals import Terminated, terminable

ROOT = Path(__file__).resolve().parents[2]


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def test_it_interrupts_and_the_handler_of_before_comes_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), terminable():
        terminate()
    assert signal.getsignal(signal.SIGTERM) is before


def test_whoever_handles_it_is_not_disturbed(monkeypatch):
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append(1))
    try:
        with terminable():
            terminate()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [1]


def test_a_trainer_that_takes_over_is_not_disturbed():
    heard = []
    with terminable():
        ours = signal.getsignal(signal.SIGTERM)

        def composed(number, frame):
            heard.append(number)
            ours(number, frame)

        signal.signal(signal.SIGTERM, composed)
        terminate()
    assert heard == [signal.SIGTERM]


def test_a_command_ends_with_143(monkeypatch, capsys):
    monkeypatch.setattr(entry, "_dispatch", lambda args: terminate())
    assert main(["draw"]) == 143
    assert capsys.readouterr().err == "sparsenas: interrupted; nothing was trained or written\n"


@pytest.mark.slow
def test_a_search_says_how_to_go_on(tmp_path):
    command = [sys.executable, "-u", "-m", "sparsenas", "fit", "--model.training.seconds", "200"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while " networks are compared after " not in (line := process.stdout.readline()):
            assert line, process.stderr.read()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 143
    assert "Traceback" not in err
    assert "go on with: python -m sparsenas fit --config" in err.splitlines()[-1]


@pytest.mark.slow
def test_the_report_of_an_interrupted_run_says_how_to_go_on(train, tmp_path, monkeypatch, capsys):
    def interrupt(self, trainer, *_):
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    handler = signal.getsignal(signal.SIGINT)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(RunReport, "on_train_epoch_start", interrupt)
            patch.setattr("sparsenas.callbacks.run_report.LIMIT", 60.0)
            assert main(train) == 130
    finally:
        signal.signal(signal.SIGINT, handler)  # Lightning leaves it ignored
    command = capsys.readouterr().err.partition("go on with: ")[2].strip()
    report = Path("lightning_logs/version_0/report.html")
    assert command in report.read_text(encoding="utf-8")
    assert "interrupted at epoch 2 of 2" in report.read_text(encoding="utf-8")
    assert main(shlex.split(command)[3:]) == 0
    assert "interrupted at epoch" not in report.read_text(encoding="utf-8")
