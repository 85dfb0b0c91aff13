"""Plans, records and figures without a run; what is wrong with them in one clear message."""

import json
from dataclasses import asdict
from itertools import combinations, product
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import rankdata

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
from sparsenas.comparison.report import BAND, BUSIEST, EFFECTIVE, LARGEST, RANDOM, total_costs
from sparsenas.comparison.summary import summarize
from sparsenas.complexity import count_macs, count_parameters
from sparsenas.drawing import figure_bytes
from sparsenas.errors import ConfigError, DataError
from sparsenas.networks import DerivedNet
from sparsenas.search import Budget
from sparsenas.spaces import NasBench201Space, NasBenchMacroSpace
from sparsenas.tables import BenchmarkTable, Training

#: Baselines of a space for which no rule of people is known.
WITHOUT_RULE = (RANDOM, BAND, LARGEST, EFFECTIVE, BUSIEST)


@pytest.fixture
def plan(settings, write):
    return read_plan(write(settings))


def record(run, text="111", capped="111", **fields):
    caps = run.settings["caps"]
    chosen = tuple((cap, text if cap is None else capped) for cap in caps)
    timeline = ((0.5, "222"), (1.5, text))
    scores = (("111", 1.0), ("222", 2.0), ("433", 0.5))
    defaults = {"scored": tuple((cap, scores) for cap in caps), "visited": 2, "seconds": 2.0, "cut": False}
    return Record(run.searcher, run.seed, run.digest, chosen, timeline, **(defaults | fields))


def macs(genotype):
    """Of the published network of the settings."""
    return count_macs(DerivedNet(genotype, (1, 8, 8), 10, channels=4, cells=1), (1, 8, 8))


@pytest.mark.parametrize(("wins", "p"), [(5, 0.0625), (4, 0.375), (0, 0.0625)])
def test_sign_test_of_five(wins, p):
    test = sign_test([2.0] * wins + [0.0] * (5 - wins) + [1.0], 1.0)
    assert test == (wins, 5, pytest.approx(p))  # the equal one does not count


def test_sign_test_of_ties_only_is_undecided():
    assert sign_test([1.0, 1.0], 1.0) == (0, 0, 1.0)


def test_costs_are_those_of_the_published_network():
    space, rng = NasBench201Space(), np.random.default_rng(0)
    costs = PublishedNetwork((3, 32, 32), 10, 16, 15).costs(space)
    caps = Budget(max_params=0.6e6).constraints(space, costs)
    for support in (space.sample_support(rng) for _ in range(50)):
        (kept,) = support
        parameters = space.parameters(space.genotype(support))
        assert costs.base_parameters + sum(costs.parameters[0][i] for i in kept) == parameters
        assert caps.allows(support) == (parameters <= 0.6e6)


def test_options_of_an_entry_go_over_the_common_ones_and_the_seed_into_all(settings, write):
    settings["searchers"]["coded"]["model"]["init_args"]["network"] = {"channels": 8}
    settings["searchers"]["coded"]["trainer"] = {"limit_train_batches": 3}
    run = next(run for run in read_plan(write(settings)).runs if (run.searcher, run.seed) == ("coded", 1))
    model, data, trainer = (run.settings[name] for name in ("model", "data", "trainer"))
    assert model["init_args"]["network"] == {"channels": 8, "cells": 1}
    assert trainer["limit_train_batches"] == 3
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


def test_seeds_begin_at_the_first(settings, write):
    without = read_plan(write(settings))
    settings["first_seed"] = 100
    plan = read_plan(write(settings, "later"))
    assert [run.seed for run in plan.runs] == [run.seed + 100 for run in without.runs] == [100, 101, 100, 101]
    for run in plan.runs:
        assert {run.settings[name]["init_args"]["seed"] for name in ("model", "data")} == {run.seed}
    assert [run.digest for run in plan.runs] == [run.digest for run in without.runs]


def test_records_are_read_as_written(plan, tmp_path):
    records = [record(run) for run in plan.runs]
    for one in records:
        append_record(tmp_path / "runs.jsonl", one)
    assert read_records(tmp_path / "runs.jsonl") == tuple(records)


