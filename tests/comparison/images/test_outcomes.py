"""Tables, tests and figures of finished runs that nobody has made."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sparsenas.comparison.images import ImageRecord, draw_images, make_image_report, paired_test, read_image_plan
from sparsenas.comparison.images.finished import image_record
from sparsenas.drawing import figure_bytes
from sparsenas.errors import ConfigError, DataError


@pytest.fixture
def plan(contest, write):
    contest["seeds"] = 3
    contest["competitors"] |= {"vgg_like": {"reference": "vgg_like"}, "deep": {"reference": "mobilenet_v1"}}
    return read_image_plan(write(contest))


def record(plan, name, seed, accuracy, **fields):
    (run,) = (run for run in plan.runs if (run.searcher, run.seed) == (name, seed))
    defaults = {"parts": f"p{seed}", "seconds": 2.0, "accuracy": accuracy, "macs": 1000 + seed, "parameters": 10}
    return ImageRecord(name, seed, run.digest, **(defaults | {"curve": ((0.5, 20.0), (2.0, accuracy))} | fields))


def impossible(plan, name, seed):
    return record(plan, name, seed, 0.0, impossible="images are too small", curve=())


@pytest.fixture
def records(plan):
    accuracies = {"resnet8": (90, 92, 94), "random": (91, 95, 96), "vgg_like": (80, 97, 70)}
    made = [record(plan, name, seed, float(a)) for name, row in accuracies.items() for seed, a in enumerate(row)]
    return [*made, *(impossible(plan, "deep", seed) for seed in range(3))]


def test_rows_are_sorted_by_the_mean_and_tested_against_the_best_reference(plan, records):
    report = make_image_report(plan, records)
    assert [row.name for row in report.rows] == ["random", "resnet8", "vgg_like", "deep"]
    assert report.best_reference == "resnet8"
    assert [test.name for test in report.tests] == ["random", "vgg_like"]
    row = report.rows[0]
    assert (row.mean, row.sd, row.worst) == (94, pytest.approx(np.std([91, 95, 96], ddof=1)), 91)
    assert (row.macs, row.seconds, row.runs, row.planned) == (1001, 2.0, 3, 3)
    deep = report.rows[-1]
    assert (deep.runs, deep.mean, deep.impossible) == (0, None, "images are too small")
    assert report.text == str(report)
    for name in ("random", "deep", "images are too small"):
        assert name in report.text
    assert figure_bytes(draw_images(report), "png")[:4] == b"\x89PNG"
    json.dumps([asdict(row) for row in report.rows], allow_nan=False)


def test_a_report_of_impossible_runs_only_is_still_a_report(plan):
    report = make_image_report(plan, [impossible(plan, "deep", 0)])
    assert (report.best_reference, report.tests) == (None, ())
    assert figure_bytes(draw_images(report), "png")


def test_common_seeds_alone_are_compared(plan, records):
    fewer = [r for r in records if (r.searcher, r.seed) != ("random", 1)]
    test = next(test for test in make_image_report(plan, fewer).tests if test.name == "random")
    assert test.runs == 2
    assert test.difference == pytest.approx((1 + 2) / 2)


@pytest.mark.parametrize(
    ("tested", "text"),
    [(33, "33 images of Digits (the same network would vary by 9 points"), (5000, "5,000 images of Digits. ")],
)
def test_few_test_images_are_told(plan, records, tested, text):
    records = [replace(record, tested=tested) for record in records]
    assert f"Test accuracy in percent on {text}" in make_image_report(plan, records).text


def test_processors_of_several_kinds_are_told(plan, records):
    kinds = [replace(found, processor="slow" if found.seed else "fast") for found in records]
    assert "kinds of processors" not in make_image_report(plan, [kinds[0], *records[1:]]).text  # of old files
    note = "2 kinds of processors, whose seconds are not alike: 8 by slow, 4 by fast."
    assert note in make_image_report(plan, kinds).text


def test_a_search_that_diverged_counts_but_has_no_size(plan, records):
    chance = {"genotype": "", "parameters": 0, "macs": 0, "diverged": True, "curve": ((1.0, 10.0),)}
    records = [replace(r, accuracy=10.0, **chance) if r.searcher == "random" else r for r in records]
    report = make_image_report(plan, records)
    (row,) = (row for row in report.rows if row.name == "random")
    assert (row.mean, row.runs) == (10.0, 3)
    assert "`random` with seed 2 has diverged, and counts as chance" in report.text
    assert figure_bytes(draw_images(report), "png")


def test_runs_on_other_images_are_not_mixed(plan, records):
    """Also of other seeds: photos that came between two calls would be in some runs only."""
    records = [replace(record, images="more" if record.seed == 2 else "few") for record in records]
    with pytest.raises(DataError, match="have seen other images: they have changed between the runs; name"):
        make_image_report(plan, records)


def test_runs_on_other_parts_are_no_pairs(plan, records):
    records[0] = replace(records[0], parts="other")
    with pytest.raises(DataError, match="seed 0 have seen other images or parts"):
        make_image_report(plan, records)


def test_a_record_survives_its_file(plan, records):
    assert image_record(json.loads(json.dumps(asdict(records[0])))) == records[0]


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=2, max_size=12))
def test_paired_test_agrees_with_the_formulas(pairs):
    a, b = (dict(enumerate(map(float, side))) for side in zip(*pairs, strict=True))
    test = paired_test("x", a, b)
    d = np.array([x - y for x, y in pairs], dtype=float)
    n = len(d)
    assert (test.runs, test.difference) == (n, pytest.approx(d.mean()))
    if not np.ptp(d):
        assert (test.low, test.high, test.p_t) == (None, None, None)
        return
    error = d.std(ddof=1) / np.sqrt(n)
    half = stats.t.ppf(0.975, n - 1) * error
    assert (test.low, test.high) == (pytest.approx(d.mean() - half), pytest.approx(d.mean() + half))
    assert test.p_t == pytest.approx(2 * stats.t.sf(abs(d.mean()) / error, n - 1))
    assert test.p_wilcoxon == pytest.approx(stats.wilcoxon(d).pvalue)


def test_one_seed_and_equal_accuracies_show_nothing():
    alone = paired_test("x", {0: 90.0}, {0: 80.0})
    assert (alone.runs, alone.difference, alone.low, alone.p_t, alone.p_wilcoxon) == (1, 10.0, None, None, 1.0)
    assert paired_test("x", {0: 1.0, 1: 2.0}, {0: 1.0, 1: 2.0}).p_wilcoxon == 1.0


class TestAttacks:
    @pytest.fixture
    def plan(self, contest, write):
        contest["competitors"] |= {"vgg_like": {"reference": "vgg_like"}, "deep": {"reference": "mobilenet_v1"}}
        return read_image_plan(write(contest | {"attacks": {"epsilon": 4, "steps": [1, 10]}}))

    def records(self, plan):
        figures = {  # accuracy, under the stronger attack, parameters
            "resnet8": (90.0, 40.0, 10),
            "random": (95.0, 30.0, 10),
            "vgg_like": (89.0, 40.0, 10),
        }
        return [
            record(plan, name, 0, a, macs=1, parameters=p, under_attack={"fgsm": b + 5, "pgd_10": b})
            for name, (a, b, p) in figures.items()
        ] + [impossible(plan, "deep", 0)]

    def test_accuracies_under_attack_are_told_and_the_pareto_set_is_marked(self, plan):
        report = make_image_report(plan, self.records(plan))
        assert {row.name: row.dominated for row in report.rows} == {
            "random": False,
            "resnet8": False,
            "vgg_like": True,
            "deep": None,
        }
        table = [line.split(" | ") for line in report.text.splitlines() if line.startswith("| ")]
        assert table[0][5:7] == ["fgsm", "pgd_10"]
        assert len({len(line) for line in table if len(line) > 8}) == 1
        assert "without attacks" in report.text
        json.dumps([asdict(row) for row in report.rows], allow_nan=False)

    def test_they_are_part_of_what_a_run_is(self, plan, contest, write):
        assert plan.runs[0].settings["attacks"] == {"epsilon": 4.0, "steps": [1, 10]}
        without = read_image_plan(write(contest))
        assert "attacks" not in without.runs[0].settings
        assert without.runs[0].digest != plan.runs[0].digest

    @pytest.mark.parametrize(
        ("attacks", "message"),
        [
            ({"epsilon": 300}, "attacks: epsilon is 300.0, a number of the 255 levels of a pixel"),
            ({"epsilon": "much"}, "attacks.epsilon is 'much'; use a positive number"),
            ({"steps": [0]}, "attacks.steps is 0; use a whole number"),
            ({"steps": [3, 3]}, "attacks: attacks.steps is [3, 3]; list the steps of each attack once"),
            ({"kind": "pgd"}, "attacks: unknown"),
        ],
    )
    def test_impossible_attacks_are_refused(self, contest, write, attacks, message):
        with pytest.raises(ConfigError) as caught:
            read_image_plan(write(contest | {"attacks": attacks}))
        assert message in str(caught.value)
