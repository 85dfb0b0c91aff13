"""Exact finish of a LASSO solution: one block, any starting code."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Violation relative to the largest correlation at which a code counts as optimal; rounding alone leaves about 1e-15.
OPTIMAL = 1e-13


def kkt_violation(columns: Floats, target: Floats, code: Floats, lam: float) -> float:
    r"""Compute the largest violation of the optimality conditions of the LASSO.

    :math:`A_i^\top (b - A z) = \lambda \operatorname{sign} z_i` where :math:`z_i \ne 0`, at most :math:`\lambda` in
    absolute value elsewhere.
    """
    correlation = columns.T @ (target - columns @ code)
    on_support = np.abs(correlation - lam * np.sign(code))
    return float(np.where(code != 0, on_support, np.abs(correlation) - lam).clip(min=0).max())


def feature_sign(columns: Floats, target: Floats, lam: float, code: Floats) -> tuple[Floats, int]:
    r"""Minimise :math:`\tfrac12 \|A z - b\|^2 + \lambda \|z\|_1` by feature-sign search, starting from ``code``.

    Each step guesses the signs of the non-zeros and solves for them in closed form. It stops at the best point on the
    way where one becomes zero. The objective falls with every step, so the search ends.

    Returns:
        The code of smallest violation that was met, and the number of steps.

    Source: Lee et al., Efficient sparse coding algorithms (NeurIPS 2006), algorithm 1.

    Differs: dependent active columns are handled by moving along their null space.
    """
    tolerance = OPTIMAL * float(np.abs(columns.T @ target).max())
    best, lowest = code, kkt_violation(columns, target, code, lam)
    limit = 10 * sum(columns.shape)  # a few steps per column suffice; rounding must not make it run for ever
    for step in range(limit):
        if lowest <= tolerance:
            return best, step
        code = _step(columns, target, lam, code, tolerance)
        violation = kkt_violation(columns, target, code, lam)
        if violation < lowest:
            best, lowest = code, violation
    return best, limit


def _step(columns: Floats, target: Floats, lam: float, code: Floats, tolerance: float) -> Floats:
    """Take one feature-sign step; the most violating zero joins once the non-zeros are at their optimum."""
    correlation = columns.T @ (target - columns @ code)
    signs = np.sign(code)
    if not (np.abs(correlation - lam * signs)[code != 0] > tolerance).any():
        joining = int(np.where(code == 0, np.abs(correlation), -np.inf).argmax())
        signs[joining] = np.sign(correlation[joining])
    active = np.flatnonzero(signs)
    kept, direction = columns[:, active], _direction(columns[:, active], correlation[active] - lam * signs[active])
    ends = _stops(code[active], direction)
    points = code[active] + ends[:, None] * direction
    # An entry that becomes zero at a stop is exactly zero.
    points[np.isclose(points, 0.0, rtol=0.0, atol=1e-14 * np.abs(code).max(initial=0.0))] = 0.0
    objective = 0.5 * np.square(points @ kept.T - target).sum(1) + lam * np.abs(points).sum(1)
    moved = np.zeros_like(code)
    moved[active] = points[int(objective.argmin())]
    return moved


def _direction(kept: Floats, gradient: Floats) -> Floats:
    """Return the direction to the optimum of the active columns for fixed signs.

    Dependent columns may let the objective fall without end along their null space: then the direction lies in it.
    """
    _, values, right = np.linalg.svd(kept, full_matrices=True)
    rank = int((values > values[0] * max(kept.shape) * np.finfo(np.float64).eps).sum())
    rows, null = right[:rank], right[rank:]
    slope = null.T @ (null @ gradient)
    if np.abs(slope).max(initial=0.0) > 1e-10 * np.abs(gradient).max():
        return slope
    result: Floats = rows.T @ ((rows @ gradient) / np.square(values[:rank]))
    return result


def _stops(code: Floats, direction: Floats) -> Floats:
    """Return the step lengths worth trying: the full step, and those at which a non-zero becomes zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        crossings = -code / direction
    return np.append(crossings[np.isfinite(crossings) & (crossings > 0) & (code != 0)], 1.0)
