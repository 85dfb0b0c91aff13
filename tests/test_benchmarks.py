"""The benchmarks: what they measure by, what they write, and what they say when something is not there."""

import json
import os
import sys
from importlib import import_module
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau

from sparsenas.networks import DerivedNet
from sparsenas.spaces import DartsSpace, Genotype, NasBench201Space, NasBenchMacroSpace
from sparsenas.tables import Cost

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

            space = NasBench201Space()

            def accuracies(self, *training):
                return np.arange(7)

            def accuracy(self, genotype, *training):
                return sum("conv" in candidate.primitive for candidate in genotype.cell("normal"))

            def cost(self, genotype):
                return Cost(self.space.parameters(genotype), self.space.flops(genotype))

        script = import_module("supernet_heuristics")
        monkeypatch.setitem(script.BENCHMARKS, "nasbench201", script.BENCHMARKS["nasbench201"]._replace(table=Table))
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
        (row,) = json.loads((tmp_path / "out" / "supernet_nasbench201.json").read_text())["rows"]
        raw = json.loads((tmp_path / "out" / "super_nets.json").read_text())
        nets = raw["super_nets"]
        truth = [cell.count("conv") for cell in raw["cells"]]
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
        assert (tmp_path / "out" / "supernet_nasbench201.png").stat().st_size > 5_000
        before = (tmp_path / "out" / "affine+on_node-0.result.json").stat().st_mtime_ns
        assert script.main(args) == 0  # goes on where it was
        assert (tmp_path / "out" / "affine+on_node-0.result.json").stat().st_mtime_ns == before
        args[args.index("20")] = "21"
        assert script.main(args) == 2
        assert "is of other cells or options; give these an --out of their own" in capsys.readouterr().err

    def test_cells_are_fixed_distinct_and_a_prefix_of_more(self, script):
        space = NasBench201Space()
        cells = script.fixed_cells(space, 200, 0)
        assert len(set(cells)) == 200
        assert cells == script.fixed_cells(space, 200, 0)
        assert cells[:50] == script.fixed_cells(space, 50, 0)
        assert len(set(cells) & set(script.fixed_cells(space, 200, 1))) < 20

    def test_an_unknown_level_is_one_line(self, script, capsys):
        assert script.main(["--out", "out", "--levels", "baseline+colour"]) == 2
        assert capsys.readouterr().err.startswith("supernet_heuristics: error: no level 'colour'; there are baseline,")

    def test_scores_that_do_not_rank_have_no_figure(self, script):
        report = import_module("supernet_report")
        net = {"accuracy": [0.1] * 12, "loss": [2.3] * 12, "snapshots": []}
        figures = report.net_figures(net, list(range(12)), np.arange(12))
        assert (figures["tau"], figures["tau_by_loss"], figures["sparse_tau"]) == (None, None, None)
        assert figures["top_10_mean"] == pytest.approx(5.5)
        assert report.mean_of([figures["tau"], 0.5]) is None

    def test_effects_are_of_levels_that_differ_in_one_factor(self):
        report = import_module("supernet_report")
        taus = {"baseline": [0.5, 0.4], "affine": [0.6, 0.6], "tracked": [0.1, 0.3], "tracked+affine": [0.2, 0.0]}
        rows = [
            {"level": level, "seeds": [{"tau": tau, "tau_without_none": None, "shared_accuracy": -tau} for tau in both]}
            for level, both in taus.items()
        ]
        affine, tracked = report.effects(rows)
        assert [effect["tau"]["pairs"] for effect in (affine, tracked)] == [4, 4]
        assert [effect["tau"]["lower"] for effect in (affine, tracked)] == [1, 4]
        assert affine["tau"]["mean"] == pytest.approx((0.1 + 0.2 + 0.1 - 0.3) / 4)
        assert (tracked["tau"]["lowest"], tracked["tau"]["highest"]) == pytest.approx((-0.6, -0.1))
        assert tracked["tau"]["p"] == pytest.approx(2 / 2**4)  # all four pairs agree
        assert tracked["shared_accuracy"]["lower"] == 0
        assert tracked["tau_without_none"] is None
        assert report.effects(rows[1:2]) == []
        rows[0]["seeds"][0]["tau"] = None  # a super-net that learned nothing costs its pairs, no more
        assert [effect["tau"]["pairs"] for effect in report.effects(rows)] == [3, 3]

    def test_tables_have_baselines_too(self):
        report, space = import_module("supernet_report"), NasBench201Space()
        rng = np.random.default_rng(0)
        cells, truth = [space.sample(rng) for _ in range(30)], list(rng.normal(90, 2, 30))
        net = {"level": "baseline", "accuracy": truth, "loss": [0.0] * 30, "snapshots": [], "train_seconds": 1.0}
        costs = {
            "parameters": [space.parameters(cell) for cell in cells],
            "FLOPs": [space.flops(cell) for cell in cells],
        }
        result = report.study([net], cells, truth, np.arange(80, 95), costs)
        lines = report.levels_table(result).splitlines()
        assert lines[2].startswith("| baseline | 1.000 | 1.000, 1.000 | 1.000 |  | ")
        assert [line.split(" | ")[0] for line in lines[3:]] == ["| *parameters*", "| *FLOPs*", "| *non-pool edges*"]
        sizes = costs["parameters"]
        assert result["baselines"]["parameters"]["tau"] == pytest.approx(kendalltau(sizes, truth).statistic)

    def test_size_knows_nothing_within_bands_of_equal_size(self):
        report = import_module("supernet_report")
        rng = np.random.default_rng(0)
        sizes, within = np.repeat(np.arange(report.BANDS), 10), rng.normal(size=10 * report.BANDS)
        truth = list(10 * sizes + within)
        assert report.tau_in_bands(truth, truth, sizes) == pytest.approx(1)
        assert report.tau_in_bands(within, truth, sizes) == pytest.approx(1)
        assert report.tau_in_bands(10 * sizes - within, truth, sizes) == pytest.approx(-1)
        assert report.tau_in_bands(sizes, truth, sizes) is None  # all the same within a band
        shuffled = rng.permutation(len(sizes))
        noise = rng.normal(size=len(sizes))
        assert report.tau_in_bands(noise[shuffled], np.array(truth)[shuffled], sizes[shuffled]) == pytest.approx(
            report.tau_in_bands(noise, truth, sizes)
        )

    @pytest.mark.filterwarnings("ignore")  # as above
    def test_chains_have_no_none(self, script, monkeypatch, tmp_path, capsys):
        class Chains:
            """Truth is the number of blocks."""

            space = NasBenchMacroSpace()

            def accuracies(self, *training):
                return np.arange(9)

            def accuracy(self, chain, *training):
                return sum(character != "0" for character in self.space.to_string(chain))

            def cost(self, chain):
                return Cost(*[sum(map(int, self.space.to_string(chain)))] * 2)

        monkeypatch.setitem(
            script.BENCHMARKS, "nasbench_macro", script.BENCHMARKS["nasbench_macro"]._replace(table=Chains)
        )
        args = ["--out", str(tmp_path / "out"), "--benchmark", "nasbench_macro", "--levels", "baseline", "affine"]
        args += ["--seeds", "1", "--cells", "24", "--options", *self.BRIEFLY.replace("--model.cells 1", "").split()]
        assert script.main(args) == 0, capsys.readouterr().err
        result = json.loads((tmp_path / "out" / "supernet_nasbench_macro.json").read_text())
        assert result["cells_by_none"] == [24]
        (effect,) = result["effects"]
        assert set(effect) == {"factor", "tau", "tau_by_loss", "tau_in_bands", "shared_accuracy"}
        assert "edges with `none`" not in capsys.readouterr().out

    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore")  # as above
    @pytest.mark.parametrize("name", ["nasbench201", "nasbench_macro"])
    def test_every_level_is_trained(self, script, name, tmp_path):
        benchmark = script.BENCHMARKS[name]
        joined = {part for level in benchmark.default for part in level.split("+")}
        for level in joined | (set(script.LEVELS) if name == "nasbench201" else set(benchmark.levels)):
            options = self.BRIEFLY.replace("--model.cells 1", "").replace("--model.channels 4", "").split()
            job = script.Job(name, level, 0, 2, 0, 0, tuple(options))
            assert len(script.run(job, tmp_path / "out")["accuracy"]) == 2, level


