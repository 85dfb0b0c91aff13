import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import nnls

from sparsenas.errors import RecoveryError
from sparsenas.sparse_coding import (
    Cap,
    Constraints,
    CostLimit,
    ExactSolver,
    RecoveryProblem,
    make_dictionary,
    selection,
)
from sparsenas.sparse_coding.recovery import truncate

SIZES = (14, 21, 28, 35)


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("kind", ["uniform", "gaussian", "low_coherence"])
def test_recovers_every_exact_code(kind, nonnegative):
    """Codes of any sign, or positive ones if only those are kept."""
    sizes = SIZES * 10
    generator = torch.Generator().manual_seed(0)
    dictionary = make_dictionary(kind, sizes, 7, generator)
    pairs = torch.stack([torch.randperm(n, generator=generator)[:2].sort().values for n in sizes])
    kept = torch.randn(len(sizes), 2, generator=generator, dtype=torch.float64)
    kept = kept.abs() if nonnegative else kept
    code = torch.zeros(len(sizes), 35, dtype=torch.float64).scatter_(1, pairs, kept)
    problem, b = RecoveryProblem(dictionary, sizes, 2), (dictionary @ code[:, :, None])[:, :, 0]
    recovery = ExactSolver(nonnegative).solve(problem, b)
    assert torch.equal(recovery.support, pairs)
    torch.testing.assert_close(recovery.code, code, rtol=1e-8, atol=1e-10)
    assert recovery.certificate.residual.max() < 1e-10


@pytest.mark.parametrize(("s", "m"), [(1, 2), (2, 4), (3, 6), (2, 9)])
def test_residual_is_the_least_over_all_supports(s, m):
    sizes = (5, 7, 3)
    generator = torch.Generator().manual_seed(s)
    dictionary = make_dictionary("gaussian", sizes, m, generator)
    b = torch.randn(3, m, generator=generator, dtype=torch.float64)
    recovery = ExactSolver().solve(RecoveryProblem(dictionary, sizes, s), b)
    for block, size in enumerate(sizes):
        residuals = {
            support: _residual(dictionary[block].numpy(), b[block].numpy(), support)
            for support in itertools.combinations(range(size), s)
        }
        assert recovery.indices[block] == min(residuals, key=residuals.__getitem__)
        norm = torch.linalg.vector_norm(b[block]).item()
        assert recovery.certificate.residual[block].item() == pytest.approx(min(residuals.values()) / norm, abs=1e-12)


