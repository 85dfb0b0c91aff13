"""Plans, records and figures without a run; what is wrong with them in one clear message."""

import json

import numpy as np
import pytest

from sparsenas.cli import main
from sparsenas.comparison import (
    PublishedNetwork,
    Record,
    append_record,
    draw_comparison,
    make_report,
    markdown,
    read_plan,
    read_records,
    sign_test,
)
from sparsenas.comparison.records import planned_records
from sparsenas.drawing import figure_bytes
from sparsenas.errors import ConfigError, DataError
from sparsenas.search import SupportRules
from sparsenas.spaces import NasBench201Space


@pytest.fixture
def plan(settings, write):
    return read_plan(write(settings))


def record(run, text="111", capped="111", **fields):
    caps = run.settings["caps"]
    chosen = tuple((cap, text if cap is None else capped) for cap in caps)
    timeline = ((0.5, "222"), (1.5, text))
    defaults = {"measured": (("111", 1.0), ("222", 2.0), ("433", 0.5)), "visited": 2, "seconds": 2.0, "cut": False}
    return Record(run.searcher, run.seed, run.digest, chosen, timeline, **(defaults | fields))


@pytest.mark.parametrize(("wins", "p"), [(5, 0.0625), (4, 0.375), (0, 0.0625)])
def test_sign_test_of_five(wins, p):
    test = sign_test([2.0] * wins + [0.0] * (5 - wins) + [1.0], 1.0)
    assert test == (wins, 5, pytest.approx(p))  # the equal one does not count


def test_sign_test_of_ties_only_is_undecided():
    assert sign_test([1.0, 1.0], 1.0) == (0, 0, 1.0)


def test_costs_are_those_of_the_published_network():
    space, rng = NasBench201Space(), np.random.default_rng(0)
    costs = PublishedNetwork((3, 32, 32), 10, 16, 15).costs(space)
    caps = SupportRules(max_params=0.6e6).constraints(space, costs)
    for support in (space.sample_support(rng) for _ in range(50)):
        (kept,) = support
        parameters = space.parameters(space.genotype(support))
        assert costs.base_parameters + sum(costs.parameters[0][i] for i in kept) == parameters
        assert caps.allows(support) == (parameters <= 0.6e6)


def test_options_of_an_entry_go_over_the_common_ones_and_the_seed_into_all(settings, write):
    settings["searchers"]["coded"]["model"]["init_args"]["channels"] = 8
    settings["searchers"]["coded"]["trainer"] = {"limit_train_batches": 3}
    run = next(run for run in read_plan(write(settings)).runs if (run.searcher, run.seed) == ("coded", 1))
    model, data, trainer = (run.settings[name] for name in ("model", "data", "trainer"))
    assert (model["init_args"]["channels"], model["init_args"]["cells"], trainer["limit_train_batches"]) == (8, 1, 3)
    assert (model["init_args"]["seed"], data["init_args"]["seed"]) == (1, 1)
    assert trainer["max_time"] == {"seconds": 60, "milliseconds": 0}


def test_digest_is_of_the_settings_not_of_seeds_or_neighbours(settings, write):
    first = {run.searcher: run.digest for run in read_plan(write(settings)).runs}
    settings["searchers"]["measured"]["seeds"] = 5
    del settings["common"]["trainer"]["limit_val_batches"]
    settings["searchers"]["measured"]["trainer"] = {"limit_val_batches": 0}
    second = {run.searcher: run.digest for run in read_plan(write(settings)).runs}
    assert first["measured"] == second["measured"]
    assert first["coded"] != second["coded"]


def test_records_are_read_as_written(plan, tmp_path):
    records = [record(run) for run in plan.runs]
    for one in records:
        append_record(tmp_path / "runs.jsonl", one)
    assert read_records(tmp_path / "runs.jsonl") == tuple(records)


