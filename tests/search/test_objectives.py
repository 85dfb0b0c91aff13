"""Objectives of an architecture: costs are exact where they are certain, and every gradient searcher uses them."""

import numpy as np
import pytest
import torch

from sparsenas.complexity import count_macs, count_parameters
from sparsenas.errors import ConfigError
from sparsenas.networks import NetworkConfig, NormOptions, SuperNet
from sparsenas.search import (
    ArchitectureTraining,
    Budget,
    EdgeNormalizedRelaxation,
    FullGradient,
    GumbelRelaxation,
    Objectives,
    PairedLosses,
    RelaxedSearch,
    Resource,
    SoftmaxRelaxation,
    SparseRecovery,
)
from sparsenas.search.baselines.relaxation import RelaxedArchitecture
from sparsenas.search.objectives import ExpectedCost, ObjectiveMeter
from sparsenas.search.optimizers import darts_adam, descent
from sparsenas.spaces import DartsSpace, NasBench201Space, NasBenchMacroSpace
from sparsenas.training import Attack

SPACES = [DartsSpace(nodes=2), NasBench201Space(), NasBenchMacroSpace()]
RELAXATIONS = [SoftmaxRelaxation(), EdgeNormalizedRelaxation(), GumbelRelaxation()]


def named(value):
    return getattr(value, "name", type(value).__name__)


def super_net(space):
    torch.manual_seed(0)
    sizes = {"channels": 4, "cells": 3} if space.name != "nasbench_macro" else {"channels": 4, "cells": 8}
    norms = NormOptions(affine=True, track=True, append="pools_and_skips")
    return SuperNet(space, (3, 16, 16), 10, norms=norms, **sizes)


def relaxed(space):
    return RelaxedArchitecture(space, Budget().constraints(space), torch.Generator().manual_seed(0))


@pytest.mark.parametrize("cost", ["params", "macs"])
@pytest.mark.parametrize("space", SPACES, ids=named)
def test_the_cost_of_one_network_is_exact(space, cost):
    network = super_net(space)
    expected = ExpectedCost(Resource(cost, low=1), network, Budget())
    rng = np.random.default_rng(0)
    for _ in range(5):
        support = space.sample_support(rng)
        derived = network.untrained(space.genotype(support))
        exact = count_parameters(derived) if cost == "params" else count_macs(derived, (3, 16, 16))
        assert expected.of(support) == exact


@pytest.mark.parametrize("relaxation", RELAXATIONS, ids=named)
def test_a_certain_relaxation_has_the_cost_of_its_network(relaxation):
    """Where all edges are kept, one-hot probabilities are a network."""
    space = NasBench201Space()
    network, architecture = super_net(space), relaxed(space)
    expected = ExpectedCost(Resource(low=1), network, Budget())
    support = space.sample_support(np.random.default_rng(1))
    with torch.no_grad():
        architecture.beta.zero_()
        architecture.alpha.fill_(-50.0)
        row = iter(architecture.alpha)
        for kept in support:
            for index in kept:
                next(row)[index % len(space.primitives)] = 50.0
    exact = count_parameters(network.untrained(space.genotype(support)))
    found = float(expected(relaxation.kept(architecture)).detach())
    assert found == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("relaxation", RELAXATIONS, ids=named)
@pytest.mark.parametrize("space", SPACES, ids=named)
def test_as_many_candidates_are_kept_as_a_genotype_has(relaxation, space):
    architecture = relaxed(space)
    for row, block in zip(relaxation.kept(architecture), space.blocks, strict=True):
        assert row.shape == (len(block),)
        assert float(row.sum().detach()) == pytest.approx(space.inputs_per_node, rel=0.05)


@pytest.mark.parametrize("relaxation", RELAXATIONS[:2], ids=named)
def test_the_gradient_of_the_expected_cost_is_that_of_finite_differences(relaxation):
    space = DartsSpace(nodes=2)
    architecture = relaxed(space).double()
    resource = Resource(low=1e5, high=2e5)
    expected = ExpectedCost(resource, super_net(space), Budget())
    with torch.no_grad():
        architecture.alpha.normal_(generator=torch.Generator().manual_seed(2))
        architecture.beta.normal_(generator=torch.Generator().manual_seed(3))

    def penalty(alpha, beta):
        architecture.alpha.data, architecture.beta.data = alpha, beta
        return float(resource.penalty(expected(relaxation.kept(architecture))).detach())

    alpha, beta = architecture.alpha.detach().clone(), architecture.beta.detach().clone()
    value = resource.penalty(expected(relaxation.kept(architecture)))
    gradient, by_edges = torch.autograd.grad(
        value, [architecture.alpha, architecture.beta], allow_unused=True, materialize_grads=True
    )
    step = 1e-5
    for place in ((0, 0), (1, 4), (3, 6)):
        shift = torch.zeros_like(alpha)
        shift[place] = step
        slope = (penalty(alpha + shift, beta) - penalty(alpha - shift, beta)) / (2 * step)
        assert float(gradient[place]) == pytest.approx(slope, rel=1e-4, abs=1e-12)
    for edge in (0, 5):
        shift = torch.zeros_like(beta)
        shift[edge] = step
        slope = (penalty(alpha, beta + shift) - penalty(alpha, beta - shift)) / (2 * step)
        assert float(by_edges[edge]) == pytest.approx(slope, rel=1e-4, abs=1e-12)