def test_dependent_columns_explain_what_they_span():
    """Columns 0 and 1 are equal: together they span a line, and the pair (0, 2) is better."""
    dictionary = torch.tensor([[[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]], dtype=torch.float64)
    problem = RecoveryProblem(dictionary, (3,), 2)
    recovery = ExactSolver().solve(problem, torch.tensor([[3.0, 1.0, 1.0]]))
    assert recovery.indices == ((0, 2),)
    torch.testing.assert_close(recovery.code, torch.tensor([[3.0, 0.0, 1.0]], dtype=torch.float64))
    only = RecoveryProblem(dictionary, (3,), 2, Constraints(forbidden=((2,),)))
    torch.testing.assert_close(
        ExactSolver().solve(only, torch.tensor([[3.0, 1.0, 1.0]])).code,
        torch.tensor([[1.5, 1.5, 0.0]], dtype=torch.float64),
    )


def test_equal_supports_go_to_the_first():
    dictionary = torch.ones(1, 4, 6, dtype=torch.float64)
    assert ExactSolver().solve(RecoveryProblem(dictionary, (6,), 2), torch.ones(1, 4)).indices == ((0, 1),)


def test_a_distinct_edge_problem_never_keeps_two_candidates_of_one_edge():
    groups = tuple(tuple(index // 7 for index in range(size)) for size in SIZES)
    dictionary = make_dictionary("gaussian", SIZES, 7, torch.Generator().manual_seed(0))
    problem = RecoveryProblem(dictionary, SIZES, 2, Constraints(groups=groups, max_per_group=1))
    assert problem.counts == (49, 147, 294, 490)
    for seed in range(20):
        b = torch.randn(4, 7, generator=torch.Generator().manual_seed(seed))
        for (first, second), edges in zip(ExactSolver().solve(problem, b).indices, groups, strict=True):
            assert edges[first] != edges[second]


@pytest.mark.parametrize(("s", "m"), [(1, 2), (2, 4), (3, 6), (2, 9)])
def test_nonnegative_is_the_best_support_on_which_nonnegative_least_squares_keeps_everything(s, m):
    sizes = (5, 7, 3, 9)
    changed = 0
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        dictionary = make_dictionary("gaussian", sizes, m, generator)
        b = torch.randn(len(sizes), m, generator=generator, dtype=torch.float64)
        problem = RecoveryProblem(dictionary, sizes, s)
        free, recovery = ExactSolver().solve(problem, b), ExactSolver(nonnegative=True).solve(problem, b)
        for block, size in enumerate(sizes):
            fits = {
                support: nnls(dictionary[block][:, list(support)].numpy(), b[block].numpy())
                for support in itertools.combinations(range(size), s)
            }
            positive = {support: residual for support, (code, residual) in fits.items() if (code > 0).all()}
            if not positive:
                assert recovery.indices[block] == free.indices[block]
                continue
            best = min(positive, key=positive.__getitem__)
            assert recovery.indices[block] == best
            code = recovery.code[block, list(best)].numpy()
            np.testing.assert_allclose(code, fits[best][0], rtol=1e-6, atol=1e-9)
            changed += best != free.indices[block]
    assert changed > 20


def test_a_block_without_positive_codes_keeps_the_best_one():
    """Every column of the first block points away from its b; the second one has a positive code."""
    dictionary = torch.eye(3, dtype=torch.float64).repeat(2, 1, 1)
    b = torch.tensor([[-3.0, -1.0, -2.0], [-3.0, 1.0, 2.0]])
    recovery = ExactSolver(nonnegative=True).solve(RecoveryProblem(dictionary, (3, 3), 2), b)
    assert recovery.indices == ((0, 2), (1, 2))
    assert recovery.code.tolist() == [[-3.0, 0.0, -2.0], [0.0, 1.0, 2.0]]


def test_as_few_blocks_as_possible_are_left_without_a_positive_code():
    """Only one block may keep candidate 0, without which its code is negative; the larger energies do not count."""
    dictionary = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]], dtype=torch.float64).repeat(3, 1, 1)
    cap = Cap(((0,), (1,), (1,)), 1, (0, 1, 2), "one")
    problem = RecoveryProblem(dictionary, (2, 2, 2), 1, Constraints(caps=(cap,)))
    b = torch.tensor([[0.1, -9.0], [1.0, 9.0], [0.1, 9.0]])
    assert ExactSolver().solve(problem, b).indices == ((1,), (0,), (1,))
    assert ExactSolver(nonnegative=True).solve(problem, b).indices == ((0,), (0,), (0,))


def _residual(columns, target, support):
    kept = columns[:, support]
    return float(np.linalg.norm(kept @ np.linalg.lstsq(kept, target, rcond=None)[0] - target))


