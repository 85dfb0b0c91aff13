"""Parametric families of learning curves that never fall."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import optimize
from scipy.special import expit

from sparsenas.predictors.base import Floats

#: Number of starts from which a family is fitted, of all that are tried.
STARTS = 3


@dataclass(frozen=True)
class Family:
    """A parametric family of learning curves that never fall. Accuracies are shares of the best possible one.

    Attributes:
        formula: Computes curves ``(..., E)`` from parameters ``(..., P)`` and the logarithms of epochs ``(E,)``.
        lower: Smallest value of each parameter.
        upper: Largest value of each parameter.
        starts: Values of each parameter from which fits begin.
    """

    formula: Callable[[Floats, Floats], Floats]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    starts: tuple[tuple[float, ...], ...]

    def fit(self, curve: Floats) -> Floats:
        """Find the parameters of least squares for a curve ``(E,)`` of shares from the first epoch on."""
        time = np.log(np.arange(1, len(curve) + 1))
        starts = np.array(list(product(*self.starts)))
        errors = ((self.formula(starts, time) - curve) ** 2).sum(-1)
        fits = [
            optimize.least_squares(
                lambda parameters: self.formula(parameters, time) - curve,
                start,
                bounds=(self.lower, self.upper),
                xtol=1e-12,
                ftol=1e-12,
                gtol=1e-12,
                max_nfev=200,
            )
            for start in starts[np.argsort(errors)[:STARTS]]
        ]
        found: Floats = min(fits, key=lambda fit: float(fit.cost)).x
        return found


def _loglog_linear(p: Floats, time: Floats) -> Floats:
    curve: Floats = np.log(p[..., :1] * time + p[..., 1:2])
    return curve


def _log_power(p: Floats, time: Floats) -> Floats:
    curve: Floats = p[..., :1] * expit(-p[..., 2:3] * (time - p[..., 1:2]))
    return curve


def _mmf(p: Floats, time: Floats) -> Floats:
    left = expit(-p[..., 3:4] * (p[..., 2:3] + time))
    curve: Floats = p[..., :1] * (1 - (1 - p[..., 1:2]) * left)
    return curve


def _hill3(p: Floats, time: Floats) -> Floats:
    curve: Floats = p[..., :1] * expit(p[..., 2:3] * (time - p[..., 1:2]))
    return curve


_ENDS, _TIMES, _POWERS = (0.3, 0.7, 0.95), (-1.0, 1.0, 3.0), (0.5, 1.0, 2.0)
#: Formulas, with ``x`` for the epoch: ``log(a ln x + b)`` of ``(a, b)``; ``a / (1 + (x / e^b)^c)`` of ``(a, b, c)``;
#: ``al - (al - be) / (1 + (k x)^d)`` of ``(al, be / al, ln k, d)``; ``y x^n / (k^n + x^n)`` of ``(y, ln k, n)``.
FAMILIES = {
    "loglog_linear": Family(_loglog_linear, (0.0, 0.01), (10.0, np.e), ((0.02, 0.1, 0.3), (1.1, 1.5, 2.0))),
    "log_power": Family(_log_power, (0.0, -10.0, -10.0), (1.0, 10.0, 0.0), (_ENDS, _TIMES, tuple(-c for c in _POWERS))),
    "mmf": Family(
        _mmf,
        (0.0, 0.0, -10.0, 0.0),
        (1.0, 1.0, 10.0, 10.0),
        (_ENDS, (0.1, 0.5), tuple(-k for k in _TIMES), _POWERS),
    ),
    "hill3": Family(_hill3, (0.0, -10.0, 0.0), (1.0, 10.0, 10.0), (_ENDS, _TIMES, _POWERS)),
}
