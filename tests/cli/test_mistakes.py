"""Mistakes in the options of the trainer, which Lightning finds: one line each, and defects keep their traceback."""

import re
import shlex

import pytest
import yaml

from sparsenas.api.messages import user_error
from sparsenas.cli import main
from sparsenas.errors import ConfigError

TRAINING = shlex.split(
    "fit --config train_digits --model.genotype darts_v2 --model.network.channels 4 --model.network.cells 3 "
    "--trainer.max_epochs 1 --trainer.limit_train_batches 2 --trainer.limit_val_batches 1 "
    "--trainer.log_every_n_steps 1 --trainer.callbacks null"
)
SEARCH = shlex.split(
    "fit --config search_two_stage_digits --model.network.channels 4 --trainer.max_epochs 2 "
    "--model.architecture.warmup_epochs 1 --trainer.limit_train_batches 2 --trainer.log_every_n_steps 1 "
    "--trainer.callbacks null"
)


@pytest.fixture
def run_error(tmp_path, monkeypatch, capsys):
    """Run a command that must fail as an error of the user; gives its message."""
    monkeypatch.chdir(tmp_path)

    def run(*args):
        assert main(list(args)) == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if "sparsenas: error: " in line]
        assert len(lines) == 1
        return lines[0].partition("sparsenas: error: ")[2]

    return run


def with_callback(tmp_path, name, **options):
    (tmp_path / "callbacks.yaml").write_text(
        yaml.safe_dump({"trainer": {"callbacks": [{"class_path": name, "init_args": options}]}})
    )
    return ["--config", str(tmp_path / "callbacks.yaml")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "name", "options", "message"),
    [
        (TRAINING, "EarlyStopping", {"monitor": "val/accuracy"}, r"EarlyStopping: monitor is .*val/loss, val/acc"),
        (TRAINING, "ModelCheckpoint", {"monitor": "val/accuracy"}, r"ModelCheckpoint: .*val/macro_f1.*; use one"),
        (TRAINING, "LearningRateFinder", {}, "LearningRateFinder is not supported.*set model.training.optimizer"),
        (TRAINING, "BackboneFinetuning", {}, "BackboneFinetuning is not supported, as no model has a backbone"),
        (TRAINING, "BatchSizeFinder", {}, "BatchSizeFinder is not supported.*set data.batch_size"),
        (SEARCH, "LearningRateFinder", {}, "LearningRateFinder is not supported"),
        (
            SEARCH, "GradientAccumulationScheduler", {"scheduling": {0: 2}},
            r"not supported for manual optimization\. Please .* \(trainer.callbacks: GradientAccumulationScheduler\)",
        ),
    ],
)  # fmt: skip
def test_callbacks_that_cannot_work(run_error, tmp_path, command, name, options, message):
    error = run_error(*command, *with_callback(tmp_path, name, **options))
    assert re.search(message, error), error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("barebones true", "`Trainer(barebones=True, logger=TensorBoardLogger)` was passed. Logging can impact raw"),
        ("devices -3", "`devices` selected with `CPUAccelerator` should be an int > 0 (options of the trainer)"),
        ("strategy nonsense", "You selected an invalid strategy name: `strategy='nonsense'`. It must be"),
        ("accelerator nonsense", "You selected an invalid accelerator name: `accelerator='nonsense'`. Available"),
        ("profiler nonsense", "When passing string value for the `profiler` parameter of `Trainer`, it can only be"),
        ("max_time nonsense", "`Timer(duration='nonsense')` is not a valid duration. Expected a string in the format"),
        ("val_check_interval 500", "`val_check_interval` (500) must be less than or equal to the number of the train"),
        ("num_nodes 0", "`num_nodes` must be a positive integer, but got 0"),
        ("accumulate_grad_batches 0", "trainer.accumulate_grad_batches is 0; use 1, or more to add up gradients"),
    ],
)
def test_options_that_cannot_work(run_error, option, message):
    name, value = option.split()
    accelerator = [] if name == "accelerator" else ["--trainer.accelerator", "cpu"]
    assert run_error(*TRAINING, *accelerator, f"--trainer.{name}", value).startswith(message)


@pytest.mark.slow
def test_a_checkpoint_of_weights_only_is_tested_but_not_resumed(run_error, tmp_path):
    assert main([*TRAINING, *with_callback(tmp_path, "ModelCheckpoint", filename="last", save_weights_only=True)]) == 0
    run = tmp_path / "lightning_logs" / "version_0"
    options = ["--config", str(run / "config.yaml"), "--ckpt_path", str(run / "checkpoints" / "last.ckpt")]
    message = run_error("fit", *options, "--trainer.max_epochs", "2")
    assert message.startswith(f"--ckpt_path {options[-1]}: holds weights only, which `test` and `export` take")
    assert message.endswith("set save_weights_only of ModelCheckpoint to false")
    assert main(["test", *options]) == 0


def from_lightning(statement):
    """The exception of a statement as if a module of Lightning ran it."""
    code = {"__name__": "pytorch_lightning.trainer.anything"}
    try:
        exec(compile(statement, "anything.py", "exec"), code)
    except Exception as error:
        return error
    return None


def test_only_what_lightning_raises_on_purpose_is_a_mistake_of_the_user():
    mistake = user_error(from_lightning("raise ValueError('give\\n  this. ' + 'And more. ' * 100)"))
    assert isinstance(mistake, ConfigError)
    assert str(mistake).startswith("give this. And more. And more")
    assert len(str(mistake)) < 450
    for defect in ("int('x')", "raise KeyError('x')", "raise AttributeError('x')", "1 / 0", "[].pop()"):
        assert user_error(from_lightning(defect)) is None
    with pytest.raises(ValueError, match="ours") as caught:
        raise ValueError("ours")
    assert user_error(caught.value) is None