def test_lines_of_before_processors_were_kept_are_read(plan, tmp_path):
    fields = asdict(record(plan.runs[0], processor="fast"))
    assert fields.pop("processor") == "fast"
    (tmp_path / "runs.jsonl").write_text(json.dumps(fields) + "\n")
    assert read_records(tmp_path / "runs.jsonl") == (record(plan.runs[0]),)


def test_remarks_and_scores_are_kept_by_cap(plan, tmp_path):
    caps = plan.caps
    scored = tuple((cap, (("111", 0.5), ("222", -float(i)))) for i, cap in enumerate(caps))
    one = record(plan.runs[0], scored=scored, remarks=((caps[1], "no better than the largest network"),))
    append_record(tmp_path / "runs.jsonl", one)
    (again,) = read_records(tmp_path / "runs.jsonl")
    assert again == one
    assert dict(again.scored)[caps[1]] == (("111", 0.5), ("222", -1.0))
    assert dict(again.remarks) == {caps[1]: "no better than the largest network"}
    assert record(plan.runs[0]).remarks == ()


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
    two = [record(run, processor=name) for run, name in zip(plan.runs, ("slow", "fast"), strict=False)]
    note = "2 kinds of processors, whose seconds are not alike: 1 by slow, 1 by fast."
    assert note in markdown(make_report(plan, two, plan.read_table()))
    late = record(plan.runs[0], seconds=99.0)
    report = make_report(plan, [late], plan.read_table())
    text = markdown(report)
    assert "| measured | 1 of 2 |" in text
    assert "coded" not in text
    assert "`measured` with seed 0 took 99.0 s" in text
    assert text.count("*random cell*") == text.count("*most parameters*") == 3 + len(plan.caps)
    first, last = (row.percentile for row in report.rows if row.name == "measured")
    assert f"| measured | {first:.1f} | {last:.1f} | {(first + last) / 2:.1f} |" in text
    assert json.dumps(report.rows[0].mean)


class Chains(BenchmarkTable):
    """A chain of each kind of cost; the accuracies name them."""

    TEXTS = ("00000000", "20000000", "00000002")

    def __init__(self):
        super().__init__("chains", NasBenchMacroSpace(), self.TEXTS, [Training("cifar10", "test", 50)])

    def _accuracy(self, row, training):
        return 10.0 + row


def test_parameters_and_multiply_adds_are_different_baselines():
    """A block at high resolution costs MACs, one behind the last reduction parameters."""
    published = PublishedNetwork((3, 16, 16), 10, channels=4, cells=8)
    space, table = NasBenchMacroSpace(), Chains()
    plan = SimpleNamespace(
        training=table.trainings[0], space=space, published=published, caps=(None,), searchers=(), runs=()
    )
    networks = [DerivedNet(genotype, (3, 16, 16), 10, channels=4, cells=8) for genotype in table]
    costs = published.costs(space)
    assert total_costs(table, space, costs).tolist() == [count_parameters(network) for network in networks]
    work = [count_macs(network, (3, 16, 16)) for network in networks]
    assert total_costs(table, space, costs, "macs").tolist() == work
    rows = {row.name: row for row in make_report(plan, [], table).rows}
    assert (rows[LARGEST].mean, rows[EFFECTIVE].mean, rows[BUSIEST].mean) == (12.0, 12.0, 11.0)


