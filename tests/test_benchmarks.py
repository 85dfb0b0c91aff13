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
    "peers": (TINY, {"darts_over_ours", "pc_darts_over_ours", "gdas_over_ours", "darts_over_ours_memory"}),
    "recovery": (["--skip-missing"], {"recovery_ms", "recovery_over_lars"}),
    "input_pipeline": ([], {"pipeline_over_step"}),
    "framework_overhead": ([*TINY, "--batches", "3"], {"lightning_over_bare"}),
    "hot_path": ([*TINY, "--mode", "one-stage"], {"iteration_over_training_step"}),
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


@pytest.mark.parametrize("name", FIGURES)
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


class TestSuperNetHeuristics:
    """The study of training heuristics, on stand-ins for the images and for the table."""

    BRIEFLY = (
        "--trainer.max_epochs 1 --model.weight_scheduler.init_args.epochs 1 --trainer.limit_train_batches 2 "
        "--trainer.limit_val_batches 1 --data.batch_size 8 --data.eval_batch_size 256 --data.val_fraction 0.7 "
        "--model.channels 4 --model.cells 1 --trainer.callbacks ModelCheckpoint"
    )

    @pytest.fixture
    def script(self, images, monkeypatch):
        class Table:
            """Truth is the number of convolutions."""

            def accuracies(self, *training):
                return np.arange(7)

            def accuracy(self, genotype, *training):
                return sum("conv" in candidate.primitive for candidate in genotype.cell("normal"))

        script = import_module("supernet_heuristics")
        monkeypatch.setattr(script, "NasBench201Table", Table)
        monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # restored afterwards; runs set it
        # as in a process of its own, but in this one
        monkeypatch.setattr(script, "run_all", lambda jobs, out, workers: [self.run(script, job, out) for job in jobs])
        return script

    def run(self, script, job, out):
        return script.load(out, job) if script.result_file(out, job).is_file() else script.run(job, out)

    @pytest.mark.filterwarnings("ignore")  # runs so short make Lightning doubt their settings
    def test_figures_are_those_of_ranking(self, script, tmp_path, capsys):
        from sparsenas.ranking import kendall_tau, top_mean

        args = ["--out", str(tmp_path / "out"), "--levels", "affine+on_node", "--seeds", "2", "--cells", "20", "--last"]
        args += ["2", "--options", *self.BRIEFLY.split()]
        assert script.main(args) == 0, capsys.readouterr().err
        result = json.loads((tmp_path / "out" / "results.json").read_text())
        (row,) = result["rows"]
        nets, truth = result["super_nets"], result["truth"]
        assert [net["images"] for net in nets] == [256, 256]
        assert nets[0]["accuracy"] != nets[1]["accuracy"]
        for net, seed in zip(nets, row["seeds"], strict=True):
            assert np.allclose(net["snapshots"][-1], net["accuracy"])  # after the last batch, nothing moves
            assert len(net["snapshots"]) == 2
            assert seed["tau"] == kendall_tau(net["accuracy"], truth)
            assert seed["top_10_mean"] == top_mean(net["accuracy"], truth, 10)
        assert row["mean"]["tau"] == pytest.approx(np.mean([seed["tau"] for seed in row["seeds"]]))
        together = np.mean([net["accuracy"] for net in nets], axis=0)
        assert row["tau_of_mean_accuracy"] == kendall_tau(together, truth)
        assert result["cells"][0].startswith("|")
        before = (tmp_path / "out" / "affine+on_node-0.result.json").stat().st_mtime_ns
        assert script.main(args) == 0  # goes on where it was
        assert (tmp_path / "out" / "affine+on_node-0.result.json").stat().st_mtime_ns == before
        args[args.index("20")] = "21"
        assert script.main(args) == 2
        assert "is of other cells or options; give these an --out of their own" in capsys.readouterr().err

    def test_cells_are_fixed_distinct_and_a_prefix_of_more(self, script):
        cells = script.fixed_cells(200, 0)
        assert len(set(cells)) == 200
        assert cells == script.fixed_cells(200, 0)
        assert cells[:50] == script.fixed_cells(50, 0)
        assert len(set(cells) & set(script.fixed_cells(200, 1))) < 20

    def test_an_unknown_level_is_one_line(self, script, capsys):
        assert script.main(["--out", "out", "--levels", "baseline+colour"]) == 2
        assert capsys.readouterr().err.startswith("supernet_heuristics: error: no level 'colour'; there are baseline,")

    def test_scores_that_do_not_rank_have_no_figure(self, script):
        result = {"accuracy": [0.1] * 12, "loss": [2.3] * 12, "snapshots": []}
        figures = script.figures(result, list(range(12)), np.arange(12))
        assert (figures["tau"], figures["tau_by_loss"], figures["sparse_tau"]) == (None, None, None)
        assert figures["top_10_mean"] == pytest.approx(5.5)
        assert script.mean_of([figures["tau"], 0.5]) is None

    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore")  # as above
    def test_every_level_is_trained(self, script, tmp_path):
        for level in {name for joined in script.NORMS_AND_SAMPLING for name in joined.split("+")} | set(script.LEVELS):
            options = self.BRIEFLY.replace("--model.cells 1", "").replace("--model.channels 4", "").split()
            job = script.Job(level, 0, 2, 0, 0, tuple(options))
            assert len(script.run(job, tmp_path / "out")["accuracy"]) == 2, level
