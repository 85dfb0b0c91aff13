import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback

from sparsenas.callbacks import ConfidenceReport
from sparsenas.data import Digits
from sparsenas.data.augment import normalise
from sparsenas.errors import ConfigError
from sparsenas.search import (
    BestOf,
    MeasuredSearch,
    OneStageSearch,
    RandomSearch,
    RelaxedSearch,
    SinglePathSearch,
    TwoStageSearch,
)
from sparsenas.search.measuring import Conclusion, Evidence, LiveCost, Measuring, Untrained
from sparsenas.search.measuring.conclusion import only
from sparsenas.spaces import DartsSpace, Genotype, WeightSharing64Space
from sparsenas.zero_cost import Naswot

SPACE = DartsSpace(nodes=2)
FOUND, SECOND, LARGEST = (SPACE.sample_support(np.random.default_rng(seed)) for seed in range(3))
NASWOT = Evidence("naswot", stability=0.93, consensus=0.71, training=0.64, trained=12, trusted=True, why="trusted")
NOISE = Evidence("noise", 0.1, None, None, trained=0, trusted=False, why="its repeats disagree")
CONCLUSION = Conclusion(
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
    evidence=(NASWOT, NOISE),
    measured=64,
    considered=80,
)


@pytest.fixture
def concluding(search_class):
    """A search with the given conclusion, which it draws as late as a run that is cut short does."""

    def make(conclusion=CONCLUSION):
        class Concluding(search_class):
            conclusion = None

            def on_train_end(self):
                self.conclusion = conclusion

        return Concluding()

    return make


def report_of(folder):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads((Path(folder) / "confidence.json").read_text(), parse_constant=refuse)


def genotype(tree):
    return Genotype.from_json(json.dumps(tree))


def test_the_conclusion_is_in_the_run_folder(fit, concluding):
    folder = fit(ConfidenceReport(), search=concluding()).trainer.log_dir
    report = report_of(folder)
    assert report["verdict"] == CONCLUSION.verdict
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
    assert [Evidence(**item) for item in report["evidence"]] == [NASWOT, NOISE]
    assert (Path(folder) / "confidence.png").read_bytes().startswith(b"\x89PNG")
    assert not list(Path(folder).glob("*.partial"))


def test_shares_stand_under_cell_edge_and_primitive(fit, concluding, tmp_path):
    fit(ConfidenceReport(), search=concluding(), logger=False)
    chosen = report_of(tmp_path)["chosen"]
    found = dict(SPACE.genotype(FOUND).cells)
    assert list(chosen) == ["normal", "reduce"]
    for block in SPACE.blocks:
        for c in block.candidates:
            share = chosen[block.cell][f"edge {c.source}->{c.target}"][c.primitive]
            assert share == (0.75 if c in found[block.cell] else 0.0)


def test_what_is_not_finite_is_null(fit, concluding, tmp_path):
    odd = replace(NOISE, stability=math.nan)
    conclusion = replace(CONCLUSION, explained=math.nan, largest_score=-math.inf, evidence=(NASWOT, odd))
    fit(ConfidenceReport(), search=concluding(conclusion), logger=False)
    report = report_of(tmp_path)
    assert (report["explained"], report["largest"]["score"], report["evidence"][1]["stability"]) == (None, None, None)


def test_tensorboard_shows_shares_verdict_and_evidence(fit, concluding):
    events = fit(ConfidenceReport(), search=concluding()).events
    (image,) = events.Images("confidence/chosen")
    assert image.step == 8
    assert image.width > 300
    (event,) = events.Tensors("confidence/verdict/text_summary")
    verdict, empty, *table = event.tensor_proto.string_val[0].decode().splitlines()
    assert (verdict, empty) == (CONCLUSION.verdict, "")
    assert [[entry.strip() for entry in line.split("|")[1:-1]] for line in table] == [
        ["signal", "stability", "agreement with the others", "agreement with trainings", "used"],
        ["---"] * 5,
        ["naswot", "0.93", "0.71", "0.64 (12 trained)", "yes"],
        ["noise", "0.10", "-", "-", "no: its repeats disagree"],
    ]


