"""Plans of tournaments and their governor, on synthetic networks whose curves are known."""

import math
from dataclasses import replace

import numpy as np
import pytest

from sparsenas.errors import ConfigError
from sparsenas.search.measured.governor import Governor, Verdict, expected_gain
from sparsenas.search.measured.history import Entrant, History, Measurement
from sparsenas.search.measured.plan import Field, Plan, Task, Tournament
from sparsenas.search.measured.proposals import Expected

LENGTH = 100.0
#: Goes on whatever it brings, up to nine tenths.
EAGER = Governor(share=0.9, most=0.95)


def field_of(count=6, proposals=(), expected=0.0):
    """Seeds ``s0``, ``s1``, ..., and proposals in their order."""

    def propose(measured, taken, most):
        return [key for key in proposals if key not in taken][:most]

    return Field(
        [(f"s{number}", "random") for number in range(count)],
        propose,
        lambda measured, keys: [Expected(expected, 1.0) for _ in keys],
    )


def measure(task, options, quality, spread=0.0):
    """Measure by the known quality of a key, in units that the rungs say."""
    rungs = (0.0, *options.rungs)
    length = rungs[task.rung + 1] * LENGTH
    loss = math.exp(-quality(task.entrant.key)) / (1 + task.rung)
    losses = tuple(loss * (1 + spread * np.sin(np.arange(4) + task.entrant.number)))
    return Measurement(task.entrant, task.rung, losses, 0.5, length, length - rungs[task.rung] * LENGTH)


def hold(options, field, quality, history=None, most=10**6):
    """Hold a tournament; gives its plan and history."""
    plan, history = Plan(options, field, LENGTH), History() if history is None else history
    while len(history) < most and (task := plan.next(history)) is not None:
        history.add(measure(task, options, quality))
    return plan, history


def quality(key):
    """Proposals are better than seeds, and later ones better than earlier ones."""
    return int(key[1:]) / 10 + (1.0 if key[0] == "p" else 0.0)


def test_seeds_come_first_then_rounds_of_proposals_and_the_best_go_on():
    options = Tournament(rungs=(0.02, 0.05), governor=EAGER, rounds=2, proposals=2, keep=0.3)
    _, history = hold(options, field_of(6, ("p1", "p2", "p3", "p4")), quality)
    assert [(m.entrant.key, m.entrant.wave) for m in history.at(0)] == [
        *((f"s{number}", 0) for number in range(6)),
        *(("p1", 1), ("p2", 1), ("p3", 2), ("p4", 2)),
    ]
    assert {m.entrant.key for m in history.at(1)} == {"p2", "p3", "p4"}  # round(.3 * 10)
    assert history.leader().entrant.key == "p4"


def test_whatever_was_not_measured_does_not_win():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        values = dict(zip([*(f"s{i}" for i in range(6)), "p1", "p2"], rng.normal(size=8), strict=True))
        options = Tournament(rungs=(0.02, 0.05), governor=EAGER, rounds=1, proposals=2)
        _, history = hold(options, field_of(6, ("p1", "p2")), values.__getitem__)
        leader = history.leader()
        assert leader.rung == history.highest
        measured = {m.entrant.key: values[m.entrant.key] for m in history.at(leader.rung)}
        assert values[leader.entrant.key] == max(measured.values()) == max(values.values())


@pytest.mark.parametrize("cut", range(1, 13))
def test_a_tournament_that_was_killed_goes_on_as_it_would_have(cut):
    options = Tournament(rungs=(0.02, 0.05), governor=Governor(), rounds=2, proposals=2)
    field = field_of(6, ("p1", "p2", "p3", "p4"), expected=0.5)
    _, whole = hold(options, field, quality)
    _, half = hold(options, field, quality, most=cut)
    _, again = hold(options, field, quality, History(list(half.measurements)))
    assert again.measurements == whole.measurements
    names = [(m.entrant.number, m.rung) for m in again]
    assert len(names) == len(set(names))  # nothing is measured again


