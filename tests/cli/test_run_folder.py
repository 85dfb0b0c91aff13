"""Where commands write: a run goes on in its folder, evaluations write beside it, and nothing is overwritten."""

import os
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from jsonargparse import Namespace

from sparsenas.callbacks.run_report import OF_TESTS
from sparsenas.cli import main
from sparsenas.cli.run_folder import choose_folder, same_folder

NAME, RUN = ["--name", "kitchen"], Path("lightning_logs/kitchen")
LAST = ["--ckpt_path", str(RUN / "checkpoints" / "last.ckpt")]
AGAIN = ["--config", str(RUN / "config.yaml")]


@pytest.fixture(scope="module")
def trained(train, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    here = Path.cwd()
    os.chdir(folder)
    try:
        assert main([*train, *NAME]) == 0
    finally:
        os.chdir(here)
    return folder


@pytest.fixture(autouse=True)
def _a_copy(request, trained, tmp_path, monkeypatch):
    """The commands of a test run beside a run of its own."""
    shutil.copytree(trained / RUN.parent, tmp_path / RUN.parent)
    monkeypatch.chdir(tmp_path)


def contents(folder=RUN):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def runs():
    return sorted(path.name for path in RUN.parent.iterdir())


@pytest.mark.slow
def test_evaluations_add_predictions_and_a_report_to_the_run_and_nothing_else():
    reported = [RUN / name for name in ("report.html", "results.csv", "curves.png", *OF_TESTS)]
    before = {file: content for file, content in contents().items() if file not in reported}
    for command in ("test", "predict", "predict"):
        assert main([command, *AGAIN, *LAST]) == 0
    after = contents()
    first, second = RUN / "predictions.csv", RUN / "predictions_1.csv"
    assert after.pop(first) == after.pop(second)
    assert {file: content for file, content in after.items() if file not in reported} == before
    assert runs() == ["kitchen"]


@pytest.mark.slow
def test_a_resumed_run_goes_on_in_its_folder_and_keeps_its_settings(capsys):
    before = contents()
    assert main(["fit", *AGAIN, *LAST, "--trainer.max_epochs=3"]) == 0
    assert "epoch 3/3" in capsys.readouterr().out
    after = contents()
    assert runs() == ["kitchen"]
    assert after[RUN / "config_1.yaml"] == before[RUN / "config.yaml"]
    kept = [file for file in before if file.name.startswith("events") or file.name == "hparams.yaml"]
    assert [after[file] for file in kept] == [before[file] for file in kept]
    assert sum(file.name.startswith("events") for file in after) == 2
    assert {file.name for file in after if file.suffix == ".ckpt"} == {"best.ckpt", "last.ckpt"}
    settings = yaml.safe_load((RUN / "config.yaml").read_text())
    assert settings["trainer"]["logger"]["init_args"]["version"] is None  # to be run again, in a folder of its own


@pytest.mark.slow
def test_from_an_earlier_checkpoint_or_by_another_name_nothing_is_overwritten(capsys):
    early = RUN / "checkpoints" / "early.ckpt"
    shutil.copy2(RUN / "checkpoints" / "last.ckpt", early)
    assert main(["fit", *AGAIN, *LAST, "--trainer.max_epochs=3"]) == 0
    before = contents()
    for name, folder in (([], "kitchen_1"), (["--name", "bath"], "bath")):
        assert main(["fit", *AGAIN, "--ckpt_path", str(early), "--trainer.max_epochs=3", *name]) == 0
        said = capsys.readouterr()
        assert f"lightning_logs/{folder}/checkpoints/best.ckpt" in said.out
        assert ("is later, and would be overwritten" in said.err) == (not name)
    assert runs() == ["bath", "kitchen", "kitchen_1"]
    assert contents() == before


@pytest.mark.slow
def test_a_name_is_never_taken_twice(train):
    before = contents()
    assert main([*train, *NAME]) == 0
    assert runs() == ["kitchen", "kitchen_1"]
    assert contents() == before


@pytest.mark.slow
def test_without_access_to_the_folder_of_the_run_there_is_a_new_one(monkeypatch):
    monkeypatch.setattr("sparsenas.cli.run_folder._can_be_written", lambda *_: False)
    before = contents()
    assert main(["predict", *AGAIN, *LAST]) == 0
    assert runs() == ["kitchen", "version_0"]
    assert (RUN.parent / "version_0" / "predictions.csv").is_file()
    assert contents() == before


@pytest.mark.parametrize("name", ["", "..", "a/b", "a:b", "version_3", "end.", "x" * 101])
def test_what_is_no_name_is_refused(train, name, capsys):
    assert main([*train, "--name", name]) == 2
    assert f"--name {name!r}: is no name for a folder" in capsys.readouterr().err


def logger(kind, **options):
    return Namespace(class_path=f"pytorch_lightning.loggers.{kind}", init_args=Namespace(options))


@pytest.mark.parametrize(
    ("loggers", "folder", "root"),
    [
        (True, "lightning_logs/bath", None),
        (None, "lightning_logs/bath", None),
        (False, None, "lightning_logs/bath"),
        (logger("TensorBoardLogger", save_dir="a", name="b", version=None), "a/b/bath", None),
        (logger("CSVLogger", save_dir="a", name="b"), "a/b/bath", None),
        (logger("WandbLogger", project="p"), None, "lightning_logs/bath"),
        ([logger("CSVLogger", save_dir=".", name="b"), logger("WandbLogger", project="p")], "b/bath", None),
    ],
)
def test_a_name_is_the_folder_of_any_logger_or_none(loggers, folder, root):
    options = {"trainer": {"logger": loggers, "default_root_dir": None, "fast_dev_run": False}}
    chosen = choose_folder("fit", ["--name", "bath"], {**options, "name": "bath", "ckpt_path": None})
    first = chosen.logger[0] if isinstance(chosen.logger, list) else chosen.logger
    if folder is not None:
        place = first.init_args
        assert Path(place.save_dir) / place.name / place.version == Path(folder)
    assert chosen.root == root


def test_a_name_beside_another_place_is_refused(train, capsys):
    assert main([*train, *NAME, "--trainer.logger.init_args.version=3"]) == 2
    assert "--name kitchen: --trainer.logger.init_args.version names the folder, too" in capsys.readouterr().err


@pytest.mark.slow
def test_a_finished_run_of_seconds_goes_on_for_the_seconds_that_are_added(capsys):
    run = RUN.with_name("quick")
    assert main(["fit", "--name", "quick", "--model.training.seconds=3", "--trainer.accelerator=cpu"]) == 0
    last = str(run / "checkpoints" / "last.ckpt")
    steps = torch.load(last, weights_only=True)["global_step"]
    again = ["fit", "--config", str(run / "config.yaml"), "--ckpt_path", last]
    assert main([*again, "--model.training.seconds=5"]) == 0
    assert re.search(r"\d seconds were planned, and \d are now: the learning rate", capsys.readouterr().out)
    assert torch.load(last, weights_only=True)["global_step"] > steps


@pytest.mark.slow
def test_a_run_of_several_loggers_is_told_how_to_write_into_its_folder_again(capsys):
    loggers = [
        {"class_path": "TensorBoardLogger", "init_args": {"save_dir": "."}},
        {"class_path": "CSVLogger", "init_args": {"save_dir": "."}},
    ]
    Path("several.yaml").write_text(yaml.safe_dump({"trainer": {"logger": loggers}}))
    run = Path("lightning_logs/version_7")
    run.mkdir()
    assert main(["fit", *AGAIN, "--config", "several.yaml", "--print_config"]) == 0
    (run / "config.yaml").write_text(capsys.readouterr().out)
    assert main(["fit", "--config", str(run / "config.yaml"), *map(str, same_folder(run)), "--print_config"]) == 0
    found = yaml.safe_load(capsys.readouterr().out)["trainer"]["logger"]
    assert [logger["init_args"]["version"] for logger in found] == ["version_7", "version_7"]
