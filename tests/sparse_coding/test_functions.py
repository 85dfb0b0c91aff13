import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsenas.errors import RecoveryError
from sparsenas.sparse_coding import (
    ExactSolver,
    LarsSolver,
    RecoveryProblem,
    architecture_weights,
    make_dictionary,
    refit,
    support_churn,
)

SIZES = (14, 21, 28, 35)


def random_codes(seed, s=2, m=7):
    """Uniform dictionaries, random supports, codes on them, and unrelated b."""
    generator = torch.Generator().manual_seed(seed)
    dictionary = make_dictionary("uniform", SIZES, m, generator)
    support = torch.stack([torch.randperm(n, generator=generator)[:s].sort().values for n in SIZES])
    kept = torch.randn(len(SIZES), s, generator=generator, dtype=torch.float64)
    code = torch.zeros(len(SIZES), max(SIZES), dtype=torch.float64).scatter_(1, support, kept)
    return dictionary, support, code, torch.randn(len(SIZES), m, generator=generator, dtype=torch.float64)


@given(seed=st.integers(0, 2**31), s=st.integers(1, 3))
@settings(max_examples=50, deadline=None)
def test_weights_equal_the_form_with_e(seed, s):
    dictionary, support, code, b = random_codes(seed, s)
    weights = architecture_weights(b, dictionary, code, support)
    for block in range(len(SIZES)):
        kept = support[block]
        e = dictionary[block].T @ dictionary[block] - torch.eye(max(SIZES), dtype=torch.float64)
        expected = b[block] @ dictionary[block][:, kept] - code[block, kept] @ e[kept][:, kept]
        torch.testing.assert_close(weights[block], expected, rtol=1e-12, atol=1e-12)


def test_weights_at_the_image_of_a_code_are_the_code():
    dictionary, support, code, _ = random_codes(1)
    b = (dictionary @ code[:, :, None])[:, :, 0]
    torch.testing.assert_close(architecture_weights(b, dictionary, code, support), code.gather(1, support))


@pytest.mark.parametrize("solver", [ExactSolver(), LarsSolver(refit=True)])
def test_weights_of_a_refitted_code_are_the_code(solver, problem, b):
    recovery = solver.solve(problem, b)
    weights = architecture_weights(b, problem.dictionary, recovery.code, recovery.support)
    torch.testing.assert_close(weights, recovery.code.gather(1, recovery.support), rtol=1e-10, atol=1e-12)


def test_gradient_agrees_with_finite_differences_and_is_a_s_times_upstream():
    dictionary, support, code, b = random_codes(2)
    b.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: architecture_weights(x, dictionary, code, support), (b,))
    upstream = torch.randn(4, 2, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(architecture_weights(b, dictionary, code, support), b, upstream)
    for block in range(4):
        expected = dictionary[block][:, support[block]] @ upstream[block]
        torch.testing.assert_close(gradient[block], expected)


def test_no_gradient_flows_to_code_and_dictionary():
    dictionary, support, code, b = random_codes(3)
    b.requires_grad_(), code.requires_grad_(), dictionary.requires_grad_()
    architecture_weights(b, dictionary, code, support).sum().backward()
    assert b.grad is not None
    assert code.grad is None
    assert dictionary.grad is None


def test_one_node_equals_its_row_of_the_batch():
    dictionary, support, code, b = random_codes(4)
    together = architecture_weights(b, dictionary, code, support)
    for block in range(4):
        alone = architecture_weights(b[block], dictionary[block], code[block], support[block])
        torch.testing.assert_close(alone, together[block])


def test_weights_have_the_type_of_b_but_the_precision_of_float64():
    dictionary, support, code, b = random_codes(5)
    narrow = b.float()
    weights = architecture_weights(narrow, dictionary, code, support)
    assert weights.dtype == torch.float32
    assert torch.equal(weights, architecture_weights(narrow.double(), dictionary, code, support).float())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d, s, c, b: (b[:, :6], d, c, s),
            r"block 0: b has shape \(4, 6\), the dictionary \(4, 7, 35\); .*\(4, 7\)",
        ),
        (lambda d, s, c, b: (b[:3], d, c, s), r"block 3: b has shape \(3, 7\), the dictionary \(4, 7, 35\)"),
        (
            lambda d, s, c, b: (b, d, c[:, :9], s),
            r"block 0: code has shape \(4, 9\), .* expected code of shape \(4, 35\)",
        ),
        (lambda d, s, c, b: (b, d, c, s[:2]), r"block 2: support has shape \(2, 2\), .* of shape \(4, s\)"),
        (lambda d, s, c, b: (b, d[0], c, s), r"dictionary has shape \(7, 35\); expected"),
        (lambda d, s, c, b: (b[0], d[0], c[0, :5], s[0]), r"block 0: code has shape \(1, 5\)"),
    ],
)
def test_shape_errors_name_the_block_and_both_shapes(change, message):
    with pytest.raises(RecoveryError, match=message):
        architecture_weights(*change(*random_codes(6)))


def test_refit_is_least_squares_and_agrees_with_the_exact_solver(problem, b):
    recovery = ExactSolver().solve(problem, b)
    torch.testing.assert_close(refit(problem.dictionary, b, recovery.support), recovery.code, rtol=1e-10, atol=1e-12)
    for block in range(4):
        columns = problem.dictionary[block][:, recovery.support[block]]
        expected = torch.linalg.lstsq(columns, b[block][:, None]).solution[:, 0]
        torch.testing.assert_close(recovery.code[block][recovery.support[block]], expected)


def test_refit_on_equal_columns_shares_between_them():
    dictionary = torch.ones(1, 4, 2, dtype=torch.float64)
    code = refit(dictionary, torch.ones(1, 4), torch.tensor([[0, 1]]))
    torch.testing.assert_close(code, torch.full((1, 2), 0.5, dtype=torch.float64))


def test_refit_checks_shapes():
    with pytest.raises(RecoveryError, match=r"block 1: b has shape \(1, 4\)"):
        refit(
            make_dictionary("gaussian", [3, 3], 4, torch.Generator()),
            torch.ones(1, 4),
            torch.zeros(2, 1, dtype=torch.int64),
        )


@pytest.mark.parametrize(
    ("old", "new", "churn"),
    [
        (((0, 1), (2, 3)), ((0, 1), (2, 3)), 0.0),
        (((0, 1), (2, 3)), ((1, 0), (2, 4)), 0.25),
        (((0, 1), (2, 3)), ((4, 5), (6, 7)), 1.0),
        ((), (), 0.0),
    ],
)
def test_churn(old, new, churn):
    assert support_churn(old, new) == churn


def test_churn_needs_the_same_blocks():
    with pytest.raises(RecoveryError, match=r"keep \[2\] and \[2, 2\] candidates per block"):
        support_churn([(0, 1)], [(0, 1), (2, 3)])


def test_recovered_indices_feed_churn(problem, b):
    first, second = ExactSolver().solve(problem, b), ExactSolver().solve(problem, -b)
    assert isinstance(problem, RecoveryProblem)
    assert support_churn(first.indices, second.indices) == 0.0
