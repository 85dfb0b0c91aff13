import json
import math
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning import Callback
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sparsenas.callbacks import ResultReport
from sparsenas.data import Digits
from sparsenas.data.augment import normalise
from sparsenas.errors import ConfigError
from sparsenas.networks import NetworkConfig
from sparsenas.search import (
    BestOf,
    Budget,
    Governor,
    OneStageSearch,
    Phases,
    RandomSearch,
    RelaxedSearch,
    SinglePathSearch,
    Tournament,
    TournamentResult,
    TournamentSearch,
    TwoStageSearch,
)
from sparsenas.search.measured import Competitor
from sparsenas.spaces import REFERENCES, DartsSpace, Genotype, StageSpace
from sparsenas.training import WeightTraining

SPACE = DartsSpace(nodes=2)
STAGES = StageSpace(stages=2, layers=2, types=("conv_3x3", "residual_3x3"))
FOUND, OTHER = (STAGES.sample(np.random.default_rng(seed)) for seed in range(2))
RESULT = TournamentResult(
    competitors=(
        Competitor(4, "proposed", FOUND, 3900, 150_000, ((2.0, 1.5, 0.5), (4.0, 1.0, 0.75))),
        Competitor(0, "resnet8", REFERENCES["resnet8"].genotype, 3800, 120_000, ((2.0, 1.4, 0.55), (4.0, 1.1, 0.7))),
        Competitor(2, "random", OTHER, 2500, 90_000, ((2.0, 2.2, 0.2),)),
    ),
    unit="seconds",
    length=48.0,
    spent=12.5,
    sure=0.9,
    governor="searching further is worth +0.1 points, training longer +0.4: stopped after 3 networks",
    unfit=("mobilenet_v1",),
    images=500,
    chance=0.1,
)


@pytest.fixture
def fit_tournament(tmp_path, monkeypatch):
    """Fit a tournament that is over before it begins, and has the given result; gives the trainer."""

    def run(*callbacks, result=RESULT, **options):
        class Known(TournamentSearch):
            result = None

            def configure_model(self):
                super().configure_model()
                self.result = result

        monkeypatch.setattr("sparsenas.callbacks.result.TournamentSearch", Known)
        training = WeightTraining(steps=4)
        search = Known((1, 8, 8), 10, STAGES, training=training, budget=Budget(max_params=4000), genotype="resnet8")
        settings = {"accelerator": "cpu", "devices": 1, "logger": TensorBoardLogger(str(tmp_path))} | options
        trainer = pl.Trainer(
            default_root_dir=tmp_path,
            max_epochs=-1,
            limit_val_batches=1,
            log_every_n_steps=1,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=list(callbacks),
            **settings,
        )
        trainer.fit(search, Digits(batch_size=16, arch_fraction=0.0))
        return trainer

    return run


def report_of(folder):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads((Path(folder) / "result.json").read_text(), parse_constant=refuse)


def genotype(tree):
    return Genotype.from_json(json.dumps(tree))


def test_the_result_is_in_the_run_folder(fit_tournament):
    folder = fit_tournament(ResultReport()).log_dir
    report = report_of(folder)
    assert report["summary"] == RESULT.summary
    assert genotype(report["found"]) == FOUND
    assert (report["unit"], report["length"], report["spent"], report["sure"]) == ("seconds", 48.0, 12.5, 0.9)
    assert (report["governor"], report["unfit"], report["images"]) == (RESULT.governor, ["mobilenet_v1"], 500)
    assert [other["name"] for other in report["competitors"]] == ["proposed 4", "resnet8", "random 2"]
    assert [genotype(other["genotype"]) for other in report["competitors"]][1:] == [
        REFERENCES["resnet8"].genotype,
        OTHER,
    ]
    assert report["competitors"][0]["stops"][1] == {"length": 4.0, "loss": 1.0, "accuracy": 0.75}
    assert (Path(folder) / "result.png").read_bytes().startswith(b"\x89PNG")
    assert not list(Path(folder).glob("*.partial"))


def test_the_summary_compares_with_the_best_reference():
    assert RESULT.summary == (
        "proposed 4, the most promising of 3 networks; after 4s of training its validation loss is 1.000 "
        "(75.0% right), and 1.100 (70.0%) of the best reference, resnet8. Its score leads in 90% of "
        "bootstraps over these images; not tried with other seeds. "
        "Searching further is worth +0.1 points, training longer +0.4: stopped after 3 networks"
    )