class TestSummary:
    @pytest.fixture(params=[2000])
    def small(self, settings, write, request):
        """Seven runs of one searcher, five of the other, and percentiles by counting."""
        settings["caps"] = [None, request.param]
        settings["searchers"]["measured"]["seeds"], settings["searchers"]["coded"]["seeds"] = 7, 5
        plan = read_plan(write(settings))
        table = plan.read_table()
        truth = dict(zip(table.texts, table.accuracies(*plan.training), strict=True))
        costs = plan.published.costs(plan.space)
        sizes = dict(zip(table.texts, total_costs(table, plan.space, costs), strict=True))
        within = {cap: [text for text in truth if cap is None or sizes[text] <= cap] for cap in plan.caps}

        def percentile(text, cap):
            return 100 * np.mean([truth[other] <= truth[text] for other in within[cap]])

        return plan, within, sizes, percentile

    @pytest.mark.slow
    def test_it_is_over_all_caps_and_runs(self, small):
        plan, within, sizes, percentile = small
        rng = np.random.default_rng(0)
        chosen = [[str(rng.choice(texts)) for texts in within.values()] for _ in plan.runs]
        records = [record(run, *texts) for run, texts in zip(plan.runs, chosen, strict=True)]
        report = make_report(plan, records, plan.read_table())
        found = {summary.name: summary for summary in summarize(report)}
        assert list(found) == [*WITHOUT_RULE, "measured", "coded"]
        work = {text: macs(plan.space.from_string(text)) for text in sizes}
        for name in WITHOUT_RULE:
            expected = []
            costs = work if name == BUSIEST else sizes  # here, the same cells have the most
            for cap, texts in within.items():
                most = max(costs[text] for text in texts)
                least = {RANDOM: 0, BAND: 0.7 * most}.get(name, most)  # here, all parameters live
                expected.append(np.mean([percentile(text, cap) for text in texts if costs[text] >= least]))
            assert found[name].mean == found[name].worst == pytest.approx(np.mean(expected))
            assert (found[name].runs, found[name].p) == (0, {})
        runs = {}
        for name, count in (("measured", 7), ("coded", 5)):
            pairs = [texts for run, texts in zip(plan.runs, chosen, strict=True) if run.searcher == name]
            runs[name] = [np.mean([percentile(t, cap) for t, cap in zip(pair, within, strict=True)]) for pair in pairs]
            assert found[name].runs == count == len(runs[name])
            assert found[name].mean == pytest.approx(np.mean(runs[name]))
            assert found[name].worst == pytest.approx(min(runs[name]))
        for name, other in (("measured", "coded"), ("coded", "measured")):
            assert list(found[name].p) == [*WITHOUT_RULE, other]
            assert found[name].p[other] == pytest.approx(rank_sum(runs[name], runs[other]))
            for baseline in WITHOUT_RULE:
                differences = np.array(runs[name]) - found[baseline].mean
                assert found[name].p[baseline] == pytest.approx(signed_rank(differences))
        line = next(line for line in markdown(report).splitlines() if line.startswith("| coded | 5 | "))
        test = f"{found['coded'].p[RANDOM]:.3f}"
        assert line.startswith(f"| coded | 5 | {found['coded'].mean:.1f} | {found['coded'].worst:.1f} | {test} | ")

    @pytest.mark.parametrize("small", [1e6], indirect=True)
    def test_runs_that_do_what_a_baseline_does_are_not_different(self, small):
        plan, within, sizes, _ = small
        largest = [max(texts, key=sizes.__getitem__) for texts in within.values()]
        assert sum(size == max(sizes.values()) for size in sizes.values()) == 1
        report = make_report(plan, [record(run, *largest) for run in plan.runs], plan.read_table())
        *_, measured, coded = summarize(report)
        assert measured.p[LARGEST] == coded.p[LARGEST] == measured.p["coded"] == coded.p["measured"] == 1.0
        assert measured.p[RANDOM] == pytest.approx(2 / 2**7)
        assert coded.p[RANDOM] == pytest.approx(2 / 2**5)

    @pytest.mark.parametrize("small", [1e6], indirect=True)
    @pytest.mark.parametrize("different", [1, 2, 6])
    def test_some_runs_that_do_what_a_baseline_does_do_not_count(self, small, different):
        plan, within, sizes, _ = small
        largest = [max(texts, key=sizes.__getitem__) for texts in within.values()]
        choices = [within[plan.caps[1]][::4][i] if i < different else None for i in range(7)]
        records = [
            record(run, *largest) if other is None else record(run, largest[0], other)
            for run, other in zip(plan.runs[:7], choices, strict=True)
        ]
        (*_, measured) = summarize(make_report(plan, records, plan.read_table()))
        assert 0 < measured.p[LARGEST] <= 1

    def test_one_run_proves_nothing(self, small):
        plan, *_ = small
        records = [record(plan.runs[0], "222"), record(plan.runs[-1], "433")]
        for summary in summarize(make_report(plan, records, plan.read_table()))[-2:]:
            assert (summary.runs, summary.mean) == (1, summary.worst)
            assert set(summary.p.values()) == {1.0}

    def test_rounding_breaks_no_tie(self):
        """The same percentiles under other caps have the same mean, whatever the order of the sum."""
        cells = 100 * np.array([1, 7, 11, 13, 17, 23]) / 26
        rows = [SimpleNamespace(name=RANDOM, percentile=cell) for cell in cells]
        rows += [SimpleNamespace(name=name, percentile=0.0) for name in ("one", "other")]
        orders = [np.random.default_rng(seed).permutation(cells) for seed in range(12)]
        runs = [
            SimpleNamespace(record=SimpleNamespace(searcher=name), percentiles=dict(enumerate(order)))
            for name, part in (("one", orders[:6]), ("other", orders[6:]))
            for order in part
        ]
        for summary in summarize(SimpleNamespace(rows=rows, runs=runs))[1:]:
            assert set(summary.p.values()) == {1.0}