def test_where_nothing_can_be_trusted_the_largest_is_reported(fit, concluding):
    against = (
        Evidence("naswot", 0.93, 0.125, None, trained=0, trusted=False, why="given size, the others disagree"),
        replace(NOISE, why="no other is left to agree with it"),
    )
    conclusion = only(SPACE, [LARGEST, FOUND, SECOND], against)
    run = fit(ConfidenceReport(), search=concluding(conclusion))
    report = report_of(run.trainer.log_dir)
    assert report["verdict"] == (
        "no better than the largest cell at this budget, which is given back: no signal can be trusted (naswot: given "
        "size, the others disagree; noise: no other is left to agree with it)"
    )
    assert genotype(report["found"]) == genotype(report["best"]) == SPACE.genotype(LARGEST)
    assert genotype(report["largest"]["genotype"]) == SPACE.genotype(LARGEST)
    assert (report["score"], report["runner_up"]["gap"], report["beats_largest"]) == (0.0, 0.0, 1.0)
    assert (report["explained"], report["measured"], report["considered"]) == (None, 3, 0)
    assert tuple(Evidence(**item) for item in report["evidence"]) == against
    (event,) = run.events.Tensors("confidence/verdict/text_summary")
    verdict, _, *table = event.tensor_proto.string_val[0].decode().splitlines()
    assert verdict == conclusion.verdict
    assert [[entry.strip() for entry in line.split("|")[1:-1]] for line in table[2:]] == [
        ["naswot", "0.93", "0.12", "-", "no: given size, the others disagree"],
        ["noise", "0.10", "-", "-", "no: no other is left to agree with it"],
    ]


def test_searches_without_a_conclusion_write_nothing(fit, concluding, tmp_path):
    fit(ConfidenceReport(), logger=False)
    fit(ConfidenceReport(), search=concluding(None), logger=False)
    assert not list(tmp_path.rglob("confidence*"))


def test_fast_dev_run_writes_nothing(fit, concluding, tmp_path):
    fit(ConfidenceReport(), search=concluding(), fast_dev_run=True)
    assert not list(tmp_path.rglob("*confidence*"))


def test_unwritable_folder_is_named(fit, concluding, tmp_path):
    (tmp_path / "confidence.json").mkdir()
    with pytest.raises(ConfigError, match=r"confidence\.json: cannot write"):
        fit(ConfidenceReport(), search=concluding(), logger=False)


def test_a_missing_folder_is_made(fit, concluding, tmp_path):
    class Remove(Callback):
        def on_train_end(self, trainer, pl_module):
            tmp_path.rmdir()

    fit(ConfidenceReport(), Remove(), search=concluding(), logger=False)
    assert report_of(tmp_path)["measured"] == 64


