"""Tournaments whose trainings are looked up, on planted tables; one on the published table."""

import os
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from sparsenas.comparison.table_tournament import (
    EarlyValues,
    hold,
    most_entrants,
    read_first_rung,
    share_for,
    winner,
)
from sparsenas.errors import ConfigError, TableError
from sparsenas.search.measured.decoding import Decoder
from sparsenas.search.measured.governor import Governor
from sparsenas.search.measured.history import History
from sparsenas.search.measured.proposals import Proposer
from sparsenas.spaces import NasBenchMacroSpace
from sparsenas.sparse_coding import GroupRegression

SPACE = NasBenchMacroSpace()
GENOTYPES = [SPACE.genotype(support) for support in SPACE.supports()]
KEYS = [genotype.to_json() for genotype in GENOTYPES]
KINDS = np.array([[index for (index,) in SPACE.support(genotype)] for genotype in GENOTYPES])
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def decoder():
    return Decoder(SPACE)


def planted(seed=0):
    """Accuracies that are sums over layers, three of which matter."""
    worth = np.zeros((SPACE.layers, 3))
    worth[:3] = np.random.default_rng(seed).permuted(np.tile([0.0, 8.0, 16.0], (3, 1)), axis=1)
    return 20 + worth[np.arange(SPACE.layers), KINDS].sum(1)


def early(accuracies, epochs=(1.0,)):
    columns = np.stack([accuracies] * len(epochs), axis=1)
    return EarlyValues(KEYS, columns, epochs)


def seeds_of(rows):
    return [(KEYS[row], "random") for row in rows]


def proposer(decoder, fits=lambda genotype: True, seed=0):
    return Proposer(SPACE, 32, fits, None, GroupRegression(), seed, decoder)


def drawn(count, seed=0):
    return np.random.default_rng(seed).choice(len(KEYS), size=count, replace=False)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=3),
    st.sampled_from([0.2, 0.34, 0.5]),
    st.integers(0, 120),
    st.integers(0, 99),
)
def test_a_halving_fits_and_one_entrant_more_would_not(epochs, keep, search, seed):
    entrants, length = most_entrants(epochs, keep, search), 2 * search + 1
    values = EarlyValues(KEYS, 100 * np.random.default_rng(seed).random((len(KEYS), len(epochs))), tuple(epochs))
    if sum(epochs) < length and entrants:
        history = hold(values, seeds_of(drawn(entrants, seed)), length, share_for(search, length), keep)
        assert history.spent <= search
        assert len(history.at(0)) == entrants
        more = hold(values, seeds_of(drawn(entrants + 1, seed)), length, share_for(length - 1, length), keep)
        assert more.spent > search


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 40), st.integers(0, 99), st.booleans())
def test_no_search_spends_more_than_its_share(search, seed, weighs):
    values = early(100 * np.random.default_rng(seed).random(len(KEYS)), (3.0, 5.0))
    governor = Governor(most=search / 41) if weighs else share_for(search, 41.0)
    history = hold(values, seeds_of(drawn(12, seed)), 41.0, governor)
    assert history.spent <= max(search, 6)  # two entrants are measured in any case


@pytest.mark.slow
def test_winners_depend_on_nothing_but_what_was_measured(decoder):
    accuracies, rows = planted(), drawn(10)
    history = hold(early(accuracies), seeds_of(rows), 24, share_for(16, 24), proposer=proposer(decoder), proposals=6)
    entered = {KEYS.index(entrant.key) for entrant in history.entrants}
    others = np.array([row not in entered for row in range(len(KEYS))])
    changed = np.where(others, 100 - accuracies, accuracies)
    again = hold(early(changed), seeds_of(rows), 24, share_for(16, 24), proposer=proposer(decoder), proposals=6)
    assert again.measurements == history.measurements
    assert [entrant.origin for entrant in history.entrants] == ["random"] * 10 + ["proposed"] * 6


def test_proposals_keep_the_cap_even_if_a_code_likes_everything_else_better(decoder):
    accuracies = planted()
    worst = set(np.argsort(accuracies, kind="stable")[:40].tolist())
    fits = {GENOTYPES[row] for row in worst}.__contains__
    seeds = seeds_of(drawn(20))
    history = hold(early(accuracies), seeds, 40, share_for(24, 40), proposer=proposer(decoder, fits), proposals=4)
    proposed = [entrant.key for entrant in history.entrants if entrant.origin == "proposed"]
    assert len(proposed) == 4
    assert {KEYS.index(key) for key in proposed} <= worst


@pytest.mark.parametrize("seed", range(3))
def test_a_sum_over_decisions_is_solved(decoder, seed):
    accuracies = planted(seed)
    options = {"proposer": proposer(decoder, seed=seed), "proposals": 4, "rounds": 2}
    history = hold(early(accuracies), seeds_of(drawn(24, seed)), 64, share_for(32, 64), **options)
    assert accuracies[KEYS.index(winner(history))] == accuracies.max()
    read = read_first_rung(history, options["proposer"])
    assert read.measured == winner(history)
    assert all(accuracies[KEYS.index(key)] == accuracies.max() for key in (read.code, read.both))


