"""Multiple-gradient descent: its theorems, and agreement with a quadratic program and with Frank-Wolfe steps."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from sparsenas.search.common_descent import common_descent


def gradients(seed, count, size=6):
    generator = torch.Generator().manual_seed(seed)
    scales = 10 ** (4 * torch.rand(count, 1, generator=generator, dtype=torch.float64) - 2)
    return scales * torch.randn(count, size, generator=generator, dtype=torch.float64)


def test_equal_orthogonal_gradients_weigh_one_half_each():
    found = common_descent(torch.eye(2, 5), normalise=False)
    assert found.weights.tolist() == [0.5, 0.5]
    assert found.direction.tolist() == [0.5, 0.5, 0, 0, 0]


@pytest.mark.parametrize("count", [2, 4])
def test_opposite_gradients_leave_no_direction(count):
    first = gradients(0, count // 2)
    found = common_descent(torch.cat([first, -3 * first]))
    assert torch.linalg.vector_norm(found.direction) < 1e-7
    assert found.weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("normalise", [True, False])
def test_zero_gradients_are_left_out(count, normalise):
    present = gradients(1, count)
    zeros = torch.zeros(2, 6, dtype=torch.float64)
    found, expected = common_descent(torch.cat([zeros, present]), normalise), common_descent(present, normalise)
    assert found.weights[:2].tolist() == [0, 0]
    torch.testing.assert_close(found.weights[2:], expected.weights)
    torch.testing.assert_close(found.direction, expected.direction)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_nothing_but_zeros_gives_zero(count):
    found = common_descent(torch.zeros(count, 4))
    assert not found.weights.any()
    assert not found.direction.any()


def test_the_one_that_is_not_zero_is_the_direction():
    found = common_descent(torch.tensor([[0.0, 0.0], [3.0, 4.0]]), normalise=False)
    assert found.weights.tolist() == [0, 1]
    assert found.direction.tolist() == [3, 4]


def test_equal_gradients_are_the_direction():
    gradient = gradients(2, 1)
    for count in (2, 3):
        found = common_descent(gradient.expand(count, -1), normalise=False)
        torch.testing.assert_close(found.direction, gradient[0])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 5), size=st.integers(1, 8), normalise=st.booleans())
def test_no_objective_rises_along_the_direction(seed, count, size, normalise):
    rows = gradients(seed, count, size)
    weights, direction = common_descent(rows, normalise)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)
    units = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    products = units @ direction
    # of the shortest vector, each product is at least its squared norm
    scaled = products if normalise else products * torch.linalg.vector_norm(rows, dim=1)
    assert (scaled >= direction.square().sum() - 1e-6 * max(1.0, float(rows.square().sum()))).all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(2, 5))
def test_agrees_with_a_quadratic_program(seed, count):
    rows = gradients(seed, count)
    rows = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    gram = (rows @ rows.T).numpy()
    solved = minimize(
        lambda c: c @ gram @ c,
        np.full(count, 1 / count),
        jac=lambda c: 2 * gram @ c,
        bounds=[(0, 1)] * count,
        constraints={"type": "eq", "fun": lambda c: c.sum() - 1, "jac": lambda c: np.ones(count)},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    found = common_descent(rows)
    assert float(found.direction.square().sum()) == pytest.approx(solved.fun, abs=1e-6)
    assert float(found.direction.square().sum()) <= solved.fun + 1e-9


@pytest.mark.parametrize("seed", range(5))
def test_the_closed_form_of_two_agrees_with_frank_wolfe(seed):
    rows = gradients(seed, 2)
    rows = rows / torch.linalg.vector_norm(rows, dim=1).max()
    gram = (rows @ rows.T).numpy()
    weights = np.array([0.5, 0.5])
    for _ in range(200):
        corner = np.eye(2)[np.argmin(gram @ weights)]
        move = corner - weights
        curvature = move @ gram @ move
        if curvature <= 0:
            break
        weights = weights + np.clip(-(weights @ gram @ move) / curvature, 0, 1) * move
    found = common_descent(rows, normalise=False)
    np.testing.assert_allclose(found.weights.numpy(), weights, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_two_objectives_are_solved_as_several_are(seed):
    """A third gradient far out in the cone changes nothing."""
    rows = gradients(seed, 2)
    expected = common_descent(rows, normalise=False)
    far = expected.direction * 1e3
    found = common_descent(torch.cat([rows, far[None]]), normalise=False)
    torch.testing.assert_close(found.direction, expected.direction, rtol=1e-6, atol=1e-9)


def test_without_norms_a_long_gradient_is_switched_off():
    """The released code of E2RNAS: parameters are counted in ones, and losses are small."""
    rows = torch.stack([1e-2 * gradients(3, 1)[0], 1e4 * gradients(4, 1)[0]])
    first, second = common_descent(rows, normalise=False).weights
    assert first > 0.999
    assert second < 1e-3
    assert common_descent(rows).weights.tolist() == pytest.approx([0.5, 0.5])


def test_keeps_shape_and_type():
    rows = gradients(5, 3, 6).float().view(3, 2, 3).requires_grad_()
    found = common_descent(rows)
    assert found.direction.shape == (2, 3)
    assert found.direction.dtype == found.weights.dtype == torch.float32
    assert not found.direction.requires_grad


@pytest.mark.parametrize("count", [2, 3])
def test_gradients_that_are_no_numbers_give_none(count):
    """A run that has diverged ends by its own message."""
    rows = gradients(6, count)
    rows[1, 2] = torch.inf
    assert not common_descent(rows).direction.isfinite().all()
