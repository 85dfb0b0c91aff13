"""Plans on images without a run; what is wrong with them in one clear message."""

import sys
from dataclasses import replace

import pytest

from sparsenas.api.compare import image_session
from sparsenas.api.messages import user_errors
from sparsenas.cli import main
from sparsenas.comparison.images import read_image_plan
from sparsenas.data import Digits
from sparsenas.errors import ConfigError, DataError, SparseNASError
from sparsenas.latency import LayerTimes, Line
from sparsenas.limits import Limits
from sparsenas.spaces import REFERENCES, Genotype

#: A searcher of cells, of which a network has any number.
RELAXED = {
    "class_path": "RelaxedSearch",
    "init_args": {
        "space": {"class_path": "DartsSpace", "init_args": {"nodes": 2}},
        "network": {"channels": 4, "cells": 3, "stem": "small"},
    },
}


def test_all_references_are_competitors_of_their_own(contest, write):
    contest["competitors"] = {"by_hand": {"references": "all", "seeds": 2}, "big": {"largest": "macs"}}
    plan = read_image_plan(write(contest))
    assert list(plan.entries) == [*REFERENCES, "big"]
    assert {(run.searcher, run.seed) for run in plan.runs} == {
        *((name, seed) for name in REFERENCES for seed in (0, 1)),
        ("big", 0),
    }


def test_a_digest_names_all_settings_of_a_run_but_its_seed(contest, write):
    """So more seeds keep what is finished, and other seconds do not."""
    plan = read_image_plan(write(contest))
    digests = [run.digest for run in plan.runs]
    assert len(set(digests)) == len(digests)
    assert [run.digest for run in replace(plan, seeds=2).runs] == [digest for digest in digests for _ in range(2)]
    for change in ({"seconds": 3.0}, {"limits": Limits(max_params=7000)}, {"data": {**plan.data, "init_args": {}}}):
        assert not {run.digest for run in replace(plan, **change).runs} & set(digests)


def test_a_latency_table_is_part_of_the_plan(contest, write, tmp_path):
    """A run by another one does not count."""
    contest["budget"] = {"max_latency_ms": 1.0, "latency_table": str(tmp_path / "times.json")}
    digests = set()
    for fixed in (0.1, 0.2):
        LayerTimes({"head": Line(fixed, 0.0, 0.0)}, 0.0, {}).write(tmp_path / "times.json")
        digests |= {run.digest for run in read_image_plan(write(contest)).runs}
    assert len(digests) == 2 * len(contest["competitors"])


