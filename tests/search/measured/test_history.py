"""Histories of tournaments: paired scores, what is expected beyond a loss, and who leads."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from sparsenas.search.measured.history import Entrant, History, Measurement, scores


def measured(number, losses, rung=0, **extra):
    return Measurement(Entrant(number, f"key{number}", "random"), rung, tuple(losses), 0.5, 1.0, 1.0, **extra)


def test_scores_are_normal_quantiles_of_ranks():
    found = scores([measured(i, [loss]) for i, loss in enumerate([3.0, 1.0, 2.0])])
    assert found == pytest.approx(norm.ppf([1 / 6, 5 / 6, 0.5]), abs=1e-6)


def test_no_monotone_change_of_a_part_changes_scores():
    rng = np.random.default_rng(0)
    losses = rng.random((5, 4)) + 1
    other = losses.copy()
    other[:, 2] = np.exp(7 * losses[:, 2])
    plain, changed = (scores([measured(i, row) for i, row in enumerate(rows)]) for rows in (losses, other))
    assert plain == pytest.approx(changed, abs=1e-6)


def test_pairs_on_the_same_parts_matter_and_not_the_mean():
    # one part is ten times as hard; who is better on all others is better
    better, worse = [1.0, 1.0, 1.0, 11.0], [1.1, 1.1, 1.1, 10.0]
    assert scores([measured(0, better), measured(1, worse)])[0] > 0


def test_ties_are_decided_by_the_mean_loss():
    first, second = scores([measured(0, [1.0, 5.0]), measured(1, [2.0, 3.0])])
    assert second > first


def test_an_entrant_that_has_diverged_is_last_whatever_was_expected_of_it():
    history = History(
        [measured(0, [math.inf] * 2, bonus=9.0, expected=9.0), measured(1, [2.0, 2.0]), measured(2, [1.0, 1.0])]
    )
    assert [m.entrant.number for m in history.ranked(0)] == [2, 1, 0]
    assert np.isfinite(scores(history.at(0))).all()


def test_only_differences_of_bonuses_count():
    some = [measured(i, [loss], bonus=bonus) for i, (loss, bonus) in enumerate([(1.0, 0.0), (1.1, 2.0), (3.0, 0.5)])]
    shifted = [measured(m.entrant.number, m.losses, bonus=m.bonus + 100) for m in some]
    assert scores(some) == pytest.approx(scores(shifted))
    assert scores(some).argmax() == 1  # overtakes the first one in the rest of the training


def test_what_agrees_is_believed_and_what_does_not_is_outvoted():
    losses, rng = np.linspace(1, 2, 12), np.random.default_rng(1)

    def found(expected):
        return scores(
            [measured(i, [loss], expected=e) for i, (loss, e) in enumerate(zip(losses, expected, strict=True))]
        )

    plain = found(np.zeros(12))
    right, wrong = np.linspace(1, -1, 12) + 0.1 * rng.normal(size=12), np.linspace(-1, 1, 12)
    assert found(right) - plain == pytest.approx(right - right.mean())  # the whole of it
    assert found(wrong) == pytest.approx(plain)


def test_the_leader_is_the_best_of_the_highest_rung_that_is_alive():
    history = History([measured(0, [1.0]), measured(1, [2.0]), measured(2, [3.0])])
    assert history.leader().entrant.number == 0
    history.add(measured(1, [1.5], rung=1))
    history.add(measured(2, [1.2], rung=1))
    assert history.leader().entrant.number == 2
    history = History([measured(0, [1.0]), measured(0, [math.inf], rung=1)])
    assert history.leader().rung == 0
    assert History([measured(0, [math.inf])]).leader() is None
    assert History().leader() is None


def test_a_history_adds_up():
    history = History([measured(3, [1.0]), measured(1, [1.0]), measured(3, [1.0], rung=1)])
    assert [entrant.number for entrant in history.entrants] == [3, 1]
    assert [m.entrant.number for m in history.at(0)] == [1, 3]
    assert (history.spent, history.highest, len(history)) == (3.0, 1, 3)
