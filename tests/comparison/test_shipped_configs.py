"""Every shipped config of comparisons and of predictors can be run, says what it is, and agrees with itself."""

import os
from dataclasses import replace

import pytest
import torch
import yaml

from sparsenas.api.shipped import shipped_configs
from sparsenas.comparison import read_plan
from sparsenas.comparison.images import read_image_plan
from sparsenas.comparison.images.contest import KINDS
from sparsenas.comparison.images.contestant import compete
from sparsenas.comparison.predictors import read_predictor_plan
from sparsenas.comparison.worker import search_once
from sparsenas.complexity import Complexity
from sparsenas.training import WeightTraining

CONFIGS = shipped_configs()
OF_PREDICTORS = {name: path for name, path in CONFIGS.items() if name.startswith("predictors_")}
BY_TABLE = {name: path for name, path in CONFIGS.items() if name.startswith("compare_")}
ON_IMAGES = BY_TABLE.pop("compare_images")
COMPARISONS = BY_TABLE | {"compare_images": ON_IMAGES}
DATA = os.environ.get("SPARSENAS_DATA")


def shortened(run, path):
    """Settings of a run of a comparison, so small that it takes seconds, on the images of an archive."""
    model = dict(run.settings["model"]["init_args"])
    if "selection" in model:
        model["selection"] = {"class_path": "BestOf", "init_args": {"count": 20}}
    if model.get("architecture", {}).get("warmup_epochs"):
        model["architecture"] = {**model["architecture"], "warmup_epochs": 1}
    epochs = 2
    if "epochs_each" in model:  # so many cells that one of them meets the smallest cap
        model["epochs_each"], epochs = 1, 12
    data = {"class_path": "NpzImages", "init_args": {**run.settings["data"]["init_args"], "path": str(path)}}
    trainer = {**run.settings["trainer"], "max_epochs": epochs, "limit_train_batches": 2}
    return {
        **run.settings,
        "model": {"class_path": run.settings["model"]["class_path"], "init_args": model},
        "data": {**data, "init_args": {**data["init_args"], "batch_size": 8}},
        "trainer": trainer,
    }


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # runs so short make Lightning doubt their settings
@pytest.mark.parametrize("name", BY_TABLE)
def test_every_searcher_of_a_comparison_decides_under_every_cap(name, tmp_path, random_archive):
    plan = read_plan(BY_TABLE[name])
    archive = random_archive(tmp_path / "images.npz", 16)
    for run in {run.searcher: run for run in reversed(plan.runs)}.values():
        record = search_once(run.searcher, run.seed, run.digest, shortened(run, archive))
        space, costs = plan.space, plan.published.costs(plan.space)
        assert [cap for cap, _ in record.chosen] == list(plan.caps)
        for cap, text in record.chosen:
            support = space.support(space.from_string(text))
            rows = zip(costs.parameters, support, strict=True)
            assert cap is None or costs.base_parameters + sum(row[i] for row, kept in rows for i in kept) <= cap
        if None in plan.caps:
            assert record.timeline[-1][1] == record.chosen[plan.caps.index(None)][1]
        assert not record.cut


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # see above
@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"genotype", "guided", "search", "timm"}))  # in no config
def test_every_kind_of_competitor_is_trained_and_tested(kind):
    plan = read_image_plan(ON_IMAGES)
    name = next(name for name, entry in plan.entries.items() if entry.kind == kind)
    options = dict(plan.entries[name].options)
    if kind == "asha":
        options |= {"share": 0.5, "trial_share": 0.2}
    entries = {name: plan.entries[name]._replace(options=options)}
    run = replace(plan, seconds=6.0 if kind == "tournament" else 1.5, entries=entries).runs[0]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    record = compete(run.searcher, run.seed, run.digest, run.settings)
    torch.set_num_threads(threads)
    assert record.impossible == ""
    assert plan.limits.allow(Complexity(record.parameters, record.macs))
    assert record.epochs > 0


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparison_begins_with_its_command_cost_and_expectation(name):
    lines = COMPARISONS[name].read_text().splitlines()
    head = lines[: next(number for number, line in enumerate(lines) if not line.startswith("#"))]
    assert head[0] == f"# python -m sparsenas compare --config {name}"
    assert all(any(line.startswith(f"# {word}: ") for line in head) for word in ("Cost", "Expect"))


@pytest.mark.parametrize("name", BY_TABLE)
def test_schedules_of_a_comparison_are_as_long_as_its_runs(name, schedules):
    for run in read_plan(BY_TABLE[name]).runs:
        assert all(schedule.get("epochs") is None for schedule in schedules(run.settings["model"]))


def test_the_official_recipe_in_the_comparison():
    """All but what the space, the images and the budget decide: 12 rows are the fewest for a cell of six edges."""
    official = yaml.safe_load(CONFIGS["search_two_stage_ista_nas_official"].read_text())["model"]["init_args"]
    config = yaml.safe_load(BY_TABLE["compare_nasbench201"].read_text())
    entry = config["searchers"]["two_stage_official"]["model"]["init_args"]
    for key in ("signal", "sampling"):
        assert entry[key] == official[key]
    assert entry["network"]["norms"] == official["network"]["norms"]
    assert entry["architecture"]["optimizer"] == official["architecture"]["optimizer"]
    assert entry["recovery"] == official["recovery"] | {"compressed_size": 12}
    default = {"gradient_clip": WeightTraining().gradient_clip}
    assert default | entry["training"] == official["training"]


@pytest.mark.parametrize("name", OF_PREDICTORS)
def test_config_of_predictors_begins_with_its_command_cost_and_expectation(name):
    text = OF_PREDICTORS[name].read_text()
    assert text.startswith(f"# python -m sparsenas rank-predictors --config {name}\n")
    assert "# Cost: " in text
    assert "# Expect: " in text


@pytest.mark.slow
@pytest.mark.skipif(DATA is None, reason="SPARSENAS_DATA is not set: no real tables")
@pytest.mark.parametrize("name", OF_PREDICTORS)
def test_config_of_predictors_can_be_run(name):
    plan = read_predictor_plan(OF_PREDICTORS[name])
    plan.check()
    assert len(plan.runs) >= 10 * len(plan.predictors)