class RandomProblem:
    """A small problem with random rules, solved by trying everything."""

    def __init__(self, seed):
        self.rng = rng = np.random.default_rng(seed)
        self.s = int(rng.integers(1, 3))
        self.sizes = tuple(int(n) for n in rng.integers(self.s + 1, 6, size=rng.integers(2, 4)))
        self.m = int(rng.integers(2 * self.s, 6))
        generator = torch.Generator().manual_seed(seed)
        self.dictionary = make_dictionary("gaussian", self.sizes, self.m, generator)
        self.b = torch.randn(len(self.sizes), self.m, generator=generator, dtype=torch.float64)
        self.constraints = Constraints(
            groups=tuple(tuple(int(g) for g in rng.integers(0, 3, size=n)) for n in self.sizes),
            max_per_group=1 if rng.random() < 0.5 else None,
            forbidden=tuple((0,) if n > self.s + 1 and rng.random() < 0.3 else () for n in self.sizes),
            caps=tuple(self.cap(i) for i in range(rng.integers(0, 3))),
            limits=tuple(self.budget(i) for i in range(rng.integers(0, 3))),
        )

    def some_blocks(self):
        count = len(self.sizes)
        return tuple(
            sorted(int(i) for i in self.rng.choice(count, size=self.rng.integers(1, count + 1), replace=False))
        )

    def cap(self, index):
        members = tuple(tuple(i for i in range(n) if self.rng.random() < 0.5) for n in self.sizes)
        return Cap(members, int(self.rng.integers(0, 3)), self.some_blocks(), f"cap {index}")

    def budget(self, index):
        costs = tuple(tuple(float(c) for c in self.rng.normal(1.0, 1.0, size=n)) for n in self.sizes)
        at_most, fixed = float(self.rng.uniform(0.5, 4.0)), float(self.rng.uniform(0.0, 9.0) * index)
        return CostLimit(costs, at_most + fixed, self.some_blocks(), f"budget {index}", fixed)

    def supports(self, block):
        rules = self.constraints
        for support in itertools.combinations(range(self.sizes[block]), self.s):
            edges = [rules.groups[block][i] for i in support]
            distinct = rules.max_per_group is None or len(set(edges)) == len(edges)
            if distinct and not set(support) & set(rules.forbidden[block]):
                yield support

    def use(self, block, support):
        caps = [sum(i in cap.members[block] for i in support) * (block in cap.blocks) for cap in self.constraints.caps]
        costs = [
            sum(rule.costs[block][i] for i in support) * (block in rule.blocks) for rule in self.constraints.limits
        ]
        return np.array([*caps, *costs], dtype=np.float64)

    def brute_force(self, score):
        """Best sum of ``score(block, support)`` over all feasible joint selections; -inf if there is none."""
        rules = [*self.constraints.caps, *self.constraints.limits]
        fixed = np.array([getattr(rule, "fixed", 0.0) for rule in rules])
        limits = np.array([rule.at_most + 1e-9 * abs(rule.at_most) for rule in rules]) - fixed
        per_block = [
            [(score(block, support), self.use(block, support)) for support in self.supports(block)]
            for block in range(len(self.sizes))
        ]
        totals, uses = np.zeros(1), np.zeros((1, len(rules)))
        for rows in per_block:
            if not rows:
                return -math.inf
            totals = (totals[:, None] + np.array([row[0] for row in rows])).ravel()
            uses = (uses[:, None] + np.array([row[1] for row in rows])).reshape(len(totals), -1)
        feasible = (uses <= limits).all(1)
        return totals[feasible].max() if feasible.any() else -math.inf

    def explained(self, block, support):
        target = self.b[block].numpy()
        return 1 - (_residual(self.dictionary[block].numpy(), target, support) / np.linalg.norm(target)) ** 2

    def signed(self, block, support):
        """One positive code outweighs all energies."""
        code, _ = nnls(self.dictionary[block].numpy()[:, support], self.b[block].numpy())
        return self.explained(block, support) + 100 * bool((code > 0).all())


