"""Limits of the recovered network: every recovery keeps them, and the message says what could be reached."""

import re

import pytest
import torch

from sparsenas.complexity import candidate_costs, describe
from sparsenas.errors import ConfigError, RecoveryError
from sparsenas.search import Budget, SparseRecovery
from sparsenas.sparse_coding import ExactSolver, FistaSolver, LarsSolver

SHAPE = (1, 8, 8)


@pytest.fixture
def network(make_network):
    return make_network()


@pytest.fixture
def make_problem(network):
    """Options are those of the budget."""

    def make(**options):
        constraints = Budget(**options).of_network(network)
        return SparseRecovery().problem(network.space, torch.Generator().manual_seed(0), constraints)

    return make


def recovered(network, solver, problem, count=16):
    """Complexities of the networks recovered from random compressed parameters, and their supports."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        support = solver.solve(problem, torch.randn(4, 8, generator=generator)).indices
        yield describe(network.derive(network.space.genotype(support)), SHAPE), support


@pytest.mark.slow
@pytest.mark.parametrize(
    "solver", [ExactSolver(), ExactSolver(nonnegative=True), LarsSolver(), FistaSolver()], ids=repr
)
def test_derived_nets_of_all_recoveries_are_within_the_limits(network, make_problem, solver):
    free = list(recovered(network, solver, make_problem()))
    params = sorted(found.parameters for found, _ in free)[len(free) // 3]
    macs = sorted(found.macs for found, _ in free)[len(free) // 3]
    problem = make_problem(max_params=params, max_macs=macs, max_per_cell={"normal": {"skip_connect": 0}})
    limited = list(recovered(network, solver, problem))
    assert all(found.parameters <= params and found.macs <= macs for found, _ in limited)
    assert any(found.parameters > params for found, _ in free)
    skips = {candidate.primitive for _, s in limited for candidate in network.space.genotype(s).cell("normal")}
    assert "skip_connect" not in skips


def smallest(problem, rule):
    """The number in the message of a limit nobody can meet."""
    with pytest.raises(
        RecoveryError, match=rf"^budget.{rule} is 1, but the smallest value .* is \d+; lower "
    ) as caught:
        problem(**{rule: 1})
    return int(re.findall(r" is (\d+); ", str(caught.value))[0])


@pytest.mark.parametrize(("rule", "attribute"), [("max_params", "parameters"), ("max_macs", "macs")])
def test_the_smallest_value_of_the_message_is_the_smallest_network(network, make_problem, rule, attribute):
    least = smallest(make_problem, rule)
    for found, _ in recovered(network, ExactSolver(), make_problem(**{rule: least}), count=3):
        assert getattr(found, attribute) == least
    with pytest.raises(RecoveryError, match=rf"^budget.{rule} is {least - 1}, but"):
        make_problem(**{rule: least - 1})


def test_a_limit_that_a_cap_rules_out_says_what_it_would_take(network, make_problem):
    """The smallest network lives on pools and skips."""
    least = smallest(make_problem, "max_params")
    cap = {"normal": {"skip_connect": 1, "avg_pool_3x3": 1}}
    with pytest.raises(RecoveryError) as caught:
        make_problem(max_params=least, max_per_cell=cap, max_macs=10_000_000)
    found = re.fullmatch(
        rf"budget.max_params is {least}, which cannot be met together with (.*): "
        r"with all other rules kept, the smallest value that can be reached is (\d+); lower network.channels or .*",
        str(caught.value),
    )
    others = "budget.max_per_cell[normal][skip_connect] (1), budget.max_per_cell[normal][avg_pool_3x3] (1)"
    assert found[1] == others
    needed = int(found[2])
    assert needed > least
    problem = make_problem(max_params=needed, max_per_cell=cap, max_macs=10_000_000)
    assert {found.parameters for found, _ in recovered(network, ExactSolver(), problem, count=3)} == {needed}


def test_only_limits_of_the_network_need_costs(space):
    cap = Budget(max_per_cell={"normal": {"skip_connect": 2}})
    assert not cap.needs_costs
    assert len(cap.constraints(space).caps) == 1
    for options in ({"max_params": 1e6}, {"max_macs": 1e6}):
        budget = Budget(**options)
        assert budget.needs_costs
        with pytest.raises(ConfigError, match=r"limits of a network: pass costs=candidate_costs\(network\)"):
            budget.constraints(space)


def test_constraints_of_a_network_are_those_by_its_costs(network):
    budget = Budget(max_params=1e5, max_macs=1e7, forbidden=("skip_connect",))
    assert budget.of_network(network) == budget.constraints(network.space, candidate_costs(network))


@pytest.mark.parametrize("name", ["max_params", "max_macs"])
@pytest.mark.parametrize("value", [0, -1.0, float("inf"), float("nan")])
def test_limits_are_positive_numbers(name, value):
    with pytest.raises(ConfigError, match=rf"budget.{name} is {value}; use a positive number, or null for no limit"):
        Budget(**{name: value})