def test_the_penalty_is_zero_within_the_bounds_and_grows_outside():
    costs = torch.tensor([50.0, 90.0, 100.0, 150.0, 200.0, 220.0, 300.0], requires_grad=True)
    found = torch.stack([Resource(low=100, high=200).penalty(cost) for cost in costs])
    assert found[2:5].tolist() == [0, 0, 0]
    assert found[0] > found[1] > 0
    assert found[6] > found[5] > 0
    (slope,) = torch.autograd.grad(found.sum(), costs)
    assert slope[2:5].tolist() == [0, 0, 0]
    assert (slope[:2] < 0).all()
    assert (slope[5:] > 0).all()


def test_the_gradient_of_one_network_is_the_cost_of_each_candidate():
    space = DartsSpace(nodes=2)
    meter = ObjectiveMeter(Objectives(Resource(high=1.0)), super_net(space), Budget())
    rows = meter.cost_gradients(space.sample_support(np.random.default_rng(0)), torch.device("cpu"))
    first = meter.expected.rows(torch.device("cpu"))
    scale = float(rows[0].max() / first[0].max())
    for row, costs in zip(rows, first, strict=True):
        torch.testing.assert_close(row, scale * costs)
    (figure,) = (meter.items()["arch/expected_cost"],)
    assert float(figure.compute()) > 0


def test_fixed_weights_add_gradients_up(space):
    objectives = Objectives(Resource(high=1.0), combination="fixed", normalise=False, weights={"resource": 0.5})
    meter = ObjectiveMeter(objectives, super_net(space), Budget())
    first, second = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 4.0])
    assert meter.combine(first, cost=lambda: second).tolist() == [1.0, 2.0]
    assert float(meter.items()["arch/weight_resource"].compute()) == 0.5


ALL = Objectives(Resource(low=1e9), Attack(16.0))
SEARCHES = {
    "two_stage": {"recovery": SparseRecovery(every_n_steps=1), "signal": FullGradient(every=1)},
    "darts": {},
    "darts_second_order": {"second_order": True},
    "gdas": {"relaxation": GumbelRelaxation()},
}


@pytest.fixture
def make(make_search, make_one_stage, space):
    def build(name, objectives, init=0):
        torch.manual_seed(init)
        if name == "one_stage":
            return make_one_stage(init, architecture=ArchitectureTraining(descent, objectives=objectives))
        if name == "two_stage":
            return make_search(init, architecture=ArchitectureTraining(objectives=objectives), **SEARCHES[name])
        network = NetworkConfig(channels=4, cells=3, stem="small")
        training = ArchitectureTraining(darts_adam, objectives=objectives)
        return RelaxedSearch((1, 8, 8), 10, space, network, architecture=training, **SEARCHES[name])

    return build


@pytest.mark.slow
@pytest.mark.parametrize("name", SEARCHES)
def test_objectives_are_logged_and_resumed(make, fit, assert_same_run, name):
    trainer = fit(make(name, ALL), epochs=3, folder="whole")
    figures = trainer.callback_metrics
    weights = [float(figures[f"arch/weight_{objective}"]) for objective in ("loss", "attack", "resource")]
    assert sum(weights) == pytest.approx(1)
    assert min(weights) > 0
    assert figures["arch/attack_loss"] > figures["arch/loss"]
    expected = (1 - float(figures["arch/expected_cost"]) / 1e9) ** 2
    assert float(figures["arch/resource_loss"]) == pytest.approx(expected, rel=1e-4)
    assert {"arch/expected_cost", "arch/weight_attack"} <= set(trainer.lightning_module.logs(multilabel=False))
    folder = trainer.checkpoint_callback.dirpath
    fit(make(name, ALL, init=7), epochs=3, folder="rest", ckpt_path=f"{folder}/epoch=0.ckpt")
    assert_same_run(f"{folder}/epoch=2.ckpt", f"{folder}/../rest/epoch=2.ckpt")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["two_stage", "darts", "gdas", "one_stage"])
