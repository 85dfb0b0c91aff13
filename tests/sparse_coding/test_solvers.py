"""One conformance test over all solvers: a new solver is a new row."""

import itertools

import pytest
import torch

from sparsenas.errors import RecoveryError
from sparsenas.sparse_coding import (
    Constraints,
    ExactSolver,
    FistaSolver,
    IstaSolver,
    LarsSolver,
    RecoveryProblem,
    architecture_weights,
    make_dictionary,
)

SOLVERS = [
    ExactSolver(),
    ExactSolver(nonnegative=True),
    LarsSolver(),
    LarsSolver(lam=0.1, relative=True, refit=True),
    IstaSolver(lam=0.2),
    IstaSolver(lam=0.01, relative=False, iterations=1, refit=True),
    FistaSolver(),
    FistaSolver(lam=0.2, restart=False, refit=True),
]
SIZES = (14, 21, 28, 35)


@pytest.fixture(params=SOLVERS, ids=repr)
def solver(request):
    return request.param


@pytest.fixture(params=["free", "constrained"])
def case(request, problem, rules):
    return problem if request.param == "free" else RecoveryProblem(problem.dictionary, SIZES, 2, rules)


def check(problem, recovery, b):
    """Everything a recovery promises."""
    blocks, columns = problem.mask.shape
    certificate = recovery.certificate
    assert recovery.code.shape == recovery.dense_code.shape == (blocks, columns)
    assert recovery.code.dtype == recovery.dense_code.dtype == torch.float64
    assert recovery.support.shape == (blocks, problem.sparsity)
    assert recovery.support.dtype == torch.int64
    assert (recovery.support.diff(dim=1) > 0).all()
    outside = torch.ones_like(recovery.code).scatter_(1, recovery.support, 0.0)
    assert (recovery.code * outside == 0).all()
    assert (recovery.dense_code[~problem.mask] == 0).all()
    for block, kept in enumerate(recovery.indices):
        assert list(kept) in problem.supports[block, : problem.counts[block]].tolist()
    for numbers in (certificate.residual, certificate.optimality, certificate.l1_share):
        assert numbers.shape == (blocks,)
        assert numbers.dtype == torch.float64
        assert torch.isfinite(numbers).all()
        assert (numbers >= 0).all()
    for counts in (certificate.nonzeros, certificate.iterations):
        assert counts.shape == (blocks,)
        assert counts.dtype == torch.int64
    assert (certificate.l1_share <= 1 + 1e-12).all()
    assert torch.equal(certificate.nonzeros, (recovery.dense_code != 0).sum(1))
    b = b.double()
    residual = torch.linalg.vector_norm((problem.dictionary @ recovery.code[:, :, None])[:, :, 0] - b, dim=1)
    norm = torch.linalg.vector_norm(b, dim=1)
    torch.testing.assert_close(certificate.residual * norm, residual, atol=1e-12, rtol=1e-9)


def same(one, other):
    return all(
        torch.equal(getattr(one, name), getattr(other, name)) for name in ("code", "support", "dense_code")
    ) and torch.equal(one.certificate.optimality, other.certificate.optimality)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_keeps_its_promises(solver, case, b, scale):
    check(case, solver.solve(case, scale * b), scale * b)


def test_keeps_the_rules(solver, problem, rules, b):
    constrained = RecoveryProblem(problem.dictionary, SIZES, 2, rules)
    indices = solver.solve(constrained, b).indices
    assert all(first // 7 != second // 7 and first != 0 for first, second in indices)
    assert sum(index % 7 == 2 for index in itertools.chain(*indices)) <= 1
    assert sum(index % 7 for index in itertools.chain(*indices[1:])) <= 18


def test_is_deterministic_and_leaves_its_arguments_alone(solver, case, b):
    start = torch.randn(4, 35, dtype=torch.float64) * case.mask
    before = (case.dictionary.clone(), b.clone(), start.clone())
    assert same(solver.solve(case, b, start), solver.solve(case, b, start))
    assert all(torch.equal(*pair) for pair in zip(before, (case.dictionary, b, start), strict=True))
    assert same(solver.solve(case, b), solver.solve(case, b))


def test_zero_gives_the_zero_code(solver, case):
    recovery = solver.solve(case, torch.zeros(4, 7))
    check(case, recovery, torch.zeros(4, 7))
    assert (recovery.code == 0).all()
    assert (recovery.certificate.residual == 0).all()
    assert (recovery.certificate.l1_share == 1).all()


def test_takes_b_of_any_type_and_stops_gradients(solver, problem, b):
    narrow = b.float().requires_grad_()
    recovery = solver.solve(problem, narrow)
    assert not recovery.code.requires_grad
    assert same(recovery, solver.solve(problem, narrow.detach().double()))


def test_a_block_does_not_depend_on_its_neighbours(solver, problem, b):
    together = solver.solve(problem, b)
    alone = solver.solve(RecoveryProblem(problem.dictionary[1:2, :, :21], (21,), 2), b[1:2])
    assert together.indices[1] == alone.indices[0]


def test_refit_makes_the_weights_the_code(solver, problem, b):
    recovery = solver.solve(problem, b)
    weights = architecture_weights(b, problem.dictionary, recovery.code, recovery.support)
    equal = torch.allclose(weights, recovery.code.gather(1, recovery.support), rtol=1e-8, atol=1e-10)
    assert equal == getattr(solver, "refit", True)


@pytest.mark.parametrize(("size", "s"), [(1, 1), (2, 2), (3, 1), (6, 3)])
def test_smallest_and_full_supports(solver, size, s):
    generator = torch.Generator().manual_seed(0)
    problem = RecoveryProblem(make_dictionary("gaussian", (size, size), 6, generator), (size, size), s)
    b = torch.randn(2, 6, generator=generator, dtype=torch.float64)
    check(problem, solver.solve(problem, b), b)


def test_exactly_one_per_edge(solver):
    """The rule of NAS-Bench-201: six edges, five primitives, one kept on each."""
    groups = (tuple(index // 5 for index in range(30)),)
    generator = torch.Generator().manual_seed(0)
    constraints = Constraints(groups=groups, max_per_group=1)
    problem = RecoveryProblem(make_dictionary("gaussian", (30,), 12, generator), (30,), 6, constraints)
    assert problem.counts == (5**6,)
    recovery = solver.solve(problem, torch.randn(1, 12, generator=generator))
    assert [index // 5 for index in recovery.indices[0]] == [0, 1, 2, 3, 4, 5]


def test_bad_b_is_named(solver, problem, b):
    with pytest.raises(RecoveryError, match=r"b has shape \(3, 7\); the problem has 4 blocks: \(4, 7\)"):
        solver.solve(problem, b[:3])
    b[2, 1] = float("nan")
    with pytest.raises(RecoveryError, match=r"b of block 2 is not finite: \[.*nan.*\]; the search has diverged"):
        solver.solve(problem, b)


def test_solvers_are_values():
    assert LarsSolver(lam=0.1) == LarsSolver(lam=0.1)
    assert len({repr(solver) for solver in SOLVERS}) == len(SOLVERS)
    with pytest.raises(AttributeError):
        ExactSolver().lam = 1
