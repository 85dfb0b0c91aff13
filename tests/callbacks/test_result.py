import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback

from sparsenas.callbacks import ResultReport
from sparsenas.data import Digits
from sparsenas.data.augment import normalise
from sparsenas.errors import ConfigError
from sparsenas.networks import NetworkConfig
from sparsenas.search import (
    BestOf,
    MeasuredSearch,
    OneStageSearch,
    Phases,
    RandomSearch,
    RelaxedSearch,
    SinglePathSearch,
    TwoStageSearch,
)
from sparsenas.search.measured import EffectiveCost, MeasuredResult, Measuring, ProxyReliability, ZeroCost
from sparsenas.search.measured.result import only
from sparsenas.spaces import DartsSpace, Genotype, WeightSharing64Space
from sparsenas.training import WeightTraining
from sparsenas.zero_cost import Naswot

SPACE = DartsSpace(nodes=2)
FOUND, SECOND, LARGEST = (SPACE.sample_support(np.random.default_rng(seed)) for seed in range(3))
NASWOT = ProxyReliability(
    "naswot", stability=0.93, consensus=0.71, training=0.64, trained=12, trusted=True, why="trusted"
)
NOISE = ProxyReliability("noise", 0.1, None, None, trained=0, trusted=False, why="its repeats disagree")
RESULT = MeasuredResult(
    support=FOUND,
    score=1.5,
    best=FOUND,
    runner_up=SECOND,
    gap=0.25,
    largest=LARGEST,
    largest_score=-0.5,
    beats_largest=0.95,
    chosen=tuple(tuple(0.75 * (i in kept) for i in range(len(b))) for b, kept in zip(SPACE.blocks, FOUND, strict=True)),
    explained=None,
    reliability=(NASWOT, NOISE),
    measured=64,
    considered=80,
)


@pytest.fixture
def with_result(search_class):
    """A search with the given result, which it draws as late as a run that is cut short does."""

    def make(result=RESULT):
        class WithResult(search_class):
            result = None

            def on_train_end(self):
                self.result = result

        return WithResult()

    return make


def report_of(folder):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads((Path(folder) / "result.json").read_text(), parse_constant=refuse)


def genotype(tree):
    return Genotype.from_json(json.dumps(tree))


def test_the_result_is_in_the_run_folder(fit, with_result):
    folder = fit(ResultReport(), search=with_result()).trainer.log_dir
    report = report_of(folder)
    assert report["summary"] == RESULT.summary
    assert genotype(report["found"]) == genotype(report["best"]) == SPACE.genotype(FOUND)
    assert genotype(report["runner_up"]["genotype"]) == SPACE.genotype(SECOND)
    assert genotype(report["largest"]["genotype"]) == SPACE.genotype(LARGEST)
    assert (report["score"], report["runner_up"]["gap"], report["largest"]["score"]) == (1.5, 0.25, -0.5)
    assert (report["beats_largest"], report["explained"], report["measured"], report["considered"]) == (
        0.95,
        None,
        64,
        80,
    )
    assert [ProxyReliability(**item) for item in report["reliability"]] == [NASWOT, NOISE]
    assert (Path(folder) / "result.png").read_bytes().startswith(b"\x89PNG")
    assert not list(Path(folder).glob("*.partial"))


def test_shares_stand_under_cell_edge_and_primitive(fit, with_result, tmp_path):
    fit(ResultReport(), search=with_result(), logger=False)
    chosen = report_of(tmp_path)["chosen"]
    found = dict(SPACE.genotype(FOUND).cells)
    assert list(chosen) == ["normal", "reduce"]
    for block in SPACE.blocks:
        for c in block.candidates:
            share = chosen[block.cell][f"edge {c.source}->{c.target}"][c.primitive]
            assert share == (0.75 if c in found[block.cell] else 0.0)


def test_what_is_not_finite_is_null(fit, with_result, tmp_path):
    odd = replace(NOISE, stability=math.nan)
    result = replace(RESULT, explained=math.nan, largest_score=-math.inf, reliability=(NASWOT, odd))
    fit(ResultReport(), search=with_result(result), logger=False)
    report = report_of(tmp_path)
    assert (report["explained"], report["largest"]["score"], report["reliability"][1]["stability"]) == (
        None,
        None,
        None,
    )


