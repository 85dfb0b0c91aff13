"""Early stopping by prediction: what it saves, and how seldom it is wrong."""

import os
from pathlib import Path

import numpy as np
import pytest

from sparsenas.errors import PredictorError
from sparsenas.predictors import CurveRecord, StoppingRule, append_curve, read_curves, replay


def saturating(count, epochs=30, seed=0, noise=0.3):
    """Curves that rise to an end of their own, with noise that fades."""
    rng = np.random.default_rng(seed)
    final, speed = 60 + 30 * rng.random(count), 4 + 4 * rng.random(count)
    time = np.arange(1, epochs + 1)
    curves = final[:, None] * (1 - np.exp(-time / speed[:, None]))
    return curves + noise * rng.standard_normal((count, epochs)) / np.sqrt(time)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_few_of_those_stopped_would_have_been_the_best_and_epochs_are_saved(seed):
    found = replay(saturating(200, seed=seed), StoppingRule(0.95, seed=seed, draws=30), (8, 15, 22))
    assert found.error_rate <= 0.05
    assert found.saved > 0.3
    assert found.loss <= 0.5
    assert not found.stopped[:50].any()
    assert np.isnan(found.predicted[~found.stopped]).all()
    assert np.abs(found.predicted - found.final)[found.stopped].mean() < 3


def test_certainty_stops_none():
    curves = saturating(30)
    assert not replay(curves, StoppingRule(1.0, least=10, draws=5), (15,)).stopped.any()
    assert replay(curves, StoppingRule(0.9, least=10, draws=5), (15,)).stopped.any()


def test_some_are_never_stopped():
    rule = StoppingRule(0.6, least=10, spared=0.3, draws=5)
    spared = np.array([rule.spares(number) for number in range(1000)])
    assert spared.mean() == pytest.approx(0.3, abs=0.05)
    found = replay(saturating(60), rule, (10, 20))
    assert found.stopped.any()
    assert not (found.stopped & spared[:60]).any()


def test_the_probability_is_that_of_the_rank_that_is_compared():
    curves = saturating(40)
    decisions = []
    for rank in (1, 5):
        rule = StoppingRule(0.95, least=20, rank=rank, draws=5)
        for curve in curves[:39]:
            rule.add(curve)
        assert rule.best == np.sort(curves[:39, -1])[-rank]
        decisions.append(rule.decide(curves[39, :15]))
    first, fifth = decisions
    assert first.predicted == fifth.predicted
    assert first.probability > fifth.probability


def test_a_curve_ahead_of_all_is_not_taken_for_their_mean_nor_one_behind():
    rule, curves = StoppingRule(0.6, least=20, spared=0.0, draws=5), saturating(20)
    for curve in curves:
        rule.add(curve)
    ahead, behind = rule.decide(1.5 * curves.max(0)[:15]), rule.decide(0.3 * curves.min(0)[:15])
    assert ahead.predicted >= rule.best
    assert not ahead.stop
    assert behind.predicted <= curves[:, -1].min()
    assert behind.stop


def test_a_rule_waits_for_whole_curves():
    rule, curves = StoppingRule(least=10), saturating(10)
    for curve in curves[:9]:
        rule.add(curve)
    assert rule.decide(curves[9, :5]) is None


@pytest.mark.parametrize(
    ("curve", "message"),
    [
        (np.zeros(2), "a curve of 2 epochs is too short to predict from; wait for 3"),
        (np.zeros(30), "a curve of 30 epochs is whole; there is nothing to predict"),
        ([0.1, np.nan, 0.3], "values that are no numbers"),
        ([], r"a curve has shape \(0,\)"),
    ],
)
def test_curves_of_which_nothing_can_be_said(curve, message):
    rule = StoppingRule()
    rule.add(saturating(1)[0])
    with pytest.raises(PredictorError, match=message):
        rule.decide(curve)


def test_options_that_are_none():
    for options, message in (
        ({"delta": 0.5}, r"delta lies in \(0.5, 1\]"),
        ({"spared": 1.0}, r"spared in \[0, 1\)"),
        ({"least": 7}, "use at least 8 whole curves"),
        ({"rank": 51}, "and a rank among them"),
        ({"draws": 0}, "use at least 1 draw"),
    ):
        with pytest.raises(PredictorError, match=message):
            StoppingRule(**options)
    rule = StoppingRule()
    rule.add(np.zeros(5))
    with pytest.raises(PredictorError, match="a curve has 6 epochs, the others 5; compare trainings of one length"):
        rule.add(np.zeros(6))
    with pytest.raises(PredictorError, match=r"checkpoints are \[30\]; they lie between 3 and 29"):
        replay(saturating(3), StoppingRule(), (30,))


def test_a_file_gives_back_the_curves_that_were_added(tmp_path):
    path = tmp_path / "sweep" / "curves.jsonl"
    assert read_curves(path) == []
    records = [CurveRecord((0.1, 0.25, 0.5), None), CurveRecord((0.1, 0.2), 0.375)]
    for record in records:
        append_curve(path, record)
    with path.open("a") as file:
        file.write('{"curve": [0.1, 0.')  # another process is writing
    assert read_curves(path) == records


@pytest.mark.parametrize("line", ["{", '{"curve": []}', '{"curve": [1, "x"]}', '{"curve": [true]}', "[1, 2]", "NaN"])
def test_a_line_that_is_no_curve_is_named(line, tmp_path):
    path = tmp_path / "curves.jsonl"
    path.write_text(f'{{"curve": [0.5], "predicted": null}}\n{line}\n')
    with pytest.raises(PredictorError, match=r"line 2 is no learning curve .*; remove it, or name another file"):
        read_curves(path)


@pytest.mark.slow
@pytest.mark.skipif("SPARSENAS_DATA" not in os.environ, reason="SPARSENAS_DATA is not set: no real curves")
@pytest.mark.parametrize("seed", range(2))
def test_real_curves_of_600_epochs(seed):
    with np.load(Path(os.environ["SPARSENAS_DATA"], "darts_cifar10_curves.npz")) as archive:
        curves = archive["curves_214"] / 100
    order = np.random.default_rng(seed).permutation(len(curves))
    found = replay(curves[order], StoppingRule(draws=50, seed=seed), (150, 300, 450))
    assert found.error_rate <= 0.05
    assert found.saved > 0.3
    assert found.loss <= 0.1
