"""A limit of milliseconds without a table: layers are measured before the run, and kept in its folder."""

import re
from pathlib import Path

import pytest

from sparsenas.cli import latency_first, main
from sparsenas.cli.latency_first import measure_before_run
from sparsenas.cli.lightning import CommandLine
from sparsenas.errors import ConfigError
from sparsenas.latency import LayerTimes, Line, read_layer_times
from sparsenas.spaces.stage import ALL_TYPES

LAYERS = ["head", *(f"{layer}{down}" for layer in ALL_TYPES for down in ("", "/stride", "/max_pool"))]
#: Of a machine on which a layer takes at least 0.1 ms.
TIMES = LayerTimes(dict.fromkeys(LAYERS, Line(0.1, 1e-6, 1e-7)), 0.05, {"machine": "made up"})
COMMAND = (
    "fit --config train_digits --model.genotype resnet8 --model.training.drop_path 0 --max_latency_ms 3 "
    "--model.network.channels null --model.network.cells null --model.network.stem cifar"
)


class StopError(Exception):
    """The fit would begin now."""


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """Runs a command up to its fit; gives the command line."""
    monkeypatch.chdir(tmp_path)
    for name in ("SPARSENAS_LATENCY", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    seen, shapes = [], []

    def stop(self):
        seen.append(self)
        raise StopError

    def measure(image_shape, device, batch=1, rounds=10):
        shapes.append(image_shape)
        return TIMES

    monkeypatch.setattr(CommandLine, "before_fit", stop)
    monkeypatch.setattr(latency_first, "measure_layers", measure)

    def run(options):
        with pytest.raises(StopError):
            main([*COMMAND.split(), *options.split()])
        return seen[-1], shapes

    return run


@pytest.mark.slow
@pytest.mark.parametrize(("name", "folder"), [("", "version_1"), ("--name mine", "mine")])
def test_the_times_are_kept_in_the_folder_of_the_run(stopped, capsys, name, folder):
    Path("lightning_logs/version_0").mkdir(parents=True)
    command, shapes = stopped(name)
    file = Path("lightning_logs") / folder / "latency.json"
    assert Path(command.trainer.log_dir) == file.parent
    assert read_layer_times(file) == TIMES
    assert set(shapes) == {(1, 8, 8)}
    model = command.model
    predicted = TIMES.latency(model.genotype, (1, 8, 8), 10, model.config.channels)
    assert predicted <= 3 < TIMES.latency(model.genotype, (1, 8, 8), 10, model.config.channels + 2)
    assert re.search(
        rf"chosen +times of layers by .* on made up.*kept in {re.escape(str(file))}", capsys.readouterr().out
    )


@pytest.mark.slow
def test_a_table_that_is_given_is_taken(stopped, tmp_path):
    TIMES.write(tmp_path / "given.json")
    _, shapes = stopped("--model.budget.latency_table given.json")
    assert shapes == []


def test_what_takes_long_is_not_begun(tmp_path, monkeypatch):
    clock = iter([0.0, 30.0])
    monkeypatch.setattr(latency_first, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(latency_first, "measure_layers", lambda *args, rounds: TIMES if rounds == 1 else None)
    with pytest.raises(ConfigError, match="measuring layers for images of 500x400 would take 70 s here: use smaller"):
        measure_before_run((3, 500, 400), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_processes_of_a_run_take_the_times_of_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr(latency_first, "measure_layers", lambda *args, rounds: TIMES)
    monkeypatch.delenv("SPARSENAS_LATENCY", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="processes that were started together would each measure other times"):
        measure_before_run((1, 8, 8), tmp_path)
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.setenv("LOCAL_RANK", "0")
    file, _ = measure_before_run((1, 8, 8), tmp_path)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert measure_before_run((1, 8, 8), tmp_path / "other") == (file, "")