def test_tensorboard_shows_shares_summary_and_reliability(fit, with_result):
    events = fit(ResultReport(), search=with_result()).events
    (image,) = events.Images("result/chosen")
    assert image.step == 8
    assert image.width > 300
    (event,) = events.Tensors("result/summary/text_summary")
    summary, empty, *table = event.tensor_proto.string_val[0].decode().splitlines()
    assert (summary, empty) == (RESULT.summary, "")
    assert [[entry.strip() for entry in line.split("|")[1:-1]] for line in table] == [
        ["proxy", "stability", "agreement with the others", "agreement with trainings", "used"],
        ["---"] * 5,
        ["naswot", "0.93", "0.71", "0.64 (12 trained)", "yes"],
        ["noise", "0.10", "-", "-", "no: its repeats disagree"],
    ]


def test_where_nothing_can_be_trusted_the_largest_is_reported(fit, with_result):
    against = (
        ProxyReliability("naswot", 0.93, 0.125, None, trained=0, trusted=False, why="given size, the others disagree"),
        replace(NOISE, why="no other is left to agree with it"),
    )
    result = only(SPACE, [LARGEST, FOUND, SECOND], against)
    run = fit(ResultReport(), search=with_result(result))
    report = report_of(run.trainer.log_dir)
    assert report["summary"] == (
        "no better than the largest network at this budget, which is given back: no proxy can be trusted (naswot: "
        "given size, the others disagree; noise: no other is left to agree with it)"
    )
    assert genotype(report["found"]) == genotype(report["best"]) == SPACE.genotype(LARGEST)
    assert genotype(report["largest"]["genotype"]) == SPACE.genotype(LARGEST)
    assert (report["score"], report["runner_up"]["gap"], report["beats_largest"]) == (0.0, 0.0, 1.0)
    assert (report["explained"], report["measured"], report["considered"]) == (None, 3, 0)
    assert tuple(ProxyReliability(**item) for item in report["reliability"]) == against
    (event,) = run.events.Tensors("result/summary/text_summary")
    summary, _, *table = event.tensor_proto.string_val[0].decode().splitlines()
    assert summary == result.summary
    assert [[entry.strip() for entry in line.split("|")[1:-1]] for line in table[2:]] == [
        ["naswot", "0.93", "0.12", "-", "no: given size, the others disagree"],
        ["noise", "0.10", "-", "-", "no: no other is left to agree with it"],
    ]


def test_searches_without_a_result_write_nothing(fit, with_result, tmp_path):
    fit(ResultReport(), logger=False)
    fit(ResultReport(), search=with_result(None), logger=False)
    assert not list(tmp_path.rglob("result*"))


def test_fast_dev_run_writes_nothing(fit, with_result, tmp_path):
    fit(ResultReport(), search=with_result(), fast_dev_run=True)
    assert not list(tmp_path.rglob("*result*"))


def test_unwritable_folder_is_named(fit, with_result, tmp_path):
    (tmp_path / "result.json").mkdir()
    with pytest.raises(ConfigError, match=r"result\.json: cannot write"):
        fit(ResultReport(), search=with_result(), logger=False)


def test_a_missing_folder_is_made(fit, with_result, tmp_path):
    class Remove(Callback):
        def on_train_end(self, trainer, pl_module):
            tmp_path.rmdir()

    fit(ResultReport(), Remove(), search=with_result(), logger=False)
    assert report_of(tmp_path)["measured"] == 64


@pytest.mark.parametrize(("seconds", "measured"), [(1e-9, 4), (None, 12)], ids=["cut short", "whole"])
@pytest.mark.parametrize(
    ("proxies", "trusted"),
    [([ZeroCost(Naswot(), images=16)], True), ([ZeroCost(Naswot(), images=16), EffectiveCost()], False)],
    ids=["trusted", "not trusted"],
)
def test_a_measured_search_is_reported(fit_briefly, tmp_path, seconds, measured, proxies, trusted):
    search = MeasuredSearch(
        (1, 8, 8),
        10,
        WeightSharing64Space(),
        network=NetworkConfig(channels=4, cells=3),
        measuring=Measuring(proxies, count=12, rounds=0, seconds=seconds),
    )
    data = Digits(batch_size=16, arch_fraction=0.0)
    fit_briefly(search, data, ResultReport(), batches=1, epochs=1, limit_val_batches=0)
    report = report_of(tmp_path)
    assert report["measured"] == measured
    assert report["summary"] == search.result.summary
    assert [item["trusted"] for item in report["reliability"]] == [trusted] * len(proxies)
    assert ("no proxy can be trusted" in report["summary"]) != trusted
    assert genotype(report["found"]) == search.genotype
    edges = report["chosen"]["normal"]
    assert list(edges) == ["edge 0->1", "edge 0->2", "edge 1->2"]
    assert all(sum(shares.values()) == pytest.approx(float(trusted)) for shares in edges.values())