def test_the_share_is_kept():
    for share in (0.1, 0.2, 0.4):
        options = Tournament(rungs=(0.02, 0.05), governor=Governor(share=share), random=40)
        _, history = hold(options, field_of(40), quality)
        assert share * LENGTH - 3.1 <= history.spent <= share * LENGTH + 1e-9


def test_no_governor_searches_for_more_than_the_most():
    options = Tournament(rungs=(0.02, 0.05), governor=Governor(slope=1e-9, most=0.3))
    _, history = hold(options, field_of(40, expected=3.0), quality)
    assert history.spent <= 0.3 * LENGTH + 1e-9


def test_steeper_curves_and_narrower_spreads_end_the_search_earlier():
    def networks(**options):
        tournament = Tournament(rungs=(0.02, 0.05), governor=Governor(**options))
        return len(hold(tournament, field_of(40), lambda key: 0.001 * int(key[1:]))[1].at(0))

    assert networks(slope=1.0) < networks(slope=0.1) < networks(slope=0.01)
    assert networks(spread=0.01) < networks(spread=0.1) < networks(spread=1.0)


def test_processes_that_train_at_the_same_time_pay_less_for_the_next_rung():
    options = Tournament(rungs=(0.02, 0.05), governor=Governor(share=0.2), random=6, rounds=0, keep=0.5)

    def going_on(processes):
        history = History()
        for number in range(6):
            made = measure(Task(Entrant(number, f"s{number}", "random"), 0), options, quality)
            history.add(replace(made, spent=made.spent / processes))
        # of the share of 20, 2 are left in either case
        history.add(replace(history.at(0)[0], spent=18.0 - history.spent, repeat=1))
        return Plan(options, field_of(6), LENGTH).next(history)

    assert going_on(1) is None
    assert going_on(4).rung == 1


def test_a_learned_prior_leaves_less_to_search():
    options = Tournament(rungs=(0.02, 0.05), governor=Governor())
    field = field_of(40, expected=0.5)
    plain, learned = (
        hold(options, one, lambda key: 0.001 * int(key[1:]))[1] for one in (field, field._replace(learned=True))
    )
    assert len(learned.at(0)) < len(plain.at(0))


def test_some_are_measured_whatever_the_governor_thinks():
    options = Tournament(governor=Governor(slope=1e9))
    plan, history = hold(options, field_of(6), quality)
    assert len(history.at(0)) == 3
    assert not plan.verdict.go_on


def test_too_short_a_run_measures_one_and_trains_it():
    options = Tournament(rungs=(0.4,), governor=Governor(most=0.5))
    plan, history = hold(options, field_of(6), quality)
    assert [m.entrant.key for m in history] == ["s0"]
    assert "is used up after 1 networks" in plan.verdict.in_words(0.5, 1)


def test_the_most_promising_enters_first_once_something_is_known():
    def expect(measured, keys):
        return [Expected(float(key == "s5"), 1.0) for key in keys]

    field = field_of(6)._replace(expect=expect)
    _, history = hold(Tournament(governor=EAGER, rounds=0), field, quality)
    assert [m.entrant.key for m in history.at(0)] == ["s0", "s1", "s2", "s5", "s3", "s4"]


def test_one_who_has_diverged_does_not_go_on():
    def diverging(key):
        return -math.inf if key in ("s4", "s5") else quality(key)

    def measure_or_fail(task, options):
        found = measure(task, options, lambda key: 0.0 if math.isinf(diverging(key)) else diverging(key))
        return replace(found, losses=(math.inf,) * 4) if math.isinf(diverging(task.entrant.key)) else found

    options = Tournament(rungs=(0.02, 0.05), governor=EAGER, rounds=0, keep=0.5)
    plan, history = Plan(options, field_of(6), LENGTH), History()
    while (task := plan.next(history)) is not None:
        history.add(measure_or_fail(task, options))
    assert {m.entrant.key for m in history.at(1)} <= {"s0", "s1", "s2", "s3"}
    assert history.leader().entrant.key == "s3"