def test_a_lower_bound_leads_to_larger_networks_than_an_upper_one(make, fit, fit_one_stage, name):
    found = {}
    for bound, objectives in (
        ("low", Objectives(Resource(low=1e6), combination="fixed", weights={"loss": 0.0})),
        ("high", Objectives(Resource(high=1.0), combination="fixed", weights={"loss": 0.0})),
    ):
        search = make(name, objectives)
        run = fit_one_stage if name == "one_stage" else fit
        run(search, epochs=3, folder=bound, batches=12)
        found[bound] = count_parameters(search.network.untrained(search.genotype))
    assert found["low"] > found["high"]


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("name", ["darts", "two_stage"])
def test_objectives_within_their_bounds_change_nothing(make, fit, name, normalise):
    """A zero gradient is left out, and the direction is as long as the gradient of the loss."""
    plain = make(name, None)
    bounded = make(name, Objectives(Resource(low=1.0, high=1e9), normalise=normalise))
    fit(plain, epochs=1, folder="plain")
    figures = fit(bounded, epochs=1, folder="bounded").callback_metrics
    for one, other in zip(plain.architecture.parameters(), bounded.architecture.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    assert figures["arch/weight_resource"] == figures["arch/resource_loss"] == 0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Resource(), "resource has neither low nor high"),
        (lambda: Resource(low=3, high=2), "resource.low is 3 and resource.high 2: no cost lies between them"),
        (lambda: Resource(low=-1), "resource.low is -1; use a positive number, or null"),
        (lambda: Resource(high=float("inf")), "resource.high is inf; use a positive number, or null"),
        (lambda: Resource("weights", low=1), "resource.cost is 'weights'; use one of params, macs, latency_ms"),
        (lambda: Objectives(), "architecture.objectives combines several objectives, but there is only the loss"),
        (lambda: Objectives(Resource(low=1), combination="sum"), "objectives.combination is 'sum'"),
        (
            lambda: Objectives(Resource(low=1), weights={"loss": 1.0}),
            "objectives.weights are those of combination: fixed",
        ),
        (
            lambda: Objectives(Resource(low=1), combination="fixed", weights={"attack": 1.0}),
            "objectives.weights: attack has 1.0; give loss, resource numbers not below 0",
        ),
        (
            lambda: Objectives(Resource(low=1), combination="fixed", weights={"loss": 0.0, "resource": 0.0}),
            "objectives.weights are all 0",
        ),
        (lambda: Objectives(attack=Attack(300.0)), "epsilon is 300.0, a number of the 255 levels"),
    ],
)
def test_impossible_objectives_are_refused(build, message):
    with pytest.raises(ConfigError) as caught:
        build()
    assert message in str(caught.value)


def test_a_latency_needs_measured_times(make):
    with pytest.raises(ConfigError, match=r"which needs the measured times: set budget\.latency_table"):
        make("darts", Objectives(Resource("latency_ms", low=1)))


def test_a_space_whose_candidates_cost_nothing_cannot_count(make_search):
    space = DartsSpace(nodes=2, primitives=("avg_pool_3x3", "max_pool_3x3"))
    with pytest.raises(ConfigError, match=r"resource\.cost is params, but all candidates of darts have none"):
        make_search(space=space, architecture=ArchitectureTraining(objectives=Objectives(Resource(low=1))))


def test_one_stage_search_has_no_batches_to_attack_for_the_architecture(make_one_stage):
    with pytest.raises(ConfigError, match="one-stage search has none: leave it out"):
        make_one_stage(architecture=ArchitectureTraining(descent, objectives=Objectives(attack=Attack())))


def test_a_bound_above_the_budget_is_refused(make_search):
    objectives = Objectives(Resource(low=17000))
    with pytest.raises(ConfigError, match=r"resource\.low is 17000 params, but the budget allows 12000"):
        make_search(budget=Budget(max_params=12000), architecture=ArchitectureTraining(objectives=objectives))


@pytest.mark.parametrize("name", ["two_stage", "one_stage"])
def test_costs_lie_where_the_architecture_is(make, name):
    """On a device that has no numbers."""
    search = make(name, Objectives(Resource(high=1.0))).to("meta")
    rows = search.meter.cost_gradients(search.support, search.architecture.b.device)
    assert search.architecture.seen(rows, of_sizes=True).device == search.architecture.b.device


@pytest.mark.parametrize("name", ["two_stage", "gdas", "darts"])
def test_both_losses_are_of_the_same_draws(make, fit, name, monkeypatch):
    """An attack that changes nothing has the loss, and the gradient, of the batch itself."""
    objectives = Objectives(attack=Attack(0.0, random_start=False, step_size=1.0), normalise=False)
    search, seen = make(name, objectives), []
    combine = search.meter.combine

    def watch(loss, attacked, cost):
        def look():
            value, gradient = attacked()
            seen.append((loss, gradient))
            return value, gradient

        return combine(loss, look, cost)

    monkeypatch.setattr(search.meter, "combine", watch)
    fit(search, epochs=1)
    assert seen
    for first, second in seen:
        torch.testing.assert_close(first, second)


@pytest.mark.slow
def test_a_signal_with_a_memory_has_one_for_each_loss(make_search, fit):
    objectives = Objectives(attack=Attack(16.0))
    options = {"signal": PairedLosses(), "architecture": ArchitectureTraining(objectives=objectives)}
    search = make_search(**options)
    fit(search, epochs=2)
    assert search.attack_signal is not search.signal
    clean, attacked = search.signal.state_dict(), search.attack_signal.state_dict()
    assert any(not torch.equal(value, attacked[key]) for key, value in clean.items())