@pytest.mark.slow
@pytest.mark.parametrize("hundred", range(10))
def test_equals_brute_force_on_1000_random_problems(hundred, monkeypatch):
    """Also for the truncation of dense codes, and for the claim that there is no feasible support at all.

    Small problems do without the Lagrangian bound; every other hundred is made to use it.
    """
    if hundred % 2:
        monkeypatch.setattr(selection, "WIDE", 0)
    solved = bound = 0
    for seed in range(100 * hundred, 100 * hundred + 100):
        case = RandomProblem(seed)
        best = case.brute_force(case.explained)
        if best == -math.inf:
            with pytest.raises(RecoveryError):
                RecoveryProblem(case.dictionary, case.sizes, case.s, case.constraints)
            continue
        problem = RecoveryProblem(case.dictionary, case.sizes, case.s, case.constraints)
        recovery = ExactSolver().solve(problem, case.b)
        assert all(kept in set(case.supports(block)) for block, kept in enumerate(recovery.indices))
        assert (1 - recovery.certificate.residual.square()).sum().item() == pytest.approx(best, abs=1e-9)
        chosen = sum(case.explained(block, kept) for block, kept in enumerate(recovery.indices))
        assert chosen == pytest.approx(best, abs=1e-9)
        positive = ExactSolver(nonnegative=True).solve(problem, case.b)
        assert all(kept in set(case.supports(block)) for block, kept in enumerate(positive.indices))
        chosen = sum(case.signed(block, kept) for block, kept in enumerate(positive.indices))
        assert chosen == pytest.approx(case.brute_force(case.signed), abs=1e-9)
        _check_truncation(case, problem)
        solved += 1
        bound += (
            ExactSolver().solve(RecoveryProblem(case.dictionary, case.sizes, case.s), case.b).indices
            != recovery.indices
        )
    assert solved > 50
    assert bound > 20


def _check_truncation(case, problem):
    dense = torch.randn(problem.mask.shape, generator=torch.Generator().manual_seed(case.m)).double() * problem.mask

    def share(block, support):
        return dense[block, list(support)].abs().sum().item() / dense[block].abs().sum().item()

    kept = truncate(problem, dense).tolist()
    assert sum(share(block, row) for block, row in enumerate(kept)) == pytest.approx(case.brute_force(share), abs=1e-12)


@pytest.mark.parametrize("per_candidate", [False, True])
def test_large_joint_problem_meets_its_rules_and_beats_local_changes(per_candidate):
    """Eight blocks of a DARTS space are too many for brute force: no exchange of one or two blocks may help."""
    sizes = SIZES * 2
    rng = np.random.default_rng(0)
    dictionary = make_dictionary("gaussian", sizes, 7, torch.Generator().manual_seed(0))
    b = torch.randn(8, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    price = rng.uniform(0, 5, size=7)
    costs = tuple(
        tuple(float(c) for c in (rng.uniform(0, 5, size=n) if per_candidate else np.tile(price, n // 7))) for n in sizes
    )
    skips = tuple(tuple(range(2, n, 7)) for n in sizes)
    constraints = Constraints(
        caps=(Cap(skips, 1, (0, 1, 2, 3), "normal skips"), Cap(skips, 1, (4, 5, 6, 7), "reduction skips")),
        limits=(CostLimit(costs, 25.0, tuple(range(8)), "cost"),),
    )
    problem = RecoveryProblem(dictionary, sizes, 2, constraints)
    recovery = ExactSolver().solve(problem, b)
    explained = torch.einsum("bmkp,bm->bkp", torch.from_numpy(problem.host.basis), b).square().sum(1)
    explained = (explained / b.square().sum(1, keepdim=True)).numpy()
    use = [_uses(problem, constraints, block) for block in range(8)]
    chosen = [problem.supports[block].tolist().index(list(kept)) for block, kept in enumerate(recovery.indices)]
    used = sum(use[block][row] for block, row in enumerate(chosen))
    limits = np.array([1.0, 1.0, 25.0])
    assert (used <= limits + 1e-7).all()
    for first, second in itertools.combinations(range(8), 2):
        rest = used - use[first][chosen[first]] - use[second][chosen[second]]
        counts = problem.counts[first], problem.counts[second]
        both = explained[first, : counts[0], None] + explained[second, : counts[1]]
        fits = (rest + use[first][:, None] + use[second] <= limits).all(2)
        assert both[fits].max() <= both[chosen[first], chosen[second]] + 1e-12


def _uses(problem, constraints, block):
    supports = problem.supports[block, : problem.counts[block]].numpy()
    caps = [np.isin(supports, cap.members[block]).sum(1) * (block in cap.blocks) for cap in constraints.caps]
    return np.stack([*caps, np.array(constraints.limits[0].costs[block])[supports].sum(1)], axis=1)
