"""The command line as its user sees it: help, errors and exit codes."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sparsenas import __version__
from sparsenas.api.messages import shorten
from sparsenas.api.shipped import find_config, resolve_configs, shipped_configs
from sparsenas.cli import main, short_help
from sparsenas.errors import ConfigError

#: The smallest search that goes through everything: two epochs of two batches of a tiny network.
TINY_SEARCH = shlex.split(
    "fit --config search_two_stage_digits --model.network.channels 4 --model.network.cells 3 "
    "--model.architecture.warmup_epochs 0 --model.signal.every 1 --trainer.accelerator cpu --trainer.max_epochs 2 "
    "--trainer.limit_train_batches 2 --trainer.limit_val_batches 1 --trainer.log_every_n_steps 1"
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Commands run in an empty folder that is neither the clone nor the package."""
    monkeypatch.chdir(tmp_path)


def test_version_and_help_from_any_folder(python_m):
    for option, expected in (("--version", f"sparsenas {__version__}\n"), ("--help", "search for a cell")):
        process = python_m(option)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0
        assert expected in output


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    commands = ["fit", "validate", "test", "predict", "export", "compare", "latency", "draw", "tables"]
    assert re.findall(r"^  (\w+) +\w", text, re.MULTILINE)[-9:] == commands


def test_version_and_help_need_no_torch():
    script = "import sys; from sparsenas.cli import main; main(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 0


@pytest.mark.slow
def test_closed_output_is_no_crash(tmp_path):
    """As with ``| head``: the pipe is closed before anything was written."""
    command = [sys.executable, "-m", "sparsenas", "draw", "darts_v2", "--to", str(tmp_path / "cell.png")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141
    assert (tmp_path / "cell.png").is_file()


def test_short_help_is_short_and_leads_to_the_long_one(capsys):
    for command in ("fit", "test", "validate", "predict"):
        assert main([command, "--config", "quickstart", "--help"]) == 0
        text = capsys.readouterr().out
        assert f"python -m sparsenas {command} " in text
        assert len(text.splitlines()) <= 60
        assert max(map(len, text.splitlines())) <= 140
    assert main(["fit", "--help", "all"]) == 0
    assert "--trainer.reload_dataloaders_every_n_epochs" in capsys.readouterr().out


def test_every_option_of_the_short_help_is_one(capsys):
    topics = (short_help.OF_RUNS, short_help.OF_IMAGES, short_help.OF_NETWORKS, short_help.OF_TRAININGS)
    words = [word for topic in topics for example, _ in topic for word in example.split()]
    assert main(["fit", *words, "--print_config"]) == 0
    settings = yaml.safe_load(capsys.readouterr().out)
    assert settings["name"] == "kitchen"
    assert settings["data"]["init_args"]["size"] == 64
    assert settings["max_params"] == 50000


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["fut"], "argument command: invalid choice: 'fut'"),
        ([], "the following arguments are required: command"),
        (
            ["--model.help", "TournamentSearch"],
            "--model.help: options follow a command; type python -m sparsenas fit --model.help TournamentSearch",
        ),
        (
            ["fit", "--config", "nope"],
            "--config nope: no such file, and no shipped config of that name; shipped are compare_images, ",
        ),
        (["fit", "--config"], "argument -c/--config: expected one argument"),
        (
            ["fit", "--trainer.max_epoch", "3"],
            "unrecognized arguments: --trainer.max_epoch 3; see --help of the command",
        ),
        (["fit", "--trainer.max_epochs", "x"], "trainer.max_epochs: expected int; got 'x'"),
        (["fit", "--config", "quickstart", "--model.bogus", "3"], "model: option 'bogus' is not accepted by"),
        (["fit", "--model.network.channels", "x"], "model.network.channels: expected int; got 'x'"),
        (["fit", "--model.network.stem", "x"], "model.network.stem: expected one of 'cifar', "),
        (
            ["fit", "--config", "search_two_stage_digits", "--model.recovery.solver", "X"],
            "model.recovery.solver: unknown class 'X'; ",
        ),
        (["fit", "--config", "quickstart", "--data", "X"], "data: unknown class 'X'; give a class of sparsenas by its"),
        (
            ["fit", "--model", "TwoStageSearch"],
            "the following arguments are required: fit.data; name a config by --config",
        ),
        (["fit", "--config", "quickstart", "--model.space.stages", "0"], "space: stages=0, layers=2; need 1 to 9"),
        (["fit", "--config", "train_digits", "--model.genotype", "nope.json"], "nope.json: cannot read the genotype"),
        (
            ["fit", "--config", "train_digits", "--ckpt_path", "nope.ckpt"],
            "--ckpt_path nope.ckpt: no such file; give a",
        ),
        (["test", "--config", "train_digits"], "test needs a trained network: give its checkpoint by --ckpt_path FILE"),
        (["draw", "darts_v2"], "the following arguments are required: --to; see python -m sparsenas draw --help"),
        (
            ["draw", "nope", "--to", "x.png"],
            "nope: no such file, and no genotype of that name; known are ista_nas_two_stage",
        ),
        (["draw", "darts_v2", "--to", "x.xyz"], "x.xyz: cannot draw to '.xyz'; use one of .png, .svg, .pdf"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors_of_the_user_are_one_message(run_error, args, message):
    assert run_error(*args).startswith(message)


@pytest.mark.slow
def test_errors_inside_constructors_and_runs_keep_their_message(run_error):
    assert run_error("fit", "--data.batch_size", "0").startswith("data.batch_size is 0")
    assert "data.batch_size is 5000" in run_error("fit", "--data.batch_size", "5000")
    clipping = run_error("fit", "--config", "search_two_stage_digits", "--trainer.gradient_clip_val", "1")
    assert (
        clipping
        == "trainer.gradient_clip_val is 1, which TwoStageSearch does not use; set model.training.gradient_clip"
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--data.augmentation", "off"], "data.augmentation: expected one of 'auto', 'none'; got 'off'"),
        (
            ["--data.augmentation.flop", "1"],
            "data.augmentation: option 'flop' is not accepted by sparsenas.data.Augment",
        ),
        (["--data.augmentation.flip", "maybe"], "data.augmentation.flip: expected bool; got 'maybe'"),
        (["--data.batch_size", "many"], "data.batch_size: expected int, or expected one of 'auto'; got 'many'"),
    ],
)
def test_where_a_word_or_options_are_possible_the_message_is_about_what_was_given(run_error, args, message):
    error = run_error("fit", *args)
    assert error.startswith(message)
    assert error.count("expected") <= 2
    if "see --" in error:
        assert error.endswith("see --data.help Digits")