class TestSharedWeights:
    """Searches that come to no result of their own are compared with what needs no search."""

    SMALL = MappingProxyType({"network": NetworkConfig(channels=4, cells=3, stem="small"), "space": SPACE})

    @pytest.mark.parametrize(
        ("make", "fraction"),
        [
            (TwoStageSearch, 0.4),
            (RelaxedSearch, 0.4),
            (partial(RelaxedSearch, partial_channels=2), 0.4),
            (partial(SinglePathSearch, selection=BestOf(3)), 0.4),
            (partial(OneStageSearch, training=WeightTraining(), phases=Phases(1, warm_start=False)), 0.0),
        ],
        ids=["two-stage", "relaxed", "PC-DARTS", "single path", "one-stage"],
    )
    def test_what_was_found_is_compared(self, fit_briefly, tmp_path, capsys, make, fraction):
        search = make((1, 8, 8), 10, **self.SMALL)
        data = Digits(batch_size=32, arch_fraction=fraction)
        fit_briefly(search, data, ResultReport(), batches=2, epochs=2)
        report = report_of(tmp_path)
        assert genotype(report["found"]["genotype"]) == search.genotype
        assert report["images"] == 143  # all of the only validation batch
        assert len(report["random"]["losses"]) == 8
        assert 0 <= report["beats_largest"] <= 1
        assert capsys.readouterr().out.count(f"found: {report['summary']}") == 1
        assert not (tmp_path / "result.png").exists()

    def test_at_most_so_many_images(self, fit_briefly, tmp_path, monkeypatch):
        monkeypatch.setattr("sparsenas.callbacks.result.IMAGES", 100)
        search = TwoStageSearch((1, 8, 8), 10, **self.SMALL)
        fit_briefly(search, Digits(batch_size=32, arch_fraction=0.4), ResultReport(), batches=2, epochs=1)
        assert report_of(tmp_path)["images"] == 100

    def test_images_are_not_augmented(self, fit_briefly):
        """They are those of the validation, and the same in every epoch."""
        kept = []

        class Watching(ResultReport):
            def on_train_epoch_end(self, trainer, pl_module):
                kept.append(self._kept)

        search, data = TwoStageSearch((1, 8, 8), 10, **self.SMALL), Digits(batch_size=32, arch_fraction=0.4)
        fit_briefly(search, data, Watching(), batches=2, epochs=2)
        (raw, labels), *_ = data.val_dataloader()
        mean, std = data._normalisation
        for ((images, given),) in kept:
            assert torch.equal(given, labels)
            assert torch.equal(images, normalise(raw, mean, std))

    def test_a_run_is_the_same_with_it(self, fit_briefly):
        weights = []
        for callbacks in ([], [ResultReport()]):
            torch.manual_seed(0)
            options = {"training": WeightTraining(), "phases": Phases(1, warm_start=False)}
            search = OneStageSearch((1, 8, 8), 10, **self.SMALL, **options)
            fit_briefly(search, Digits(batch_size=32, arch_fraction=0.0), *callbacks, batches=2, epochs=2)
            weights.append(search.state_dict())
        assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())

    def test_where_weights_are_not_shared_nothing_is_compared(self, fit_briefly, tmp_path):
        search = RandomSearch((1, 8, 8), 10, **self.SMALL, epochs_each=1)
        fit_briefly(search, Digits(batch_size=32, arch_fraction=0.4), ResultReport(), batches=2, epochs=1)
        assert not list(tmp_path.rglob("result*"))

    def test_without_images_it_says_so(self, fit_briefly, tmp_path, capsys):
        """Those of another run are forgotten."""
        report, data = ResultReport(), Digits(batch_size=32, arch_fraction=0.4)
        report._kept = [(torch.zeros(2, 1, 8, 8), torch.zeros(2, dtype=torch.long))]
        search = TwoStageSearch((1, 8, 8), 10, **self.SMALL)
        fit_briefly(search, data, report, batches=2, epochs=1, limit_val_batches=0)
        assert "not compared with the largest architecture: no validation images were seen" in capsys.readouterr().out
        assert not list(tmp_path.rglob("result*"))

    @pytest.mark.parametrize("error", [ConfigError("the table is lost"), RuntimeError("out of memory")])
    def test_it_ends_no_run(self, fit_briefly, monkeypatch, capsys, error):
        def fail(search, batches):
            raise error

        monkeypatch.setattr("sparsenas.callbacks.result.compare_with_baselines", fail)
        search = TwoStageSearch((1, 8, 8), 10, **self.SMALL)
        fit_briefly(search, Digits(batch_size=32, arch_fraction=0.4), ResultReport(), batches=2, epochs=1)
        assert f"not compared with the largest architecture: {error}" in capsys.readouterr().out
