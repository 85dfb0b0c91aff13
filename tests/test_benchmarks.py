"""The benchmarks: what they measure by, what they write, and what they say when something is not there."""

import json
import sys
from importlib import import_module
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch

#: Every benchmark, options that make it take seconds, and the figures that it must give.
TINY = ["--channels", "4", "--cells", "3", "--pixels", "8", "--batch", "4"]
FIGURES = {
    "search_step": (
        TINY,
        {"two_stage_over_limit", "memory_over_discrete", "full_gradient_over_limit", "one_stage_over_training_step"},
    ),
    "candidates": (TINY, {"candidates_56_over_7", "candidates_56_over_7_memory"}),
    "baselines": (TINY, {"darts_over_ours", "pc_darts_over_ours", "gdas_over_ours", "darts_over_ours_memory"}),
    "recovery": (["--skip-missing"], {"recovery_ms", "recovery_over_lars"}),
    "input_pipeline": (
        [],
        {"pipeline_over_step", "augment_over_plain_step_16px", "augment_over_plain_step_32px"},
    ),
    "framework_overhead": ([*TINY, "--batches", "3"], {"lightning_over_bare"}),
    "hot_path": ([*TINY, "--mode", "one-stage"], {"iteration_over_training_step"}),
    "stage": (
        ["--channels", "4", "--pixels", "8", "--batch", "4", "--layers", "2"],
        {"stage_over_sequential", "stage_search_over_training_step", "stage_fill_ms", "stage_recovery_ms"},
    ),
    "precision": (TINY, {"bf16_autocast_over_float32"}),
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def harness():
    return import_module("harness")


@pytest.fixture
def images(tmp_path, monkeypatch):
    """A stand-in for the data set, in a folder of its own."""
    folder = tmp_path / "data"
    folder.mkdir()
    rng = np.random.default_rng(0)
    arrays = {"x": rng.integers(256, size=(400, 16, 16, 3), dtype=np.uint8), "y": np.arange(400) % 10}
    parts = {f"{name}_{part}": array for part in ("train", "test") for name, array in arrays.items()}
    np.savez(folder / "cifar10_12k_16px.npz", **parts)
    monkeypatch.setenv("SPARSENAS_DATA", str(folder))
    return folder


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the profiler and of scikit-learn, which the scripts leave out by themselves
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_measured_and_nothing_else_is_written(name, images, tmp_path):
    options, figures = FIGURES[name]
    assert import_module(name).main([*options, "--repeats", "2", "--json", "figures.json"]) == 0
    result = json.loads((tmp_path / "figures.json").read_text())
    assert set(result["ratios"]) >= figures
    assert all(value > 0 for value in result["ratios"].values())
    assert {path.name for path in tmp_path.iterdir()} == {"data", "figures.json"}


@pytest.mark.slow
def test_a_disturbed_run_ends_as_its_twin(tmp_path, monkeypatch):
    soak = import_module("soak")
    monkeypatch.setattr(soak, "WARM", 1)
    args = ["--minutes", "0", "--only", "two-stage", "--repeats", "2", "--json", "counts.json"]
    assert soak.main(args) == 0
    counts = json.loads((tmp_path / "counts.json").read_text())["ratios"]
    assert counts["runs"] == 1
    assert counts["kills"] > 0
    assert counts["open files a run"] == counts["temporary files a run"] == 0


@pytest.mark.parametrize("name", [*FIGURES, "gpu"])
@pytest.mark.skipif(torch.cuda.is_available(), reason="the device is there")
def test_a_missing_device_is_one_line(name, capsys):
    assert import_module(name).main(["--device", "cuda"]) == 2
    captured = capsys.readouterr()
    assert captured.err == f"{name}: error: --device cuda is not there; this machine has cpu\n"
    assert captured.out == ""


def test_a_missing_library_is_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "skglm", None)
    assert import_module("recovery").main(["--repeats", "2"]) == 2
    assert capsys.readouterr().err.startswith("recovery: error: skglm is not installed; install it, or leave its row")


def test_missing_data_are_one_line_and_can_be_left_out(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("SPARSENAS_DATA", str(tmp_path))
    script = import_module("input_pipeline")
    assert script.main([]) == 2
    assert "cifar10_12k_16px.npz is not there; set SPARSENAS_DATA to its folder" in capsys.readouterr().err
    assert script.main(["--skip-missing"]) == 0
    assert "left out: input pipeline: " in capsys.readouterr().out


def test_senseless_numbers_are_one_line(capsys):
    assert import_module("recovery").main(["--repeats", "1"]) == 2
    assert capsys.readouterr().err == "recovery: error: --repeats is 1, --threads 1; at least 2 and 1 are needed\n"


class TestHarness:
    def test_rows_run_in_turn(self, harness):
        ran = []
        samples = harness.interleaved({name: lambda name=name: ran.append(name) for name in "ab"}, repeats=3)
        assert {name: len(values) for name, values in samples.items()} == {"a": 3, "b": 3}
        assert [name for name, _ in groupby(ran)] == list("abababab")  # one round more, which warms up

    def test_peak_is_what_is_held_at_once(self, harness):
        def one_after_the_other():
            for _ in range(3):
                torch.empty(2**20)

        def together():
            return [torch.empty(2**20) for _ in range(3)]

        assert harness.peak_bytes(one_after_the_other, "cpu") == 4 * 2**20
        assert harness.peak_bytes(together, "cpu") == 12 * 2**20

    def test_goals(self, harness):
        assert harness.Goal(1.1).met(1.1)
        assert not harness.Goal(1.1).met(1.2)
        assert harness.Goal(15, at_least=True).met(20)
        assert not harness.Goal(15, at_least=True).met(10)