@pytest.mark.slow
def test_a_code_sees_through_noise_better_than_single_measurements(decoder):
    found = []
    for seed in range(6):
        accuracies = planted(seed)
        noisy = np.clip(accuracies + np.random.default_rng(seed).normal(0, 12, len(KEYS)), 0, 100)
        history = hold(early(noisy), seeds_of(drawn(40, seed)), 80, share_for(40, 80))
        read = read_first_rung(history, proposer(decoder, seed=seed))
        chosen = read.measured, read.code, read.both
        assert set(chosen) <= {entrant.key for entrant in history.entrants}
        found.append([accuracies[KEYS.index(key)] for key in chosen])
    measured, coded, both = np.mean(found, axis=0)
    assert coded > measured
    assert both > measured


def test_a_sure_measurement_is_believed(decoder):
    values = early(100 * np.random.default_rng(0).random(len(KEYS)))  # no decision tells anything
    history = hold(values, seeds_of(drawn(12)), 80, share_for(40, 80))
    assert read_first_rung(history, proposer(decoder), reliability=0.999).both == winner(history)


def test_too_few_measurements_recover_no_code(decoder):
    history = hold(early(planted()), seeds_of(drawn(3)), 80, share_for(40, 80))
    read = read_first_rung(history, proposer(decoder))
    assert read.measured == read.code == read.both == winner(history)


def test_errors_say_what_would_be_right():
    with pytest.raises(TableError, match=r"\(2, 1\)"):
        EarlyValues(["a", "b"], np.zeros((2, 2)), (1.0,))
    with pytest.raises(TableError, match="0 to 100"):
        EarlyValues(["a"], np.full((1, 1), np.nan), (1.0,))
    with pytest.raises(TableError, match="positive"):
        EarlyValues(["a"], np.zeros((1, 1)), (0.0,))
    with pytest.raises(TableError, match="twice"):
        EarlyValues(["a", "a"], np.zeros((2, 1)), (1.0,))
    with pytest.raises(TableError, match="no early values of c"):
        EarlyValues(["a"], np.zeros((1, 1)), (1.0,)).row("c")
    with pytest.raises(ConfigError, match="nobody"):
        hold(early(planted()), [], 10, Governor())
    with pytest.raises(ConfigError, match="nothing was measured"):
        winner(History())
    with pytest.raises(ConfigError, match="nothing was measured"):
        read_first_rung(History(), proposer(Decoder(SPACE)))


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    return lambda name: import_module(f"studies.tournament_tables.{name}")


def test_made_up_values_rank_as_well_as_they_should(study):
    rng = np.random.default_rng(0)
    truth, among = rng.exponential(size=8000), np.arange(8000) % 2 == 0
    made = study("populations").synthetic(truth, among, 0.7, rng)
    assert spearmanr(made[among], truth[among]).statistic == pytest.approx(0.7, abs=0.03)
    assert made.min() >= 0
    assert made.max() <= 100
    assert not made[~among].any()


def test_a_training_of_a_columns_epochs_has_its_accuracy(study):
    epochs = study("epochs")
    columns = {
        "val4": np.array([20.0]),
        "val12": np.array([60.0]),
        "val36": np.array([80.0]),
        "val108": np.array([90.0]),
    }
    for name, length in epochs.COLUMNS.items():
        assert epochs.final_accuracy(columns, 0, length, 0.2) == pytest.approx(columns[name][0])
    found = [epochs.final_accuracy(columns, 0, length, 0.2) for length in range(4, 900)]
    assert np.diff(found).min() > 0
    assert epochs.final_accuracy(columns, 0, 900, 0.0) == 90.0
    assert epochs.final_accuracy(columns, 0, 324, 0.2) == pytest.approx(100 - 10 * 3**-0.2)


@pytest.mark.skipif("SPARSENAS_DATA" not in os.environ, reason="SPARSENAS_DATA names no folder with the tables")
@pytest.mark.slow
def test_the_published_cells(study):
    cells, population = study("cells"), study("populations").nasbench201()
    number = [cap.name for cap in population.caps].index("0.60 M")
    first, again = (list(cells.on_nasbench201(population, number, 1, 1)) for _ in range(2))
    assert first == again
    rows = {row["arm"]: row for row in first}
    assert rows["random of the band"]["cifar10"] == pytest.approx(75.06, abs=0.01)  # studies/measured_nasbench201
    assert all(row["spent"] <= cells.TOTAL - cells.FINAL for row in first)
    assert all(0 <= row[name] <= 100 for row in first for name in ("cifar10", "cifar100", "ImageNet16-120"))


@pytest.mark.skipif("SPARSENAS_DATA" not in os.environ, reason="SPARSENAS_DATA names no folder with the tables")
@pytest.mark.slow
def test_final_accuracies_of_the_published_cells_change_no_winner(study):
    cells, population = study("cells"), study("populations").nasbench201()
    number = [cap.name for cap in population.caps].index("no cap")
    finals = [name for name in population.columns if name.endswith("final")]
    count, found = len(population.keys), []
    for numbered in (np.arange(count), np.arange(count)[::-1]):  # a percentile tells the row
        population.columns.update(dict.fromkeys(finals, numbered.astype(float)))
        rows = [row for row in cells.on_nasbench201(population, number, 1, 1) if row["seed"] != ""]
        found.append(np.array([[row[name] for name in ("cifar10", "cifar100", "ImageNet16-120")] for row in rows]))
    np.testing.assert_allclose(found[0] + found[1], 100, atol=0.03)
    assert len(np.unique(found[0])) > 3
