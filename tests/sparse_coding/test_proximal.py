from functools import partial

import pytest
import torch

from sparsenas.errors import ConfigError, RecoveryError
from sparsenas.sparse_coding import FistaSolver, IstaSolver, LarsSolver

SOLVERS = [IstaSolver, FistaSolver]


def objective(problem, b, code, lam):
    residual = b - (problem.dictionary @ code[:, :, None])[:, :, 0]
    return 0.5 * residual.square().sum(1) + lam * code.abs().sum(1)


def lambda_max(problem, b):
    return (problem.dictionary.mT @ b[:, :, None]).abs().amax((1, 2))


@pytest.mark.parametrize("solver", [partial(IstaSolver, iterations=100_000), FistaSolver])
@pytest.mark.parametrize("lam", [0.05, 0.2, 0.7])
def test_reaches_the_objective_of_lars_and_its_gap_is_a_bound(solver, lam, problem, b):
    absolute = lam * lambda_max(problem, b)
    best = objective(problem, b, LarsSolver(lam=lam, relative=True).solve(problem, b).dense_code, absolute)
    recovery = solver(lam=lam).solve(problem, b)
    reached = objective(problem, b, recovery.dense_code, absolute)
    assert (recovery.certificate.optimality <= 1e-6).all()
    assert (reached <= best * (1 + 1e-6)).all()
    assert ((reached - best) / reached <= recovery.certificate.optimality + 1e-12).all()


@pytest.mark.parametrize("solver", SOLVERS)
def test_absolute_and_relative_penalty_agree(solver, problem, b):
    one = solver(lam=0.2, relative=True).solve(problem, b)
    for block in range(4):
        other = solver(lam=0.2 * lambda_max(problem, b)[block].item(), relative=False).solve(problem, b)
        torch.testing.assert_close(one.dense_code[block], other.dense_code[block], atol=1e-3, rtol=0)


@pytest.mark.parametrize("warm", [True, False])
def test_one_iteration_of_ista_is_one_proximal_gradient_step(warm, problem, b):
    start = torch.randn(4, 35, dtype=torch.float64) * problem.mask if warm else None
    recovery = IstaSolver(lam=0.03, relative=False, iterations=1).solve(problem, b, start)
    for block in range(4):
        columns = problem.dictionary[block]
        step = 1 / torch.linalg.eigvalsh(columns.T @ columns)[-1]
        code = start[block] if start is not None else torch.zeros(35, dtype=torch.float64)
        moved = code - step * columns.T @ (columns @ code - b[block])
        expected = moved.sign() * (moved.abs() - step * 0.03).clamp(min=0)
        torch.testing.assert_close(recovery.dense_code[block], expected, rtol=1e-12, atol=1e-14)
    assert (recovery.certificate.iterations == 1).all()


def test_one_iteration_is_taken_even_at_the_optimum(problem, b):
    best = IstaSolver(lam=0.3).solve(problem, b).dense_code
    again = IstaSolver(lam=0.3, iterations=1).solve(problem, b, best)
    assert not torch.equal(again.dense_code, best)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_warm_start_saves_iterations(solver, problem, b):
    cold = solver(lam=0.1).solve(problem, b)
    warm = solver(lam=0.1).solve(problem, b, cold.dense_code)
    assert (warm.certificate.iterations < cold.certificate.iterations).all()
    assert (warm.certificate.optimality <= 1e-6).all()


def test_the_objective_of_ista_never_rises(problem, b):
    lam = 0.05 * lambda_max(problem, b)
    code, last = None, objective(problem, b, torch.zeros(4, 35, dtype=torch.float64), lam)
    for _ in range(30):
        code = IstaSolver(lam=0.05, iterations=1).solve(problem, b, code).dense_code
        now = objective(problem, b, code, lam)
        assert (now <= last + 1e-14).all()
        last = now


@pytest.mark.slow
def test_acceleration_and_restart_pay(problem, b):
    def iterations(solver):
        return solver.solve(problem, b).certificate.iterations[0].item()

    assert iterations(FistaSolver(tolerance=1e-8)) < iterations(FistaSolver(tolerance=1e-8, restart=False))
    assert iterations(FistaSolver()) < iterations(IstaSolver())


@pytest.mark.parametrize("solver", SOLVERS)
def test_stopping_early_shows_in_the_certificate(solver, problem, b):
    certificate = solver(lam=1e-4, iterations=15).solve(problem, b).certificate
    assert (certificate.iterations == 15).all()
    assert (certificate.optimality > 1e-6).all()


def test_a_start_outside_the_blocks_is_ignored(problem, b):
    start = torch.zeros(4, 35).masked_fill(~problem.mask, 9.0)
    there = FistaSolver().solve(problem, b, start).dense_code
    assert torch.equal(there, FistaSolver().solve(problem, b).dense_code)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lam": 0.0}, r"{}.lam is 0.0; .* positive number"),
        ({"iterations": 0}, r"{}.iterations is 0; take at least 1"),
        ({"tolerance": -1.0}, r"{}.tolerance is -1.0; the relative duality gap is at least 0"),
        ({"tolerance": float("nan")}, r"{}.tolerance is nan"),
    ],
)
def test_option_errors(solver, options, message):
    with pytest.raises(ConfigError, match=message.format(solver.__name__)):
        solver(**options)


@pytest.mark.parametrize("solver", SOLVERS)
def test_start_must_have_one_code_per_block(solver, problem, b):
    with pytest.raises(RecoveryError, match=r"start has shape \(3, 35\); expected one dense code per block, \(4, 35\)"):
        solver().solve(problem, b, torch.zeros(3, 35))
