import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso

from sparsenas.errors import ConfigError
from sparsenas.sparse_coding import LarsSolver, RecoveryProblem, make_dictionary
from sparsenas.sparse_coding.active_set import feature_sign, kkt_violation

SIZES = (14, 21, 28, 35)


def violation(dictionary, b, code, lam):
    """Largest violation of the optimality conditions, straight from their definition."""
    correlation = dictionary.T @ (b - dictionary @ code)
    active = code != 0
    inside = (correlation[~active].abs() - lam).clamp(min=0)
    return torch.cat([(correlation - lam * code.sign())[active].abs(), inside]).max().item()


@pytest.mark.parametrize("kind", ["uniform", "gaussian", "low_coherence"])
@pytest.mark.parametrize("lam", [1e-5, 1e-3, 0.1])
@pytest.mark.parametrize("scale", [1e-3, 1.0])
def test_optimality_conditions_hold(kind, lam, scale):
    generator = torch.Generator().manual_seed(3)
    problem = RecoveryProblem(make_dictionary(kind, SIZES * 4, 7, generator), SIZES * 4, 2)
    b = scale * torch.randn(16, 7, generator=generator, dtype=torch.float64)
    recovery = LarsSolver(lam=lam).solve(problem, b)
    assert recovery.certificate.optimality.max() <= 1e-8
    for block in range(16):
        assert violation(problem.dictionary[block], b[block], recovery.dense_code[block], lam) <= 1e-8


def test_agrees_with_coordinate_descent_where_that_converges(problem, b):
    recovery = LarsSolver(lam=0.1, relative=True).solve(problem, b)
    for block, size in enumerate(SIZES):
        columns, target = problem.dictionary[block, :, :size].numpy(), b[block].numpy()
        lam = 0.1 * np.abs(columns.T @ target).max()
        lasso = Lasso(alpha=lam / 7, fit_intercept=False, tol=1e-12, max_iter=1_000_000).fit(columns, target)
        np.testing.assert_allclose(recovery.dense_code[block, :size], lasso.coef_, atol=1e-6)


RATES = [(14, 0.87), (21, 0.80), (28, 0.60), (35, 0.60)]


def recovery_rate(size, count):
    """Gaussian coefficients on a random pair; a fresh dictionary each time, as single ones differ by 5 points."""
    generator = torch.Generator().manual_seed(7)
    dictionary = make_dictionary("uniform", [size] * count, 7, generator)
    pairs = torch.stack([torch.randperm(size, generator=generator)[:2].sort().values for _ in range(count)])
    kept = torch.randn(count, 2, generator=generator, dtype=torch.float64)
    b = (dictionary.gather(2, pairs[:, None].expand(-1, 7, -1)) @ kept[:, :, None])[:, :, 0]
    recovery = LarsSolver().solve(RecoveryProblem(dictionary, (size,) * count, 2), b)
    return (recovery.support == pairs).all(1).double().mean().item()


@pytest.mark.parametrize(("size", "rate"), RATES)
def test_recovery_rate_of_exact_codes_with_the_official_recipe(size, rate):
    """Within 5 points, and two standard errors of this small sample."""
    error = (rate * (1 - rate) / 300) ** 0.5
    assert recovery_rate(size, 300) == pytest.approx(rate, abs=0.05 + 2 * error)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "rate"), RATES)
def test_recovery_rate_in_a_sample_large_enough_for_5_points(size, rate):
    assert recovery_rate(size, 5000) == pytest.approx(rate, abs=0.05)


@pytest.mark.parametrize("size", SIZES)
def test_sums_of_columns_with_equal_weights(size):
    """Two entries become zero at once on the path, where scikit-learn raises or stops at a wrong code."""
    count = 100
    generator = torch.Generator().manual_seed(size)
    dictionary = make_dictionary("gaussian", [size] * count, 7, generator)
    signs = torch.randn(count, 2, generator=generator, dtype=torch.float64).sign()
    b = (dictionary[:, :, :2] @ signs[:, :, None])[:, :, 0]
    recovery = LarsSolver().solve(RecoveryProblem(dictionary, (size,) * count, 2), b)
    assert recovery.certificate.optimality.max() < 1e-10


@pytest.mark.parametrize("lam", [1e-5, 0.05, 0.5])
@pytest.mark.parametrize("dependent", [False, True])
def test_feature_sign_search_from_anywhere_agrees_with_the_path(lam, dependent):
    rng = np.random.default_rng(0)
    for _ in range(20):
        columns = rng.normal(size=(5, 12))
        if dependent:
            columns[:, 6:] = columns[:, :6]
        target = rng.normal(size=5)
        code, _ = feature_sign(columns, target, lam, rng.normal(size=12))
        path = LarsSolver(lam=lam).solve(
            RecoveryProblem(torch.from_numpy(columns)[None], (12,), 2), torch.from_numpy(target)[None]
        )
        assert kkt_violation(columns, target, code, lam) < 1e-10
        expected = path.dense_code[0].numpy()
        assert _objective(columns, target, code, lam) == pytest.approx(
            _objective(columns, target, expected, lam), rel=1e-9
        )


def _objective(columns, target, code, lam):
    return 0.5 * np.square(columns @ code - target).sum() + lam * np.abs(code).sum()


def test_code_is_zero_from_lambda_max_on(problem, b):
    recovery = LarsSolver(lam=1.0, relative=True).solve(problem, b)
    assert (recovery.dense_code == 0).all()
    assert (recovery.certificate.nonzeros == 0).all()
    below = LarsSolver(lam=0.999, relative=True).solve(problem, b)
    assert (below.certificate.nonzeros == 1).all()


def test_official_lambda_leaves_m_nonzeros(problem, b):
    """Why truncation is needed at all: the LASSO at 1e-5 is a basic solution."""
    certificate = LarsSolver().solve(problem, b).certificate
    assert (certificate.nonzeros == 7).all()
    assert (certificate.l1_share < 0.95).all()


@pytest.mark.parametrize("lam", [0.0, -1.0, float("nan"), float("inf")])
def test_penalty_must_be_positive(lam):
    with pytest.raises(ConfigError, match=rf"LarsSolver.lam is {lam}; .* must be a positive number"):
        LarsSolver(lam=lam)


def test_nearly_equal_columns_keep_the_certificate_honest():
    column = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    dictionary = torch.stack([column, column, column * (1 + 1e-15), -column, torch.eye(4)[0].double()], 1)[None]
    b = torch.tensor([[1.0, 2.0, 3.0, 5.0]])
    recovery = LarsSolver(lam=1e-3).solve(RecoveryProblem(dictionary, (5,), 2), b)
    absolute = violation(dictionary[0], b[0].double(), recovery.dense_code[0], 1e-3)
    largest = (dictionary[0].T @ b[0].double()).abs().max().item()
    assert recovery.certificate.optimality.item() == pytest.approx(absolute / largest, abs=1e-15)
    assert absolute < 1e-8
