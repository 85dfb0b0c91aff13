import math
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.optimize import Bounds, LinearConstraint, milp

from sparsenas.errors import RecoveryError
from sparsenas.sparse_coding import (
    Cap,
    Constraints,
    CostLimit,
    ExactSolver,
    LarsSolver,
    RecoveryProblem,
    make_dictionary,
)
from sparsenas.sparse_coding.selection import JointRules, JointSelector, non_dominated

SIZES = (4, 6)
GROUPS = ((0, 0, 1, 1), (0, 0, 1, 1, 2, 2))


def build(s=2, m=4, sizes=SIZES, **rules):
    dictionary = make_dictionary("gaussian", sizes, m, torch.Generator().manual_seed(0))
    return RecoveryProblem(dictionary, sizes, s, Constraints(**rules))


def rows(problem, block):
    return [tuple(row) for row in problem.supports[block][problem.feasible[block]].tolist()]


def test_without_rules_all_supports_are_feasible_in_lexicographic_order():
    problem = build()
    assert rows(problem, 0) == list(combinations(range(4), 2))
    assert rows(problem, 1) == list(combinations(range(6), 2))
    assert problem.counts == (6, 15)


@pytest.mark.parametrize(
    ("rules", "keep"),
    [
        ({"max_per_group": 1}, lambda counts, support: max(counts) <= 1),
        ({"max_per_group": 2}, lambda counts, support: max(counts) <= 2),
        ({"forbidden": ((), (1, 4))}, lambda counts, support: not set(support) & {1, 4}),
        (
            {"max_per_group": 1, "forbidden": ((), (0,))},
            lambda counts, support: max(counts) <= 1 and 0 not in support,
        ),
    ],
)
def test_rules_of_one_block_filter_the_supports(rules, keep):
    problem = build(s=3, m=6, sizes=(6, 6), groups=(GROUPS[1],) * 2, **rules)
    expected = [
        support
        for support in combinations(range(6), 3)
        if keep([sum(GROUPS[1][i] == group for i in support) for group in range(3)], support)
    ]
    assert rows(problem, 1) == expected


def test_bases_are_orthonormal_and_pseudo_inverses_invert():
    problem = build()
    for block in range(2):
        for index, support in enumerate(rows(problem, block)):
            columns = problem.dictionary[block][:, list(support)]
            basis = torch.from_numpy(problem.host.basis[block, :, :, index])
            torch.testing.assert_close(basis.T @ basis, torch.eye(2, dtype=torch.float64))
            torch.testing.assert_close(
                torch.from_numpy(problem.host.pseudo_inverse[block, :, :, index].T), torch.linalg.pinv(columns)
            )
            torch.testing.assert_close(basis @ (basis.T @ columns), columns)


def test_lipschitz_constant_is_the_largest_eigenvalue():
    problem = build()
    gram = problem.dictionary.mT @ problem.dictionary
    torch.testing.assert_close(problem.lipschitz, torch.linalg.eigvalsh(gram)[:, -1])


def test_nothing_is_enumerated_for_a_free_lasso():
    """80 choose 5 supports are 24 million."""
    problem = build(s=5, m=12, sizes=(80, 80))
    assert len(LarsSolver().solve(problem, torch.ones(2, 12)).indices[0]) == 5
    with pytest.raises(RecoveryError, match=r"block 0: more than 100,000 supports of 5 out of 80 .* use LarsSolver"):
        ExactSolver().solve(problem, torch.ones(2, 12))


def test_a_budget_that_is_met_to_the_last_digit_counts_as_met():
    """0.1 + 0.2 exceeds 0.3 in floating point."""
    budget = CostLimit(((0.1,) * 4, (0.2, 0.2, 1.0, 1.0, 1.0, 1.0)), 0.3, (0, 1), "cost")
    assert 0.1 + 0.2 > 0.3
    assert rows(build(s=1, limits=(budget,)), 0)
    assert ExactSolver().solve(build(s=1, limits=(budget,)), torch.ones(2, 4)).indices[1][0] < 2


