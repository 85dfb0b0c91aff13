"""What was found beside architectures that need no search, with shared weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from sparsenas.complexity import candidate_costs
from sparsenas.networks import batch_statistics
from sparsenas.search import Budget, SharedResult, compare_with_baselines
from sparsenas.search.size_band import SizeBand

RESULT = SharedResult(
    support=((0,),),
    loss=1.25,
    largest=((1,),),
    largest_loss=1.5,
    random_losses=(2.0, 3.0),
    beats_largest=0.95,
    beats_random=0.99,
    images=500,
)
NO_PROOF = "No proof that it is better: shared weights serve what was trained most"
BY = "(loss with shared weights on 500 images, 1000 bootstraps)"


@pytest.fixture(autouse=True)
def _short_walks(monkeypatch):
    monkeypatch.setattr("sparsenas.search.size_band.STEPS", 20)


@pytest.fixture
def batches(batch):
    """Three batches, one of them smaller than the others."""
    x, labels = batch
    return [(x, labels), (x.flip(0), labels.flip(0)), (x[:5], labels[:5])]


def band_of(search):
    costs = candidate_costs(search.network)
    rules = search.budget.constraints(search.space, costs)
    return SizeBand(search.space, rules, costs.parameters, costs.base_parameters, seed=search.seed)


@torch.no_grad()
def loss_of(search, support, batches):
    """What was found enters with the weights of its code, everything else with equal ones of norm 1."""
    weights = torch.full((len(support), 2), 2**-0.5)
    if support == search.support:
        weights = search.architecture.weights()
    search.network.eval()
    with batch_statistics(search.network):
        losses = [
            functional.cross_entropy(search.network(x, support, weights), y, reduction="none") for x, y in batches
        ]
    search.network.train()
    return torch.cat(losses).mean().item()


@pytest.mark.slow
@pytest.mark.parametrize("capped", [False, True])
@pytest.mark.parametrize("stages", [1, 2])
def test_losses_are_those_of_the_shared_weights(make_search, make_one_stage, batches, stages, capped):
    make = make_search if stages == 2 else make_one_stage
    search = make()
    if capped:
        free = band_of(search)
        cap = free.effective_cost(free.largest) - 1
        search = make(budget=Budget(max_params=cap))
    result, band = compare_with_baselines(search, batches), band_of(search)
    assert not capped or band.effective_cost(result.largest) <= cap
    assert (result.support, result.largest, result.images) == (search.support, band.largest, 37)
    assert result.loss == pytest.approx(loss_of(search, search.support, batches), rel=1e-5)
    assert result.largest_loss == pytest.approx(loss_of(search, band.largest, batches), rel=1e-5)
    drawn = [s for s in band.draw(9, np.random.default_rng(search.seed)) if s != band.largest][:8]
    assert len(result.random_losses) == len(drawn) == 8
    for loss, support in zip(result.random_losses, drawn, strict=True):
        assert loss == pytest.approx(loss_of(search, support, batches), rel=1e-5)
    assert all(search.budget.constraints(search.space, candidate_costs(search.network)).allows(s) for s in drawn)


def test_it_changes_nothing_and_repeats(make_search, batches):
    search = make_search()
    search.network.train()
    before, rng = {n: v.clone() for n, v in search.state_dict().items()}, torch.get_rng_state()
    first = compare_with_baselines(search, batches)
    assert compare_with_baselines(search, batches) == first
    assert search.network.training
    assert torch.equal(torch.get_rng_state(), rng)
    assert all(torch.equal(value, before[name]) for name, value in search.state_dict().items())


def test_a_lead_on_every_image_is_certain(make_search, batches, monkeypatch):
    """And one on half of them is not."""
    search = make_search()
    largest = band_of(search).largest

    def losses(lead):
        def of(search, supports, batches):
            rows = np.ones((len(supports), 200))
            rows[0] -= lead
            return rows

        return of

    assert search.support != largest
    for lead, share in ((0.1, 1.0), (-0.1, 0.0), (0.1 * (-1.0) ** np.arange(200), 0.5)):
        monkeypatch.setattr("sparsenas.search.shared_result._losses", losses(lead))
        result = compare_with_baselines(search, batches)
        assert result.beats_largest == pytest.approx(share, abs=0.05)
        assert result.beats_random == result.beats_largest
        assert result.summary.startswith("no better than the largest network") == (share < 0.9)


def test_the_bootstrap_is_as_wide_as_theory_says(make_search, batches, monkeypatch):
    """A lead of one standard error is ahead in 84 % of bootstraps."""
    search, rng = make_search(), np.random.default_rng(0)
    gap = rng.normal(size=400)
    gap = (gap - gap.mean()) / gap.std() + 400**-0.5
    rows = np.concatenate([np.zeros((1, 400)), np.tile(gap, (9, 1))])
    monkeypatch.setattr("sparsenas.search.shared_result._losses", lambda *_: rows)
    assert compare_with_baselines(search, batches).beats_largest == pytest.approx(0.841, abs=0.04)


@pytest.mark.parametrize(
    ("changes", "summary"),
    [
        (
            {},
            "the network found (1.250) and the largest one: ahead of it (1.500) in 95%; ahead of random networks of "
            f"nearly that size (2.500) in 99% {BY}. {NO_PROOF}",
        ),
        (
            {"beats_largest": 0.4},
            "no better than the largest network at this budget: the network found (1.250) is ahead of it (1.500) in "
            f"40%; ahead of random networks of nearly that size (2.500) in 99% {BY}",
        ),
        (
            {"largest": ((0,),), "largest_loss": 1.25, "beats_largest": 1.0},
            f"the largest network (1.250); ahead of random networks of nearly that size (2.500) in 99% {BY}",
        ),
        (
            {"random_losses": (), "beats_random": None},
            f"the network found (1.250) and the largest one: ahead of it (1.500) in 95% {BY}. {NO_PROOF}",
        ),
    ],
)
def test_summaries(changes, summary):
    assert replace(RESULT, **changes).summary == summary
