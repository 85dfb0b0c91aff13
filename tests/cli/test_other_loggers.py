"""Runs with loggers that have no folder for each run, alone or beside TensorBoard: their files stay together."""

from pathlib import Path

import pytest
import pytorch_lightning as pl
import yaml
from pytorch_lightning.loggers import Logger

from sparsenas.cli import main

OTHER = {"class_path": "pytorch_lightning.loggers.WandbLogger"}
LOGGER = ["--trainer.logger", OTHER["class_path"]]
BOARD = {"class_path": "TensorBoardLogger", "init_args": {"save_dir": ".", "name": "lightning_logs"}}


class WandbLogger(Logger):
    """A logger that keeps what it gets elsewhere, in the place of Weights & Biases, which need not be installed."""

    name, version, save_dir = "project", "abc123", "."

    def __init__(self, save_dir: str = ".") -> None:
        super().__init__()

    def log_metrics(self, metrics, step=None): ...

    def log_hyperparams(self, params, *_, **__): ...


WandbLogger.__module__ = pl.loggers.__name__  # by this name configs are read and written


@pytest.fixture(autouse=True)
def _standing_in(monkeypatch, tmp_path):
    monkeypatch.setattr(pl.loggers, "WandbLogger", WandbLogger)
    monkeypatch.chdir(tmp_path)


def files():
    return {str(path) for path in Path().rglob("*") if path.is_file() and path.name != "loggers.yaml"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loggers", "name"), [([OTHER, BOARD], "kitchen"), ([BOARD, OTHER], None), (OTHER, "kitchen"), (OTHER, None)]
)
def test_all_files_of_a_run_and_of_its_evaluations_are_in_its_folder(train, loggers, name):
    Path("loggers.yaml").write_text(yaml.safe_dump({"trainer": {"logger": loggers}}), encoding="utf-8")
    run = Path("lightning_logs", name or "version_0")
    assert main([*train, "--config", "loggers.yaml", *(["--name", name] if name else [])]) == 0
    checkpoint = str(run / "checkpoints" / "last.ckpt")
    wanted = {str(run / file) for file in ("config.yaml", "report.html", "results.csv")} | {checkpoint}
    assert wanted <= files()
    for command, file in (("test", "predictions_test.csv"), ("predict", "predictions.csv"), ("validate", None)):
        assert main([command, "--config", str(run / "config.yaml"), "--ckpt_path", checkpoint]) == 0
        assert file is None or (run / file).is_file()
    assert [file for file in files() if not Path(file).is_relative_to(run)] == []


@pytest.mark.slow
def test_a_logger_of_the_command_line_leaves_the_name_alone_and_runs_get_folders_of_their_own(train):
    for options in (["--name", "kitchen"], [], []):
        assert main([*train, *LOGGER, "--trainer.logger.save_dir=elsewhere", *options]) == 0
    reports = sorted(str(path) for path in Path().rglob("report.html"))
    assert reports == [f"lightning_logs/{run}/report.html" for run in ("kitchen", "version_0", "version_1")]