class TestWeightSharing:
    """The study of weight sharing on 64 cells, on stand-ins for the images and for the table."""

    @pytest.fixture
    def script(self, images, monkeypatch):
        class Table:
            """Truth is the number of edges without pooling, and the rank as a tie-break."""

            def accuracies(self, *training):
                return np.array([3.0 - label.count("1") for label in script.LABELS]) + np.arange(64) / 64

        script = import_module("weight_sharing")
        monkeypatch.setattr(script, "WeightSharing64Table", Table)
        monkeypatch.setattr(script, "EVAL_BATCH", 20)
        report = import_module("weight_sharing_report")
        for module in (script, report):
            monkeypatch.setattr(module, "FINE_TUNING", (0,))
        monkeypatch.setattr(report, "PERMUTATIONS", 200)
        return script

    @pytest.fixture
    def job(self, script):
        return script.Job("similar_32", 0, 1, 4, 1, 5, 40, 2, 0.05, "running")

    def run_here(self, script, monkeypatch):
        """Run jobs as in processes of their own, but in this one."""
        ran = []

        def run_all(jobs, out, workers):
            ran.extend(job for job in jobs if not (script.result_file(out, job).is_file() and script.load(out, job)))
            for job in ran:
                script.run(job, out)

        monkeypatch.setattr(script, "run_all", run_all)
        return ran

    def test_figures_are_those_of_ranking(self, script, tmp_path, monkeypatch, capsys):
        from sparsenas.ranking import consensus_rank, kendall_tau, truth_tau_spread

        ran = self.run_here(script, monkeypatch)
        args = ["--out", str(tmp_path / "out"), "--levels", "similar_32", "reshuffled", "--seeds", "2", "--epochs", "1"]
        args += ["--channels", "4", "--cells", "1", "--batch", "5", "--images", "40", "--last", "2"]
        assert script.main(args) == 0, capsys.readouterr().err
        assert len(ran) == 4
        result = json.loads((tmp_path / "out" / "weight_sharing_trained.json").read_text())
        super_nets = json.loads((tmp_path / "out" / "super_nets.json").read_text())["super_nets"]
        truth = [3.0 - label.count("1") + rank / 64 for rank, label in enumerate(script.LABELS)]
        assert (tmp_path / "out" / "weight_sharing_trained.png").stat().st_size > 5_000
        report = import_module("weight_sharing_report")
        assert len(report.recency_table(result).splitlines()) == 3  # groups that share nothing are left out
        assert len(report.fine_tuning_table(result).splitlines()) == 4
        assert [row["level"] for row in result["rows"]] == ["similar_32", "reshuffled"]
        groups, shared = result["rows"]
        for row in result["rows"]:
            nets = [net for net in super_nets if net["level"] == row["level"]]
            for net, seed in zip(nets, row["seeds"], strict=True):
                assert (net["steps"], np.shape(net["snapshots"])) == (64, (2, 64))
                taus = truth_tau_spread(net["snapshots"], truth, 2)
                assert (seed["tau_mean"], seed["tau_std"]) == pytest.approx(taus)
                consensus = -consensus_rank(net["snapshots"])
                assert seed["tau_consensus_2"] == kendall_tau(consensus, truth)
            assert row["mean"]["tau_mean"] == pytest.approx(np.mean([seed["tau_mean"] for seed in row["seeds"]]))
        assert groups["published"] == {"tau_mean": 0.7360, "tau_std": 0.0364}
        assert not any("last_trained" in name or "fine_tuned" in name for name in groups["mean"])
        # before the first mini-batch of its own, a cell is as it was in the last snapshot
        for seed in shared["seeds"]:
            assert seed["tau_fine_tuned_weights_0"] == seed["tau_fine_tuned_statistics_0"] == seed["tau_consensus_1"]
        ran.clear()
        assert script.main(args) == 0  # goes on where it was
        assert ran == []
        args[args.index("40")] = "20"
        assert script.main(args) == 2
        assert "is of other options; give these an --out of their own" in capsys.readouterr().err

    def test_only_the_trained_group_moves(self, script, job, tmp_path):
        result = script.run(job, tmp_path)
        before, after = np.array(result["snapshots"])
        groups = script.members(script.LEVELS["similar_32"], 0)
        moved = groups == groups[result["trained"][-1]]
        assert moved.sum() == 2
        assert (before == after)[~moved].all()
        assert script.run(job, tmp_path)["snapshots"] == result["snapshots"]

    def test_every_cycle_trains_every_cell_once(self, script):
        for name, level in script.LEVELS.items():
            order = script.visits(level, 192, seed=3).reshape(3, 64)
            assert (np.sort(order) == np.arange(64)).all()
            assert (order[0] == order[1]).all() == (name == "cyclic")
            groups = script.members(level, seed=3)
            assert np.bincount(groups).tolist() == [64 // level.groups] * level.groups
            if level.similar:
                assert (np.diff(groups) >= 0).all()
        assert (script.members(script.LEVELS["random_4"], 3) != script.members(script.LEVELS["random_4"], 4)).any()

    def test_cells_are_those_of_the_table_in_its_order(self, script):
        assert script.LABELS[:5] == ("111", "112", "113", "114", "121")
        assert [script.SPACE.index(script.SPACE.genotype(cell)) for cell in script.CELLS] == list(range(64))

    @pytest.mark.parametrize("statistics", ["running", "batch"])
    def test_a_stem_run_once_changes_nothing(self, script, job, statistics):
        data = script.NpzImages(script.DATA_FILE, batch_size=5, eval_batch_size=20, arch_fraction=0)
        network = script.build(data, job._replace(statistics=statistics))
        held_out = script.validation_batches(data, 40)
        found = script.accuracies(network, held_out, script.CELLS[:5])
        assert network.training
        network.eval()
        labels = torch.cat([labels for _, labels in held_out])
        for cell, accuracy in zip(script.CELLS, found, strict=False):
            logits = torch.cat([network(images, cell) for images, _ in held_out])
            assert accuracy == pytest.approx(float((logits.argmax(1) == labels).float().mean()))

    def test_fine_tuning_begins_with_the_snapshot_and_leaves_it(self, script, job, monkeypatch):
        monkeypatch.setattr(script, "FINE_TUNING", tuple(range(0, 24, 2)))
        data = script.NpzImages(script.DATA_FILE, batch_size=5, eval_batch_size=20, arch_fraction=0)
        network, held_out = script.build(data, job), script.validation_batches(data, 40)
        stream, cell = script.training_batches(data), script.CELLS[30]
        before = script.accuracies(network, held_out, [cell])
        tuned = script.fine_tune(network, cell, [next(stream) for _ in range(22)], 0.5, held_out)
        assert tuned[:1] == script.accuracies(network, held_out, [cell]) == before
        assert len(set(tuned)) > 1  # of 40 images

    def test_statistics_alone_leave_the_weights(self, script, job):
        data = script.NpzImages(script.DATA_FILE, batch_size=5, eval_batch_size=20, arch_fraction=0)
        network = script.build(data, job)
        batch = next(script.training_batches(data))
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        script.train(network, script.sgd(network), batch, script.CELLS[30], 0.0)
        changed = {name.rpartition(".")[2] for name, now in network.state_dict().items() if (now != before[name]).any()}
        assert changed == {"running_mean", "running_var", "num_batches_tracked"}

    def test_recency_is_found_where_it_is(self, monkeypatch):
        report = import_module("weight_sharing_report")
        monkeypatch.setattr(report, "PERMUTATIONS", 200)
        rng = np.random.default_rng(0)
        trained, scores = rng.permutation(64), rng.normal(np.arange(64), 3, (64, 64))
        absent = report.recency(scores, trained, np.random.default_rng(1))
        assert absent["last_trained_ranks_gained_p"] > 0.05
        assert abs(absent["last_trained_ranks_gained"]) < 1
        scores[np.arange(64), trained] += 6
        present = report.recency(scores, trained, np.random.default_rng(1))
        assert present["last_trained_ranked_higher"] > 0.9
        assert present["last_trained_ranks_gained"] > 4
        assert present["last_trained_ranks_gained_p"] == present["last_trained_ranked_higher_p"] == 1 / 201

    def test_what_cannot_be_is_one_line(self, script, job, tmp_path, capsys):
        from sparsenas.errors import ConfigError

        with pytest.raises(ConfigError, match=r"--last is 65, --epochs 1; that is 64 mini-batches in whole cycles"):
            script.run(job._replace(last=65), tmp_path)
        with pytest.raises(ConfigError, match=r"--images is 60; give a multiple of 20, at most as many as there are"):
            script.run(job._replace(images=60), tmp_path)
        with pytest.raises(SystemExit):
            script.main(["--out", str(tmp_path), "--levels", "random_3"])
        assert "invalid choice: 'random_3'" in capsys.readouterr().err


class TestWeightSharingTable:
    """The study of the published snapshots."""

    @pytest.fixture
    def script(self):
        return import_module("weight_sharing_table")

    def test_pairs_across_are_those_with_one_cell_of_each(self, script):
        free = np.array([True, True, False, False])
        assert script.across(np.array([4.0, 3.0, 2.0, 1.0]), free) == 1
        assert script.across(np.array([1.0, 3.0, 2.0, 2.0]), free) == 0
        assert script.across(np.array([2.0, 3.0, 2.0, 1.0]), free) == 0.75

    def test_consensus_moves_over_all_stretches(self, script):
        snapshots = np.array([[1.0, 2, 3], [3, 2, 1], [1, 3, 2]])
        assert np.array(script.moving_consensus(snapshots, 1)).tolist() == [[3, 2, 1], [1, 2, 3], [3, 1, 2]]
        assert np.array(script.moving_consensus(snapshots, 2)).tolist() == [[2, 2, 2], [2, 1.5, 2.5]]

    def test_repetition_is_found_where_it_is(self, script):
        cycle = np.random.default_rng(0).normal(size=(64, 64))
        found = script.repetition(np.concatenate([cycle, cycle]) + np.arange(64))
        assert found["64"] == pytest.approx(1)
        assert all(abs(value) < 0.1 for lag, value in found.items() if lag != "64")

    @pytest.mark.slow
    @pytest.mark.skipif("SPARSENAS_DATA" not in os.environ, reason="SPARSENAS_DATA is not set: no real tables")
    def test_stored_figures_are_computed_again(self, script, tmp_path, capsys):
        assert script.main(["--out", str(tmp_path)]) == 0
        stored = Path(__file__).parents[1] / "docs" / "studies"
        assert (tmp_path / "weight_sharing_64.png").stat().st_size > 10_000
        found, expected = (json.loads((f / "weight_sharing_64.json").read_text()) for f in (tmp_path, stored))
        assert flat(found) == pytest.approx(flat(expected), abs=2e-3)
        assert script.main(["--out", str(tmp_path / "missing")]) == 2
        assert "weight_sharing_64.json: cannot write" in capsys.readouterr().err


def flat(value, name=""):
    """Numbers of a tree by their path."""
    if isinstance(value, (dict, list)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {path: number for key, part in items for path, number in flat(part, f"{name}/{key}").items()}
    return {name: value}


@pytest.mark.parametrize("method", ["random", "band", "largest"])
def test_cells_under_the_cap_have_at_most_that_many_parameters_when_they_are_trained(method, tmp_path):
    capped, job = import_module("capped_quality"), import_module("search_quality").Job
    found = capped.find(job(method, 0), tmp_path)
    network = DerivedNet(Genotype.from_json(found["genotype"]), (3, 16, 16), 10, channels=8, cells=5, stem="small")
    trained = sum(parameter.numel() for parameter in network.parameters())
    assert trained <= found["cap"]
    assert method == "random" or trained > 0.7 * found["cap"]
    assert method != "largest" or trained > 0.99 * found["cap"]


def test_the_cap_is_the_median_of_what_random_cells_have_when_they_are_trained():
    cap, _ = import_module("capped_quality").median_cap()
    rng = np.random.default_rng(1)
    sizes = []
    for _ in range(60):
        network = DerivedNet(DartsSpace().sample(rng), (3, 16, 16), 10, channels=8, cells=5, stem="small")
        sizes.append(sum(parameter.numel() for parameter in network.parameters()))
    assert 0.25 < np.mean(np.array(sizes) <= cap) < 0.75