def test_blocks_outside_a_joint_rule_are_free():
    free = ExactSolver().solve(build(), torch.ones(2, 4)).indices
    cap = Cap((tuple(range(4)), ()), 2, (0,), "all")
    assert ExactSolver().solve(build(caps=(cap,)), torch.ones(2, 4)).indices == free


def test_a_short_b_has_as_much_say_as_a_long_one():
    """Only one block may keep its favourite; which one must not depend on the length of b."""
    eye = torch.eye(2, dtype=torch.float64).repeat(2, 1, 1)
    cap = Cap(((0,), (0,)), 1, (0, 1), "favourite")
    problem = RecoveryProblem(eye, (2, 2), 1, Constraints(caps=(cap,)))
    b = torch.tensor([[0.9, 0.1], [0.7, 0.3]])
    for scale in (1e-3, 1.0, 1e3):
        assert ExactSolver().solve(problem, b * torch.tensor([[1.0], [scale]])).indices == ((0,), (1,))


@pytest.mark.parametrize("width", [0, 1, 2, 3])
def test_non_dominated_keeps_exactly_what_nothing_beats(width):
    rng = np.random.default_rng(width)
    score, use = rng.integers(0, 6, 60).astype(float), rng.integers(0, 4, (60, width)).astype(float)
    kept = set(non_dominated(score, use).tolist())

    def at_least(i, j):
        return score[i] >= score[j] and (use[i] <= use[j]).all()

    for j in range(60):
        assert any(at_least(i, j) for i in kept)
    assert not any(at_least(i, j) for i in kept for j in kept if i != j)


DICTIONARY = torch.ones(2, 4, 6, dtype=torch.float64)
DICTIONARY[0, :, 4:] = 0


@pytest.mark.parametrize(
    ("dictionary", "sizes", "s", "message"),
    [
        (DICTIONARY[0], SIZES, 2, r"dictionary has shape \(4, 6\); expected \(blocks, m, largest block\)"),
        (DICTIONARY.float(), SIZES, 2, r"dictionary is torch.float32; recovery computes in torch.float64"),
        (DICTIONARY, (4,), 2, r"sizes lists 1 blocks, the dictionary of shape \(2, 4, 6\) 2"),
        (DICTIONARY, (4, 7), 2, r"block 1: size is 7; the dictionary has 1 to 6 columns"),
        (DICTIONARY, (3, 6), 2, r"block 0: columns past its size 3 must be zero"),
        (DICTIONARY * math.nan, SIZES, 2, r"block 0: the dictionary holds numbers that are not finite"),
        (DICTIONARY, SIZES, 0, r"sparsity is 0; keep at least 1 candidate"),
        (DICTIONARY, SIZES, 5, r"block 0: sparsity is 5, but the block has only 4 candidates"),
        (DICTIONARY, SIZES, 3, r"block 1: m is 4; .* 3 non-zeros among 6 candidates needs m >= 6"),
    ],
)
def test_malformed_problems(dictionary, sizes, s, message):
    with pytest.raises(RecoveryError, match=message):
        RecoveryProblem(dictionary, sizes, s)


def cap(at_most, blocks=(0, 1), members=(tuple(range(4)), tuple(range(6)))):
    return Cap(members, at_most, blocks, "skips")