def signed_rank(differences):
    """Wilcoxon's exact two-sided p-value, by all signs; equal differences are equal whatever their rounding."""
    differences = np.round(differences, 9)
    ranks = rankdata(np.abs(differences))
    sums = [np.dot(signs, ranks) for signs in product((0, 1), repeat=len(ranks))]
    return two_sided(np.dot(differences > 0, ranks), sums)


def rank_sum(first, second):
    """Mann and Whitney's exact two-sided p-value, by all ways to divide the runs."""
    ranks = rankdata(np.round([*first, *second], 9))
    sums = [sum(part) for part in combinations(ranks, len(first))]
    return two_sided(sum(ranks[: len(first)]), sums)


def two_sided(found, values):
    return min(1.0, 2 * min(np.mean([v >= found - 1e-9 for v in values]), np.mean([v <= found + 1e-9 for v in values])))


@pytest.mark.slow
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
        ("first_seed", -1, "first_seed is -1; use a whole number from 0 on"),
        ("first_seed", True, "first_seed is True; use a whole number from 0 on"),
        ("first_seed", "a", "first_seed is 'a'; use a whole number from 0 on"),
        ("first_sed", 1, "unknown entry 'first_sed'"),
        ("budget_seconds", 0, "budget_seconds is 0; use a positive number"),
        ("budget_seconds", -3, "budget_seconds is -3; use a positive number"),
        ("caps", [], "caps: must be a list"),
        ("caps", [None, "many"], "caps is 'many'; use a positive number"),
        ("caps", [1e6, 1e6], "a cap occurs twice"),
        ("searchers", {}, "searchers: empty; name at least one"),
        ("searchers/coded/seeds", 0, "searchers.coded.seeds is 0; use a whole number from 1 on"),
        ("searchers/coded/seed", 0, "searchers.coded: unknown entry 'seed'; known are seeds, max_epochs, model"),
        ("searchers/coded/model", {}, "searchers.coded.model: class_path is missing"),
        ("searchers/coded/model", "NoSearch", "unknown class 'NoSearch'"),
        ("searchers/coded/model", "Digits", "Digits"),
        ("searchers/coded/model/init_args/chanels", 3, "chanels"),
        ("searchers/coded/model/init_args/budget", {"max_params": 3e5}, "caps are limits of the published network"),
        (
            "searchers/coded/model/init_args/recovery/max_params",
            3e5,
            "this option is now called model.budget.max_params",
        ),
        ("common/model/init_args/channels", 8, "model.channels: this option is now called model.network.channels"),
        ("searchers/coded/model/init_args/signal", "Untrained", "model.signal: Untrained is gone; use the class Tourn"),
        ("searchers/coded/model/class_path", "MeasuredSearch", "model: MeasuredSearch is gone; use the class Tourn"),
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


@pytest.mark.slow
def test_mistakes_on_the_command_line(settings, write, tmp_path, capsys):
    config = str(write(settings))
    blocked = tmp_path / "file"
    blocked.write_text("")
    for options, message in [
        (["--config", "nothing"], "--config nothing: no such file, and no shipped config"),
        (["--config", config, "--only", "codet"], "--only codet: no such entry; there are measured, coded"),
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