@pytest.mark.parametrize(("last_batch", "measured"), [(8, 6), (20, 12)], ids=["cut short", "whole"])
@pytest.mark.parametrize(
    ("signals", "trusted"),
    [([Untrained(Naswot(), images=16)], True), ([Untrained(Naswot(), images=16), LiveCost()], False)],
    ids=["trusted", "not trusted"],
)
def test_a_measured_search_is_reported(fit_briefly, tmp_path, last_batch, measured, signals, trusted):
    class Stop(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            trainer.should_stop = trainer.should_stop or batch_idx + 1 == last_batch

    search = MeasuredSearch(
        (1, 8, 8), 10, WeightSharing64Space(), channels=4, cells=3, measuring=Measuring(signals, count=12, rounds=0)
    )
    data = Digits(batch_size=16, arch_fraction=0.0)
    fit_briefly(search, data, ConfidenceReport(), Stop(), batches=20, epochs=1, limit_val_batches=0)
    report = report_of(tmp_path)
    assert report["measured"] == measured
    assert report["verdict"] == search.conclusion.verdict
    assert [item["trusted"] for item in report["evidence"]] == [trusted] * len(signals)
    assert ("no signal can be trusted" in report["verdict"]) != trusted
    assert genotype(report["found"]) == search.genotype
    edges = report["chosen"]["normal"]
    assert list(edges) == ["edge 0->1", "edge 0->2", "edge 1->2"]
    assert all(sum(shares.values()) == pytest.approx(float(trusted)) for shares in edges.values())


class TestSharedWeights:
    """Searches that come to no conclusion of their own are compared with what needs no search."""

    SMALL = {"channels": 4, "cells": 3, "stem": "small", "space": SPACE}  # noqa: RUF012 - read only

    @pytest.mark.parametrize(
        ("make", "fraction"),
        [
            (TwoStageSearch, 0.4),
            (RelaxedSearch, 0.4),
            (partial(RelaxedSearch, partial_channels=2), 0.4),
            (partial(SinglePathSearch, selection=BestOf(3)), 0.4),
            (partial(OneStageSearch, auxiliary_weight=0.0, search_epochs=1, warm_start=False), 0.0),
        ],
        ids=["two-stage", "relaxed", "PC-DARTS", "single path", "one-stage"],
    )
    def test_what_was_found_is_compared(self, fit_briefly, tmp_path, capsys, make, fraction):
        search = make((1, 8, 8), 10, **self.SMALL)
        data = Digits(batch_size=32, arch_fraction=fraction)
        fit_briefly(search, data, ConfidenceReport(), batches=2, epochs=2)
        report = report_of(tmp_path)
        assert genotype(report["found"]["genotype"]) == search.genotype
        assert report["images"] == 143  # all of the only validation batch
        assert len(report["random"]["losses"]) == 8
        assert 0 <= report["beats_largest"] <= 1
        assert capsys.readouterr().out.count(f"found: {report['verdict']}") == 1
        assert not (tmp_path / "confidence.png").exists()

    def test_at_most_so_many_images(self, fit_briefly, tmp_path, monkeypatch):
        monkeypatch.setattr("sparsenas.callbacks.confidence.IMAGES", 100)
        search = TwoStageSearch((1, 8, 8), 10, **self.SMALL)
        fit_briefly(search, Digits(batch_size=32, arch_fraction=0.4), ConfidenceReport(), batches=2, epochs=1)
        assert report_of(tmp_path)["images"] == 100

    def test_images_are_not_augmented(self, fit_briefly):
        """They are those of the validation, and the same in every epoch."""
        kept = []

        class Watching(ConfidenceReport):
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
        for callbacks in ([], [ConfidenceReport()]):
            torch.manual_seed(0)
            options = {"auxiliary_weight": 0.0, "search_epochs": 1, "warm_start": False}
            search = OneStageSearch((1, 8, 8), 10, **(self.SMALL | options))
            fit_briefly(search, Digits(batch_size=32, arch_fraction=0.0), *callbacks, batches=2, epochs=2)
            weights.append(search.state_dict())
        assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())

    def test_where_weights_are_not_shared_nothing_is_compared(self, fit_briefly, tmp_path):
        search = RandomSearch((1, 8, 8), 10, **self.SMALL, epochs_each=1)
        fit_briefly(search, Digits(batch_size=32, arch_fraction=0.4), ConfidenceReport(), batches=2, epochs=1)
        assert not list(tmp_path.rglob("confidence*"))

    def test_without_images_it_says_so(self, fit_briefly, tmp_path, capsys):
        """Those of another run are forgotten."""
        report, data = ConfidenceReport(), Digits(batch_size=32, arch_fraction=0.4)
        report._kept = [(torch.zeros(2, 1, 8, 8), torch.zeros(2, dtype=torch.long))]
        search = TwoStageSearch((1, 8, 8), 10, **self.SMALL)
        fit_briefly(search, data, report, batches=2, epochs=1, limit_val_batches=0)
        assert "not compared with the largest cell: no validation images were seen" in capsys.readouterr().out
        assert not list(tmp_path.rglob("confidence*"))

    @pytest.mark.parametrize("error", [ConfigError("the table is lost"), RuntimeError("out of memory")])
    def test_it_ends_no_run(self, fit_briefly, monkeypatch, capsys, error):
        def fail(search, batches):
            raise error

        monkeypatch.setattr("sparsenas.callbacks.confidence.compare_with_trivial", fail)
        search = TwoStageSearch((1, 8, 8), 10, **self.SMALL)
        fit_briefly(search, Digits(batch_size=32, arch_fraction=0.4), ConfidenceReport(), batches=2, epochs=1)
        assert f"not compared with the largest cell: {error}" in capsys.readouterr().out