def budget(at_most, cost=2.0, blocks=(0, 1), sizes=SIZES, fixed=0.0):
    return CostLimit(tuple((cost,) * size for size in sizes), at_most, blocks, "params", fixed)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"max_per_group": 1}, r"max_per_group is set, but constraints.groups is not"),
        ({"max_per_group": 1, "groups": GROUPS[:1]}, r"constraints.groups has 1 entries; expected one per block, 2"),
        (
            {"max_per_group": 1, "groups": (GROUPS[0], GROUPS[0])},
            r"constraints.groups of block 1 has 4 numbers; expected one per candidate, 6",
        ),
        ({"max_per_group": 0, "groups": GROUPS}, r"constraints.max_per_group is 0; keep at least 1"),
        (
            {"max_per_group": 1, "groups": ((0, 0, 0, 0), GROUPS[1])},
            r"block 0: constraints.max_per_group is 1, which allows supports of at most 1 candidates; "
            r"the sparsity is 2$",
        ),
        (
            {"forbidden": ((0, 1, 2), ())},
            r"block 0: 2 candidates must be kept, but constraints.forbidden leaves 1 of 4",
        ),
        ({"forbidden": ((), (6,))}, r"constraints.forbidden of block 1: there is no candidate 6; .* 0 to 5"),
        ({"forbidden": ((),)}, r"constraints.forbidden has 1 entries; expected one per block, 2"),
        ({"caps": (cap(1, blocks=(2,)),)}, r"cap 'skips': there is no block 2; blocks are 0 to 1"),
        ({"caps": (cap(1, blocks=()),)}, r"cap 'skips': blocks is \[\]; list at least one block, each once"),
        ({"caps": (cap(1, members=((4,), ())),)}, r"cap 'skips': members of block 0: there is no candidate 4"),
        ({"caps": (cap(3),)}, r"^skips is 3, but the smallest value that can be reached is 4$"),
        ({"limits": (budget(7.5),)}, r"^params is 7.5, but the smallest value that can be reached is 8$"),
        ({"limits": (budget(3.5, blocks=(1,)),)}, r"^params is 3.5, but the smallest value that can be reached is 4$"),
        ({"limits": (budget(math.inf),)}, r"budget 'params': at_most is inf; it must be a finite number"),
        ({"limits": (budget(9, cost=math.nan),)}, r"budget 'params': costs must be finite numbers"),
        ({"limits": (budget(9, fixed=math.inf),)}, r"budget 'params': fixed is inf; it must be a finite number"),
        (
            {"limits": (budget(3_400_001, fixed=3_400_000),)},
            r"^params is 3400001, but the smallest value that can be reached is 3400008$",
        ),
        ({"limits": (budget(9, sizes=(4, 5)),)}, r"costs of block 1 has 5 numbers; expected one per candidate, 6"),
    ],
)
def test_malformed_and_unreachable_rules(rules, message):
    with pytest.raises(RecoveryError, match=message):
        build(**rules)


def test_limits_at_the_smallest_reachable_value_are_met():
    assert build(limits=(budget(8.0),), caps=(cap(4),)).counts == (6, 15)
    assert build(limits=(budget(1_008.0, fixed=1_000.0),)).counts == (6, 15)


def test_the_best_choice_of_a_long_chain_is_that_of_integer_programming():
    """14 to 20 blocks of up to six candidates, one kept of each, under two limits."""
    rng = np.random.default_rng(0)
    for _ in range(15):
        sizes = rng.integers(1, 7, size=int(rng.integers(14, 21))).tolist()
        costs = [[tuple(float(x) for x in rng.integers(1, 100, size=n)) for n in sizes] for _ in range(2)]
        blocks = tuple(range(len(sizes)))
        limits = [
            sum(min(row) for row in rows) + float(rng.uniform(0.05, 0.6)) * sum(max(row) - min(row) for row in rows)
            for rows in costs
        ]
        constraints = Constraints(
            limits=tuple(
                CostLimit(tuple(rows), most, blocks, f"limit {i}")
                for i, (rows, most) in enumerate(zip(costs, limits, strict=True))
            )
        )
        scores = [rng.normal(size=n) for n in sizes]
        rules = JointRules.of([np.arange(n)[:, None] for n in sizes], constraints)
        chosen = JointSelector(rules).best(scores)
        one_of = np.zeros((len(sizes), sum(sizes)))
        for row, stop in enumerate(np.cumsum(sizes)):
            one_of[row, stop - sizes[row] : stop] = 1
        found = milp(
            -np.concatenate(scores),
            constraints=[
                LinearConstraint(one_of, 1, 1),
                LinearConstraint(np.array([np.concatenate(rows) for rows in costs]), ub=limits),
            ],
            integrality=np.ones(sum(sizes)),
            bounds=Bounds(0, 1),
        )
        if chosen is None:
            assert found.status == 2  # infeasible
            continue
        total = sum(row[index] for row, index in zip(scores, chosen, strict=True))
        assert total == pytest.approx(-found.fun, abs=1e-6)
        assert all(
            sum(row[i] for row, i in zip(rows, chosen, strict=True)) <= most
            for rows, most in zip(costs, limits, strict=True)
        )
