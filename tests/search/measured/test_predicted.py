"""Proposals of a predictor in a tournament."""

import math

import numpy as np
import pytest

from sparsenas.errors import BudgetError, ConfigError
from sparsenas.networks import NetworkConfig
from sparsenas.search import Budget, Tournament
from sparsenas.search.measured.field import Entry
from sparsenas.search.measured.history import Entrant, Measurement
from sparsenas.search.measured.predicted import PredictedProposals
from sparsenas.search.measured.proposals import identity
from sparsenas.spaces import REFERENCES, DartsSpace, Genotype, StageSpace

SPACE = StageSpace(stages=2, layers=2, types=["conv_3x3", "residual_3x3", "sep_conv_3x3"], growths=[1.0, 2.0])


def worth(genotype):
    """Number of residual layers."""
    return sum(c.primitive.startswith("residual") for _, kept in genotype.cells for c in kept)


def measured(genotypes):
    return [
        Measurement(Entrant(number, genotype.to_json(), "random"), 0, (math.exp(-worth(genotype)),) * 4, 0.5, 1.0, 1.0)
        for number, genotype in enumerate(genotypes)
    ]


def draws(count, space=SPACE):
    rng = np.random.default_rng(0)
    return [space.sample(rng) for _ in range(count)]


def keys(genotypes):
    return {genotype.to_json() for genotype in genotypes}


@pytest.mark.slow
def test_proposals_are_better_than_what_was_measured_and_new():
    known = draws(30)
    proposer = PredictedProposals(SPACE, lambda genotype: True, "random_forest", seed=0)
    proposed = proposer.propose(measured(known), keys(known), 5)
    assert len({identity(key) for key in keys(proposed)} - {identity(key) for key in keys(known)}) == 5
    assert np.mean([*map(worth, proposed)]) > np.mean([*map(worth, known)]) + 1
    assert proposer.propose(measured(known), keys(known), 5) == proposed


@pytest.mark.slow
def test_only_what_fits_is_proposed_and_nothing_that_has_entered():
    known = draws(20)
    fits = lambda genotype: worth(genotype) <= 2  # noqa: E731  # a rule for this test
    proposer = PredictedProposals(SPACE, fits, "random_forest", seed=0)
    first = proposer.propose(measured(known), keys(known), 3)
    second = proposer.propose(measured(known), keys([*known, *first]), 3)
    assert all(map(fits, [*first, *second]))
    assert not {identity(key) for key in keys(first)} & {identity(key) for key in keys(second)}
    nothing = PredictedProposals(SPACE, lambda genotype: False, "random_forest", seed=0)
    with pytest.raises(BudgetError, match="random networks of the space keeps the budget: raise it"):
        nothing.propose(measured(known), keys(known), 3)


def test_few_measurements_give_random_networks():
    known = draws(1)
    proposer = PredictedProposals(SPACE, lambda genotype: True, "random_forest", seed=0)
    assert len(proposer.propose(measured(known), keys(known), 4)) == 4


def test_networks_outside_of_the_space_teach_nothing():
    references = [reference.genotype for reference in REFERENCES.values()]
    proposer = PredictedProposals(SPACE, lambda genotype: True, "random_forest", seed=0)
    assert len(proposer.propose(measured(references), keys(references), 2)) == 2


def test_a_large_space_without_a_code_gets_proposals():
    space = DartsSpace()
    proposer = PredictedProposals(space, lambda genotype: True, "random_forest", seed=0)
    known = draws(10, space)
    measurements = [
        Measurement(Entrant(n, g.to_json(), "random"), 0, (float(n),) * 4, 0.5, 1.0, 1.0) for n, g in enumerate(known)
    ]
    assert len(proposer.propose(measurements, keys(known), 3)) == 3


def test_a_tournament_asks_the_predictor():
    options = Tournament(prior="none", references="none", predictor="random_forest")
    budget, network = Budget(max_params=40_000, max_macs=2e6), NetworkConfig(channels=None, cells=None)
    entry = Entry(SPACE, (3, 32, 32), 10, network, budget, options, 0)
    known = draws(12)
    proposed = entry.field.propose(measured(known), keys(known), 2)
    assert len(proposed) == 2
    assert all(entry.fits(Genotype.from_json(key)) for key in proposed)
    with pytest.raises(ConfigError, match=r"tournament\.predictor is 'sotl'; use null, or one of acenas"):
        Entry(SPACE, (3, 32, 32), 10, network, budget, Tournament(predictor="sotl"), 0)