@pytest.mark.parametrize("line", ['{"searcher": "coded"', '{"searcher": "coded"}', "[]", '{"chosen": 3}', "null"])
def test_damaged_line_is_named(tmp_path, line):
    (tmp_path / "runs.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match=r"runs\.jsonl, line 1: no finished run"):
        read_records(tmp_path / "runs.jsonl")


def test_runs_of_other_settings_are_refused(plan, tmp_path):
    other = record(plan.runs[0])
    other = Record(**{**vars(other), "digest": "another"})
    with pytest.raises(ConfigError, match="measured with seed 0 was run with other settings; name another folder"):
        planned_records([other], plan.runs, tmp_path / "runs.jsonl")
    twice = [record(plan.runs[0])] * 2
    with pytest.raises(DataError, match="measured with seed 0 is there twice"):
        planned_records(twice, plan.runs, tmp_path / "runs.jsonl")


def test_cells_outside_the_space_or_the_cap_are_refused(plan):
    table = plan.read_table()
    with pytest.raises(DataError, match=r"run of measured with seed 0: '555' is no label of a cell"):
        make_report(plan, [record(plan.runs[0], text="555")], table)
    with pytest.raises(DataError, match=r"333 has \d+ parameters, more than its cap of 2000"):
        make_report(plan, [record(plan.runs[0], capped="333")], table)


def test_report_of_some_runs_says_what_is_missing_or_late(plan):
    late = record(plan.runs[0], seconds=99.0)
    report = make_report(plan, [late], plan.read_table())
    text = markdown(report)
    assert "| measured | 1 of 2 |" in text
    assert "coded" not in text
    assert "`measured` with seed 0 took 99.0 s" in text
    assert text.count("*random cell*") == text.count("*most parameters*") == 1 + len(plan.caps)
    first, last = (row.percentile for row in report.rows if row.name == "measured")
    assert f"| measured | {first:.1f} | {last:.1f} | {(first + last) / 2:.1f} |" in text
    assert json.dumps(report.rows[0].mean)


def test_figure_has_a_line_per_searcher_and_is_repeatable(plan):
    report = make_report(plan, [record(run) for run in plan.runs], plan.read_table())
    figure = draw_comparison(report)
    left, right = figure.axes
    assert [label.get_text() for label in right.get_xticklabels()] == ["measured", "coded"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["measured", "coded"]
    assert left.get_yscale() == "function"
    assert figure_bytes(draw_comparison(report)) == figure_bytes(figure)


def broken(settings, key, value):
    *path, last = key.split("/")
    inside = settings
    for name in path:
        inside = inside[name]
    inside[last] = value


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("budget_seconds", 0, "budget_seconds is 0; use a positive number"),
        ("budget_seconds", -3, "budget_seconds is -3; use a positive number"),
        ("caps", [], "caps: must be a list"),
        ("caps", [None, "many"], "caps is 'many'; use a positive number"),
        ("caps", [1e6, 1e6], "a cap occurs twice"),
        ("searchers", {}, "searchers: empty; name at least one"),
        ("searchers/coded/seeds", 0, "searchers.coded.seeds is 0; use a whole number from 1 on"),
        ("searchers/coded/seed", 0, "searchers.coded: unknown entry 'seed'; known are model, seeds"),
        ("searchers/coded/model", {}, "searchers.coded.model: class_path is missing"),
        ("searchers/coded/model", "NoSearch", "unknown class 'NoSearch'"),
        ("searchers/coded/model", "Digits", "Digits"),
        ("searchers/coded/model/init_args/chanels", 3, "chanels"),
        ("searchers/coded/model/init_args/recovery/max_params", 3e5, "caps are limits of the published network"),
        ("searchers/coded/model/init_args/space", {"class_path": "NasBench201Space"}, "compare searchers of one space"),
        ("common/model/init_args/space", {"class_path": "NoSpace"}, "NoSpace"),
        ("published/channels", 0, "published.channels is 0; use a whole number from 1 on"),
        ("accuracy/epochs", 7, "no digits/test/7 (dataset/split/epochs); it has digits/test/1"),
        ("table", "NoTable", "NoTable"),
        ("table", {"class_path": "NasBench201Table", "init_args": {"path": "none.csv.gz"}}, "none.csv.gz is not there"),
        ("table/init_args/texts", ["111", "111"], "occurs twice"),
    ],
)
def test_mistakes_end_in_one_message(settings, write, tmp_path, capsys, key, value, message):
    broken(settings, key, value)
    if "space" in key:
        settings["searchers"]["coded"]["model"]["init_args"]["recovery"] = {"compressed_size": 24}
    assert main(["compare", "--config", str(write(settings)), "--out", str(tmp_path / "out")]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 1
    assert errors[0].startswith("sparsenas: error: ")
    assert message in errors[0]
    assert not (tmp_path / "out").exists()


def test_mistakes_on_the_command_line(settings, write, tmp_path, capsys):
    config = str(write(settings))
    blocked = tmp_path / "file"
    blocked.write_text("")
    for options, message in [
        (["--config", "nothing"], "--config nothing: no such file, and no shipped config"),
        (["--config", config, "--only", "codet"], "--only codet: no such searcher; the config has measured, coded"),
        (["--config", config, "--jobs", "0"], "--jobs is 0; use at least 1"),
        (["--config", config, "--out", str(blocked / "out")], "cannot write to"),
        (["--config", config, "--out", str(tmp_path / "out"), "--report"], "no finished run to report"),
    ]:
        assert main(["compare", *options]) == 2
        assert message in capsys.readouterr().err


def test_a_table_of_another_space_is_refused(settings, write, tmp_path, capsys, planted):
    settings["searchers"] = {"measured": settings["searchers"]["measured"]}
    settings["common"]["model"]["init_args"]["space"] = {"class_path": "NasBench201Space"}
    assert main(["compare", "--config", str(write(settings)), "--out", str(tmp_path / "out")]) == 2
    assert "is of the space 'weight_sharing64', but the searchers search 'nasbench201'" in capsys.readouterr().err