def test_an_architecture_of_a_file_is_part_of_the_plan(contest, write, tmp_path):
    """So that it can be compared when the file has changed, and a finished run is of what it was made with."""
    file = tmp_path / "mine.json"
    contest["competitors"] = {"mine": {"genotype": str(file)}}
    digests = []
    for name in ("resnet8", "vgg_like"):
        file.write_text(REFERENCES[name].genotype.to_json())
        (run,) = read_image_plan(write(contest)).runs
        assert Genotype.from_json(run.settings["options"]["genotype"]) == REFERENCES[name].genotype
        digests.append(run.digest)
    assert digests[0] != digests[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"secs": 3}, "unknown entry 'secs'; known are data, budget, seconds"),
        ({"seconds": "long"}, "seconds is 'long'; use a positive number"),
        ({"seeds": 0}, "seeds is 0; use a whole number from 1 on"),
        ({"budget": {}}, "budget: set max_params, max_macs or both"),
        ({"budget": {"max_flops": 3}}, "budget: unknown entry 'max_flops'; known are max_params, max_macs, max_l"),
        ({"training": {"seconds": 3}}, "training.seconds: leave it out"),
        ({"competitors": {}}, "competitors: empty"),
        (
            {"competitors": {"x": {"reference": "resnet9"}}},
            "no reference network is called 'resnet9'; there are plain_cnn, vgg_l",
        ),
        ({"competitors": {"x": {"references": ["resnet9"]}}}, "no reference network is called 'resnet9'"),
        (
            {"competitors": {"x": {"references": "some"}}},
            "references is 'some'; use all, or a list of plain_cnn, vgg_like",
        ),
        ({"competitors": {"x": {"largest": "depth"}}}, "largest by 'depth'; use params, macs or both"),
        ({"competitors": {"x": {"genotype": "gone.json"}}}, r"competitors\.x\.genotype: gone\.json"),
        ({"competitors": {"x": {"genotype": {"genotype": "resnet8", "stem": "big"}}}}, "stem is 'big'; use one of"),
        ({"competitors": {"x": {"guess": {}}}}, "unknown entry 'guess'; known are reference, genotype, random, larg"),
        ({"competitors": {"x": {"random": {}, "largest": "macs"}}}, "names random, largest; name one of reference"),
        ({"competitors": {"x": {"random": {"draws": 3}}}}, "unknown entry 'draws'"),
        ({"competitors": {"x": {"asha": {"share": 1.5}}}}, "share is 1.5; a share of the seconds lies between 0 and 1"),
        ({"competitors": {"x": {"asha": {"factor": 1}}}}, "asha: factor is 1; use a whole number from 2 on"),
        ({"competitors": {"x": {"asha": {"rungs": 7}}}}, "rungs is 7; use at most 6"),
        ({"competitors": {"x": {"asha": {"rungs": 1.5}}}}, "rungs is 1.5; use a whole number"),
        ({"competitors": {"x": {"genotype": 434}}}, "genotype is 434, which is no text; write it in quotes"),
        ({"competitors": {"x": {"genotype": {"genotype": "resnet8", "cells": "five"}}}}, "cells is 'five'; use"),
        ({"competitors": {"x": {"search": {"model": "GDAS", "max_epochs": -1}}}}, "max_epochs is -1; use a"),
        ({"competitors": {"x": {"search": {"model": "GDAS", "arch_fraction": "0.5"}}}}, "arch_fraction is '0.5'"),
        ({"budget": {"max_latency_ms": 1, "latency_table": 3}}, "latency_table is 3; name a file"),
        ({"competitors": {"x": {"search": {}}}}, "x.search: model is missing|competitors.x.search: model is missing"),
        ({"competitors": {"x y": {"random": {}}}}, "names are of letters, digits"),
        (
            {"competitors": {"resnet8": {"random": {}}, "all": {"references": "all"}}},
            "competitors.all: resnet8 is there twice",
        ),
    ],
)
def test_a_mistake_is_named(contest, write, change, message):
    with pytest.raises(ConfigError, match=message):
        read_image_plan(write(contest | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": {"class_path": "Digits", "init_args": {"val_fraction": 0.0}}}, "digits has no val images; set "),
        ({"data": {"class_path": "Digits", "init_args": {"seed": 3}}}, "data: seed is 3, but the comparison decides"),
        ({"training": {"drop_path": 0.2}}, "competitors.r.*: training.drop_path is 0.2, but every layer"),
        (
            {"competitors": {"cells": {"genotype": "darts_v2"}}},
            "competitors.cells: network.cells is null, but networks of this space have any number",
        ),
        ({"data": {"class_path": "Digits", "init_args": {"num_workers": 2}}}, "num_workers is above 0, but"),
        ({"data": {"class_path": "Digits", "init_args": {"batch_size": 5000}}}, "batch_size is 5000"),
        ({"space": {"class_path": "StageSpace", "init_args": {"types": ["conv_9x9"]}}}, "space.types is .'conv_9x9'"),
        (
            {"competitors": {"x": {"search": {"model": {"class_path": "GDAS", "init_args": {"seed": 3}}}}}},
            "model: seed is 3, but the comparison decides",
        ),
        (
            {"competitors": {"x": {"search": {"model": {"class_path": "TwoStageSearch"}}}}},
            "max_epochs is missing; TwoStageSearch needs",
        ),
        (
            {"competitors": {"x": {"search": {"model": {"class_path": "StandAloneTraining"}}}}},
            "option 'space.* is not accepted by .*StandAloneTraining",
        ),
        (
            {"competitors": {"x": {"search": {"model": RELAXED, "max_epochs": 2, "arch_fraction": 0.5}}}},
            "competitors.x: network.cells is null, but networks of this space have any number of cells: give it",
        ),
    ],
)  # fmt: skip
def test_what_cannot_work_is_found_before_the_first_run(contest, write, tmp_path, change, message):
    if "TwoStageSearch" in str(change):
        options = {"space": {"class_path": "StageSpace", "init_args": {"growths": [2.0]}}, "network": {"cells": None}}
        options["recovery"] = {"unit_weights": True}
        change["competitors"]["x"]["search"]["model"]["init_args"] = options
    session = image_session(write(contest | change), tmp_path / "out")
    with pytest.raises(SparseNASError, match=message), user_errors():
        session.check()
    assert not (tmp_path / "out").exists()


def test_options_replace_those_of_the_config(contest, write, tmp_path):
    path = write(contest)
    plan = image_session(path, tmp_path, "digits", max_macs=3e5, seconds=5.0, seeds=4).plan
    assert plan.limits == Limits(max_macs=3e5)  # the limit of the config was for networks of another size
    assert (plan.seconds, plan.seeds) == (5.0, 4)
    assert plan.data["init_args"]["batch_size"] == "auto"
    with pytest.raises(DataError, match="nowhere: no such folder"):
        image_session(path, tmp_path, "nowhere")
    with pytest.raises(DataError, match="in a process of its own"):
        image_session(path, tmp_path, Digits())
    with pytest.raises(ConfigError, match="seconds is 0; use a positive number"):
        image_session(path, tmp_path, seconds=0)


def test_what_needs_a_missing_package_is_left_out_and_told(contest, write, tmp_path, capsys, monkeypatch):
    contest["competitors"]["asha"] = {"asha": {}}
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.setattr("sparsenas.comparison.images.image_session.find_spec", lambda name: None)
    session = image_session(write(contest), tmp_path)
    chosen = session.chosen()
    assert {run.searcher for run in chosen} == {"resnet8", "random"}
    assert "left out: asha, which needs Optuna: pip install 'sparsenas[compare]'" in capsys.readouterr().out
    session.check(chosen)
    with pytest.raises(ConfigError, match="asha needs Optuna, which is not installed"):
        session.check(session.chosen(["asha"]))
    assert session.seconds(chosen) > 2 * contest["seconds"]


def test_options_of_images_are_refused_where_a_table_judges(settings, write, capsys):
    assert main(["compare", "--config", str(write(settings)), "--seconds", "3"]) == 2
    assert "--seconds 3.0 is for comparisons on images" in capsys.readouterr().err


def test_a_missing_optuna_is_named_before_the_first_run(contest, write, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    contest["competitors"] = {"asha": {"asha": {}}}
    with pytest.raises(ConfigError, match=r"pip install 'sparsenas\[compare\]'"):
        image_session(write(contest), tmp_path).check()