@pytest.mark.slow
def test_errors_of_the_program_keep_their_traceback(monkeypatch):
    def defect(*args, **options):
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("sparsenas.search.ista_nas.two_stage.TwoStageSearch.training_step", defect)
    with pytest.raises(ZeroDivisionError, match="a defect"):
        main([*TINY_SEARCH, "--trainer.fast_dev_run", "true"])


@pytest.mark.slow
def test_an_unwritable_log_folder_is_found_before_training(run_error, tmp_path):
    (tmp_path / "file").touch()
    message = run_error("fit", "--trainer.logger.save_dir", "file")
    assert re.match(
        r"cannot write to file/lightning_logs/version_0 \(.*\); name a writable folder by --trainer", message
    )
    message = run_error("fit", "--trainer.logger", "false", "--trainer.default_root_dir", "file")
    assert message.endswith("name a writable folder by --trainer.default_root_dir")


def test_shorten_names_place_finding_and_value():
    wall = (
        'Parser key "trainer.x":\n  Does not validate against any of the Union subtypes\n  Subtypes: [int, None]\n'
        "  Errors:\n    - Expected a <class 'int'>\n    - Expected a <class 'NoneType'>\n"
        "  Given value type: <class 'str'>\n  Given value: abc"
    )
    assert shorten(wall) == "trainer.x: expected int; got 'abc'"
    assert shorten("anything else") == "anything else"


def test_configs_are_found_by_path_then_by_name(tmp_path):
    assert Path(find_config("quickstart")) == shipped_configs()["quickstart"]
    assert Path(find_config("quickstart.yaml")) == shipped_configs()["quickstart"]
    (tmp_path / "quickstart.yaml").touch()
    assert find_config("quickstart.yaml") == "quickstart.yaml"
    with pytest.raises(ConfigError, match="--config other: no such file"):
        find_config("other")
    found = str(shipped_configs()["train_digits"])
    args = ["--config", "train_digits", "--config=train_digits", "-c", "train_digits", "--model", "train_digits"]
    assert resolve_configs(args) == ["--config", found, f"--config={found}", "-c", found, "--model", "train_digits"]


@pytest.mark.slow
def test_fit_alone_is_the_quickstart(capsys):
    assert main(["fit", "--print_config"]) == 0
    alone = capsys.readouterr().out
    assert main(["fit", "--config", "quickstart", "--print_config"]) == 0
    assert alone == capsys.readouterr().out
    assert yaml.safe_load(alone)["model"]["class_path"] == "sparsenas.search.TournamentSearch"


@pytest.mark.slow
def test_print_config_can_be_read_back(capsys, tmp_path):
    assert main([*TINY_SEARCH, "--print_config"]) == 0
    printed = capsys.readouterr().out
    (tmp_path / "printed.yaml").write_text(printed)
    assert main(["fit", "--config", "printed.yaml", "--print_config"]) == 0
    assert capsys.readouterr().out == printed
    assert "Unable to serialize" not in printed


def test_draw_writes_a_figure(capsys, tmp_path):
    assert main(["draw", "darts_v2", "--to", "cell.svg"]) == 0
    assert capsys.readouterr().out == "cell.svg\n"
    assert (tmp_path / "cell.svg").read_text().startswith("<?xml")
