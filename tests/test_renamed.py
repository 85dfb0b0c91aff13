"""Old names of options, classes and configs, in a file or on the command line, end in one line with the new name."""

import dataclasses
import inspect
import re
import shlex

import pytest
import yaml

from sparsenas import callbacks, search
from sparsenas.api import renamed
from sparsenas.api.shipped import shipped_configs
from sparsenas.cli import main
from sparsenas.training import StandAloneTraining

#: Options as they once were, of which searcher, and what they are called now.
OPTIONS = [
    ("channels", "TwoStageSearch", "network.channels"),
    ("cells", "StandAloneTraining", "network.cells"),
    ("stem", "RandomSearch", "network.stem"),
    ("norms", "TournamentSearch", "network.norms"),
    ("weight_optimizer", "TwoStageSearch", "training.optimizer"),
    ("optimizer", "StandAloneTraining", "training.optimizer"),
    ("weight_scheduler", "RelaxedSearch", "training.schedule"),
    ("scheduler", "StandAloneTraining", "training.schedule"),
    ("train_decay", "OneStageSearch", "training.schedule"),
    ("decay", "RandomSearch", "training.schedule"),
    ("gradient_clip", "SinglePathSearch", "training.gradient_clip"),
    ("label_smoothing", "StandAloneTraining", "training.label_smoothing"),
    ("drop_path", "OneStageSearch", "training.drop_path"),
    ("auxiliary_weight", "StandAloneTraining", "training.auxiliary_weight"),
    ("path_dropout", "SinglePathSearch", "training.drop_path"),
    ("arch_optimizer", "RelaxedSearch", "architecture.optimizer"),
    ("arch_scheduler", "TwoStageSearch", "architecture.schedule"),
    ("arch_decay", "OneStageSearch", "architecture.schedule"),
    ("warmup_epochs", "TwoStageSearch", "architecture.warmup_epochs"),
    ("search_epochs", "OneStageSearch", "phases.search_epochs"),
    ("train_epochs", "OneStageSearch", "phases.train_epochs"),
    ("warm_start", "OneStageSearch", "phases.warm_start"),
    ("search_decay", "OneStageSearch", "phases.search_schedule"),
    ("sampling", "OneStageSearch", "exploration.sampling"),
    ("signal", "OneStageSearch", "exploration.signal"),
    ("reject_params", "OneStageSearch", "recovery.reject_params"),
    ("untrained", "SinglePathSearch", "paths.untrained"),
    ("rules", "RelaxedSearch", "budget"),
    ("rules.max_params", "SinglePathSearch", "budget.max_params"),
    ("recovery.max_params", "TwoStageSearch", "budget.max_params"),
    ("recovery.max_per_cell", "OneStageSearch", "budget.max_per_cell"),
    ("recovery.forbidden", "TwoStageSearch", "budget.forbidden"),
    ("max_flops", "TwoStageSearch", "budget.max_macs"),
    ("recovery.max_flops", "TwoStageSearch", "budget.max_macs"),
    ("budget.max_flops", "TournamentSearch", "budget.max_macs"),
    ("rules.max_latency", "TournamentSearch", "budget.max_latency_ms"),
    ("recovery.latency", "TwoStageSearch", "budget.latency_table"),
]
#: Those that are given on the command line as well, which other code refuses.
COMMANDS = {
    *("TwoStageSearch.channels", "TwoStageSearch.weight_optimizer", "TwoStageSearch.recovery.max_params"),
    *("TournamentSearch.norms", "StandAloneTraining.scheduler", "OneStageSearch.signal"),
}
TOURNAMENT = "use the class TournamentSearch, with its options under tournament"
#: Where measuring was, and what is said of it.
MEASURING = {
    "OneStageSearch": f"OneStageSearch measures no more; {TOURNAMENT}",
    "SinglePathSearch": f"SinglePathSearch measures no more; {TOURNAMENT}",
    "TournamentSearch": "there are tournaments now, whose options are under model.tournament",
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run_error(capsys):
    """Run a command that must fail as an error of the user; gives its only line."""

    def run(*args):
        assert main(list(args)) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line.removeprefix("sparsenas: error: ")

    return run


@pytest.fixture
def write(tmp_path):
    """Write a config of `fit` with these options of the model and callbacks; gives its name."""

    def run(searcher, options, added=()):
        config = yaml.safe_load(shipped_configs()["train_digits"].read_text())
        config["model"] = {"class_path": searcher, "init_args": options}
        config["trainer"]["callbacks"] += added
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        return "config.yaml"

    return run


def nested(path, value):
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


@pytest.mark.parametrize(("old", "searcher", "new"), OPTIONS, ids=lambda value: value)
def test_an_old_option_is_told_the_new_one(run_error, write, old, searcher, new):
    message = f"model.{old}: this option is now called model.{new}"
    genotype = {"genotype": "darts_v2"} if searcher == "StandAloneTraining" else {}
    if f"{searcher}.{old}" in COMMANDS:
        assert run_error("fit", "--config", write(searcher, genotype), f"--model.{old}", "3") == message
    assert run_error("fit", "--config", write(searcher, {**genotype, **nested(old, 3)})) == message


def test_the_new_option_is_there():
    for _, searcher, new in OPTIONS:
        model = StandAloneTraining if searcher == "StandAloneTraining" else getattr(search, searcher)
        first, *others = new.split(".")
        value = inspect.signature(model).parameters[first].default
        for name in others:
            assert name in {field.name for field in dataclasses.fields(value)}
            value = getattr(value, name)


def test_every_old_option_has_an_example():
    examples = [old for old, _, _ in OPTIONS]
    assert all(any(re.fullmatch(old, example) for example in examples) for old in renamed._MODEL)


@pytest.mark.parametrize("name", ["crop_padding", "flip", "cutout", "padding_mode"])
def test_an_old_option_of_the_images(run_error, write, name):
    message = f"data.{name}: this option is now called data.augmentation.{name}"
    assert run_error("fit", "--config", write("TwoStageSearch", {}), f"--data.{name}", "0") == message


@pytest.mark.parametrize(
    "options",
    [
        {"weight_scheduler": {"class_path": "WarmupDecay", "init_args": {"epochs": 3}}},
        {"weight_scheduler": {"class_path": "WarmupDecay"}},
        {"weight_scheduler": None},
    ],
)
def test_an_old_option_is_named_without_what_it_holds(run_error, write, options):
    found = run_error("fit", "--config", write("TwoStageSearch", options))
    assert found == "model.weight_scheduler: this option is now called model.training.schedule"


@pytest.mark.parametrize("old", ["ConfidenceReport", "sparsenas.callbacks.ConfidenceReport"])
def test_an_old_callback(run_error, write, old):
    message = "trainer.callbacks: ConfidenceReport is now called ResultReport"
    assert run_error("fit", "--config", write("TwoStageSearch", {}, [{"class_path": old}])) == message
    assert run_error("fit", "--config", write("TwoStageSearch", {}), "--trainer.callbacks", old) == message
    assert hasattr(callbacks, "ResultReport")


@pytest.mark.parametrize("prefix", ["", "sparsenas.search."])
@pytest.mark.parametrize("options", [{}, {"measuring": {"count": 12}}])
def test_the_old_searcher(run_error, write, prefix, options):
    found = run_error("fit", "--config", write(f"{prefix}MeasuredSearch", options))
    assert found == f"model: MeasuredSearch is gone; {TOURNAMENT}"
    found = run_error("fit", "--config", write("TwoStageSearch", {}), "--model", f"{prefix}MeasuredSearch")
    assert found == f"model: MeasuredSearch is gone; {TOURNAMENT}"


@pytest.mark.parametrize("prefix", ["", "sparsenas.search."])
@pytest.mark.parametrize("old", ["MeasuredSelection", "ShortTraining"])
def test_old_parts_of_measuring(run_error, write, prefix, old):
    options = {"selection": {"class_path": prefix + old, "init_args": {"measuring": {"count": 12}}}}
    found = run_error("fit", "--config", write("SinglePathSearch", options))
    assert found == f"model.selection: {old} is gone; {TOURNAMENT}"
    assert not hasattr(search, old)


def test_the_old_schedule_class(run_error, write):
    options = {"training": {"schedule": {"class_path": "sparsenas.schedules.WarmupDecay", "init_args": {"epochs": 3}}}}
    found = run_error("fit", "--config", write("TwoStageSearch", options))
    assert found == "model: WarmupDecay is now called Schedule, the options of training.schedule"


@pytest.mark.parametrize("searcher", MEASURING)
@pytest.mark.parametrize("value", ["{}", "null", "{count: 12}", "{signals: [StepTime]}"])
def test_searchers_that_no_longer_measure(run_error, write, searcher, value):
    """Empty options too, which jsonargparse drops without a word."""
    message = f"model.measuring: {MEASURING[searcher]}"
    assert run_error("fit", "--config", write(searcher, {}), "--model.measuring", value) == message
    assert run_error("fit", "--config", write(searcher, {}), f"--model.measuring={value}") == message
    assert run_error("fit", "--config", write(searcher, {"measuring": yaml.safe_load(value)})) == message


@pytest.mark.parametrize("option", ["count 12", "decoding.trust all", "proxies ZeroCost"])
def test_an_option_of_measuring(run_error, write, option):
    name, value = option.split()
    found = run_error("fit", "--config", write("TournamentSearch", {}), f"--model.measuring.{name}", value)
    assert found == f"model.measuring: {MEASURING['TournamentSearch']}"


@pytest.mark.parametrize(("old", "new"), renamed.CONFIGS.items())
def test_an_old_config(run_error, old, new):
    assert run_error("fit", "--config", old) == f"--config {old}: this config is now called {new}"
    assert run_error("fit", f"--config={old}.yaml") == f"--config {old}.yaml: this config is now called {new}"
    assert new in shipped_configs()
    assert old not in shipped_configs()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("--model.signal.everi 3", "model.signal: option 'everi' is not accepted by sparsenas.search.FullGradient"),
        ("--model.sampling X", "model.sampling: unknown class 'X'"),
        ("--model.channel 3", "model: option 'channel' is not accepted by sparsenas.search.TwoStageSearch"),
        ("--model.network.chanels 3", "model: unrecognized arguments: --network.chanels=3"),
    ],
)
def test_other_mistakes_are_left_as_they_are(run_error, command, message):
    assert run_error("fit", "--config", "search_two_stage_digits", *shlex.split(command)).startswith(message)