def test_equal_losses_end_in_the_first_entrant():
    options = Tournament(rungs=(0.02, 0.05), governor=EAGER, rounds=0)
    _, history = hold(options, field_of(6), lambda key: 1.0)
    assert history.leader().entrant.key == "s0"


def test_one_rung_or_one_entrant_is_enough():
    _, history = hold(Tournament(rungs=(0.02,), governor=EAGER, horizon=(0.0,)), field_of(3), quality)
    assert history.highest == 0
    _, history = hold(Tournament(governor=EAGER, rounds=0), field_of(1), quality)
    assert [m.entrant.key for m in history] == ["s0"]


def test_the_expected_gain_is_that_of_a_normal_variable():
    draws = np.random.default_rng(0).normal(size=400_000)
    for lead, deviation in ((-1.0, 0.5), (0.3, 1.0), (0.0, 2.0)):
        assert expected_gain(lead, deviation) == pytest.approx(np.maximum(lead + deviation * draws, 0).mean(), abs=5e-3)
    assert expected_gain(-1.0, 0.0) == 0.0
    assert expected_gain(2.0, 0.0) == 2.0


def test_the_spread_is_learned_from_first_losses():
    def history(deviation):
        losses = np.exp(deviation * np.linspace(-1.5, 1.5, 12))
        return History(
            [Measurement(Entrant(i, str(i), "random"), 0, (x,), 0.5, 1.0, 1.0) for i, x in enumerate(losses)]
        )

    governor = Governor()
    assert governor.spread_of(History()) == governor.spread
    assert governor.spread_of(history(0.02)) < governor.spread < governor.spread_of(history(1.0))


def test_the_reliability_of_a_rung_is_learned_from_the_next_one():
    def history(order):
        first = [Measurement(Entrant(i, str(i), "random"), 0, (1.0 + i,), 0.5, 1.0, 1.0) for i in range(6)]
        return History([*first, *(replace(first[i], rung=1, losses=(1.0 + place,)) for place, i in enumerate(order))])

    governor = Governor()
    same, reversed_ = governor.reliable(history(range(6)), 0), governor.reliable(history(range(5, -1, -1)), 0)
    assert reversed_ < governor.reliability[0] < same
    equal = History([replace(m, losses=(1.0,)) for m in history(range(6))])
    assert governor.reliable(equal, 0) == governor.reliability[0]  # they have no order


def test_a_verdict_says_points_and_networks():
    text = Verdict(0.01, 0.09).in_words(0.2, 14)
    assert (
        text
        == "one more network is worth +0.2 points of accuracy, training for as long +1.7: stopped after 14 networks"
    )
    assert "share of the time for searching is used up after 3" in Verdict(0.0, math.inf).in_words(0.2, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rungs": ()}, "give growing shares of the length in"),
        ({"rungs": (0.5, 0.2)}, "give growing shares of the length in"),
        ({"rungs": (0.5, 1.0)}, "give growing shares of the length in"),
        ({"random": -1}, "counts are at least 0"),
        ({"keep": 1.0}, "keep lies in"),
        ({"horizon": ()}, "give a number for each rung"),
        ({"belief": (-1.0,)}, "belief is not below 0"),
        ({"images": 0}, "both are at least 1"),
    ],
)
def test_options_of_a_tournament_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Tournament(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spread": 0.0}, "all are positive"),
        ({"slope": -1.0}, "all are positive"),
        ({"reliability": ()}, "give correlations in"),
        ({"reliability": (1.5,)}, "give correlations in"),
        ({"share": 1.0}, "governor.share is 1.0"),
        ({"most": -0.1}, "governor.most is -0.1"),
    ],
)
def test_options_of_the_governor_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Governor(**options)
