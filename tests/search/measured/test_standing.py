"""Results of tournaments: what is claimed, and what is not."""

import json
import math

import numpy as np
import pytest
import torch

from sparsenas.latency import LayerTimes, Line, read_layer_times
from sparsenas.networks import NetworkConfig
from sparsenas.search import Budget, Tournament
from sparsenas.search.measured.field import Entry
from sparsenas.search.measured.history import Entrant, History, Measurement
from sparsenas.search.measured.plan import Plan
from sparsenas.search.measured.standing import make_standing, surely_ahead
from sparsenas.spaces import REFERENCES, StageSpace
from sparsenas.spaces.stage import ALL_TYPES

SPACE = StageSpace(layers=2, types=("conv_3x3", "sep_conv_3x3"))
OPTIONS = Tournament(prior="none", random=3)
DRAWN = [SPACE.sample(np.random.default_rng(seed)).to_json() for seed in range(6)]


def entry(budget=Budget(max_params=40_000)):
    return Entry(SPACE, (3, 32, 32), 10, NetworkConfig(channels=None, cells=None), budget, OPTIONS, 0)


def measured(number, loss, accuracy=0.5, origin="random", rung=0, repeat=0):
    key = REFERENCES[origin].genotype.to_json() if origin in REFERENCES else DRAWN[number]
    losses = (loss,) * 4 if np.isscalar(loss) else tuple(loss)
    return Measurement(Entrant(number, key, origin), rung, losses, accuracy, 1.0 + rung, 1.0, repeat=repeat)


def stand(*measurements, images=400, **options):
    made = entry(**options)
    plan, history = Plan(OPTIONS, made.field, 100.0), History(list(measurements))
    labels = torch.zeros(images, dtype=torch.int64)
    return make_standing(made, plan, history, labels, "seconds", lambda key: len(key) / 1000)


def test_everyone_is_there_by_rung_and_score():
    result = stand(
        measured(0, 1.0, origin="vgg_like"),
        measured(1, 2.0),
        measured(2, 0.9),
        measured(2, 0.8, rung=1),
        measured(0, 0.7, origin="vgg_like", rung=1),
    )
    assert [other.name for other in result.competitors] == ["vgg_like", "random 2", "random 1"]
    assert result.found.stops == ((1.0, 1.0, 0.5), (2.0, pytest.approx(0.7), 0.5))
    assert all(other.parameters <= 40_000 and other.macs > 0 for other in result.competitors)
    assert all(other.milliseconds == len(other.genotype.to_json()) / 1000 for other in result.competitors)
    assert result.competitors[0].score > result.competitors[1].score
    assert result.reference is result.found
    assert result.sure is None


def test_milliseconds_of_the_table_stand_beside_the_measured_ones(tmp_path):
    file = tmp_path / "times.json"
    names = ["head", *(f"{layer}{down}" for layer in ALL_TYPES for down in ("", "/stride", "/max_pool"))]
    LayerTimes(dict.fromkeys(names, Line(0.1, 1e-6, 1e-7)), 0.0, {}).write(file)
    budget = Budget(max_latency_ms=5.0, latency_table=str(file))
    result = stand(measured(0, 1.0, origin="vgg_like"), measured(1, 2.0), budget=budget)
    for other, plain in zip(result.competitors, result.to_plain(SPACE)["competitors"], strict=True):
        channels = budget.fill(other.genotype, (3, 32, 32), 10)
        expected = read_layer_times(file).latency(other.genotype, (3, 32, 32), 10, channels)
        assert plain["predicted_milliseconds"] == other.predicted_milliseconds == pytest.approx(expected)
        assert expected <= 5.0
    assert stand(measured(1, 2.0)).found.predicted_milliseconds is None


def test_the_best_reference_stands_beside_what_was_found():
    result = stand(measured(0, 1.5, origin="vgg_like"), measured(1, 1.0, 0.7), measured(2, 1.2, origin="resnet8"))
    assert result.reference.name == "resnet8"
    assert result.sure == 1.0
    for words in ("random 1", "1.000 (70.0% right)", "1.200 (50.0%)", "resnet8", "not tried with other seeds"):
        assert words in result.summary


def test_nothing_is_claimed_at_chance():
    result = stand(measured(0, 2.3, 0.1, origin="vgg_like"), measured(1, 2.2, 0.12), images=200)
    assert result.at_chance
    assert "near chance, so the choice says nothing" in result.summary
    assert "leads" not in result.summary
    assert not stand(measured(0, 2.3, 0.1, origin="vgg_like"), measured(1, 2.2, 0.2), images=200).at_chance


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        ((1.0, 1.1, 0.9), "it is ahead by 0.500"),
        ((2.0, 2.1, 1.9), "it is behind by 0.500"),
        ((1.5, 2.5, 0.4), "neither is surely ahead"),
        ((1.0,), "neither is surely ahead"),
    ],
)
def test_only_fresh_seeds_make_one_better(losses, words):
    again = [
        measured(number, loss, origin=origin, repeat=repeat + 1)
        for repeat, own in enumerate(losses)
        for number, loss, origin in ((0, 1.5, "vgg_like"), (1, own, "random"))
    ]
    result = stand(measured(0, 1.5, origin="vgg_like"), measured(1, 1.0), *again)
    assert len(result.again) == len(losses)
    assert words in result.summary
    assert [other.stops for other in result.competitors] == [((1.0, 1.0, 0.5),), ((1.0, 1.5, 0.5),)]


def test_a_run_too_short_for_any_measurement_trains_the_most_promising():
    result = stand()
    assert result.found.name == "plain_cnn"
    assert "too short to compare anything: plain_cnn is trained" in result.summary
    assert not result.at_chance


def test_bootstraps_are_over_parts_of_the_images():
    rng = np.random.default_rng(0)
    losses = rng.normal(1, 0.1, size=(2, 16))
    history = History([measured(0, losses[0]), measured(1, losses[1])])
    share = surely_ahead(history, 0, 1, 2000, 0)
    assert share == pytest.approx(1 - surely_ahead(history, 1, 0, 2000, 0), abs=0.01)
    assert 0 < share < 1
    failed = History([measured(0, 1.0), measured(1, math.inf)])
    assert surely_ahead(failed, 0, 1, 100, 0) == 1.0
    assert surely_ahead(failed, 1, 0, 100, 0) == 0.0
    assert surely_ahead(History([measured(0, 1.0)]), 0, 1, 100, 0) is None


def test_a_result_is_plain_and_holds_the_prior_of_the_next_search():
    some = [measured(i, 1.0 + 0.1 * i) for i in range(5)]
    plain = stand(*some, measured(5, 1.01)).to_plain(SPACE)
    text = json.dumps(plain)
    assert json.loads(text)["prior"]["space"] == "stage"
    assert len(plain["competitors"]) == 6