def test_what_was_found_is_kept_although_the_training_is_interrupted(fit_tournament, tmp_path):
    class Interrupt(pl.Callback):
        def on_train_batch_end(self, *_):
            raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        fit_tournament(ResultReport(), Interrupt())
    folder = tmp_path / "lightning_logs" / "version_0"
    assert report_of(folder)["summary"] == RESULT.summary
    assert (folder / "result.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_not_finite_is_null(fit_tournament, tmp_path):
    found, *others, last = RESULT.competitors
    result = replace(RESULT, competitors=(found, *others, replace(last, stops=((2.0, math.inf, 0.0),))))
    fit_tournament(ResultReport(), result=result, logger=False)
    assert report_of(tmp_path)["competitors"][2]["stops"] == [{"length": 2.0, "loss": None, "accuracy": 0.0}]


def test_tensorboard_shows_lines_summary_and_competitors(fit_tournament):
    events = EventAccumulator(fit_tournament(ResultReport()).log_dir, size_guidance={"images": 0}).Reload()
    (image,) = events.Images("result/tournament")
    assert image.step == 4
    assert image.width > 300
    (event,) = events.Tensors("result/summary/text_summary")
    summary, empty, *table = event.tensor_proto.string_val[0].decode().splitlines()
    assert (summary, empty) == (RESULT.summary, "")
    assert [[entry.strip() for entry in line.split("|")[1:-1]] for line in table] == [
        ["network", "parameters", "MACs", "ms an image", "seconds of training", "validation loss", "right", "score"],
        ["---"] * 8,
        ["proposed 4", "3,900", "150,000", "", "4", "1.000", "75.0%", "+0.00"],
        ["resnet8", "3,800", "120,000", "", "4", "1.100", "70.0%", "+0.00"],
        ["random 2", "2,500", "90,000", "", "2", "2.200", "20.0%", "+0.00"],
    ]


def test_where_nothing_was_compared_that_is_reported(fit_tournament, tmp_path):
    (only,) = (replace(other, stops=()) for other in RESULT.competitors[1:2])
    result = replace(RESULT, competitors=(only,), sure=None, governor="too short to compare anything")
    fit_tournament(ResultReport(), result=result, logger=False)
    assert report_of(tmp_path)["summary"] == "resnet8: too short to compare anything"


def test_searches_without_a_result_write_nothing(fit, fit_tournament, tmp_path):
    fit(ResultReport(), logger=False)
    fit_tournament(ResultReport(), result=None, logger=False)
    assert not list(tmp_path.rglob("result*"))


def test_fast_dev_run_writes_nothing(fit_tournament, tmp_path):
    fit_tournament(ResultReport(), fast_dev_run=True)
    assert not list(tmp_path.rglob("*result*"))


def test_unwritable_folder_is_named(fit_tournament, tmp_path):
    (tmp_path / "result.json").mkdir()
    with pytest.raises(ConfigError, match=r"result\.json: cannot write"):
        fit_tournament(ResultReport(), logger=False)


def test_a_missing_folder_is_made(fit_tournament, tmp_path):
    class Remove(Callback):
        def on_train_end(self, trainer, pl_module):
            shutil.rmtree(tmp_path)

    fit_tournament(ResultReport(), Remove(), logger=False)
    assert report_of(tmp_path)["images"] == 500


@pytest.mark.slow
def test_a_tournament_is_reported(fit_briefly, tmp_path):
    rules = Tournament((1 / 8,), ("plain_cnn", "resnet8"), 2, 0, prior="none", governor=Governor(share=0.5), images=64)
    training = WeightTraining(steps=24)
    search = TournamentSearch(
        (1, 8, 8), 10, STAGES, training=training, budget=Budget(max_params=4000), tournament=rules
    )
    fit_briefly(search, Digits(batch_size=16, arch_fraction=0.0), ResultReport(), epochs=-1)
    report = report_of(tmp_path)
    assert report["summary"] == search.result.summary
    assert genotype(report["found"]) == search.genotype
    assert {other["name"] for other in report["competitors"]} == {"plain_cnn", "resnet8", "random 2", "random 3"}
    assert report["prior"]["space"] == "stage"
    assert (tmp_path / "result.png").is_file()


class TestSharedWeights:
    """Searches that come to no result of their own are compared with what needs no search."""

    SMALL = MappingProxyType({"network": NetworkConfig(channels=4, cells=3, stem="small"), "space": SPACE})

    @pytest.mark.slow
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
