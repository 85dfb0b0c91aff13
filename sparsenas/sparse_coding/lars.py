"""LASSO by least-angle regression: exact, one block at a time."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import lars_path
from torch import Tensor

from sparsenas.errors import ConfigError
from sparsenas.sparse_coding.active_set import feature_sign, kkt_violation
from sparsenas.sparse_coding.problem import RecoveryProblem
from sparsenas.sparse_coding.recovery import Recovery, Solver, from_dense

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LarsSolver(Solver):
    r"""The LASSO by following its solution path, then truncation to the ``s`` largest entries.

    .. math:: \min_z \tfrac12 \|A z - b\|_2^2 + \lambda \|z\|_1

    It is exact up to rounding at any :math:`\lambda`, also at the official 1e-5, where first-order methods do not
    converge.

    Args:
        lam: Weight of the l1 norm (lambda is a keyword in Python); the default is the official one.
        relative: Take ``lam`` as a share of :math:`\lambda_{max} = \|A^\top b\|_\infty` of the block, from which on the
            code is zero.
        refit: Refit the truncated code by least squares. Without it (as official) the architecture weights differ from
            it.

    Raises:
        ConfigError: If ``lam`` is not positive.

    Source: Efron et al., Least angle regression (Annals of Statistics 2004); objective and truncation of Yang et al.,
    ISTA-NAS (NeurIPS 2020), whose code solves it with an interior-point method.
    """

    lam: float = 1e-5
    relative: bool = False
    refit: bool = False

    def __post_init__(self) -> None:
        """Check the penalty."""
        check_penalty(type(self).__name__, self.lam)

    def solve(self, problem: RecoveryProblem, b: Tensor, start: Tensor | None = None) -> Recovery:
        """Recover the code of every block; see :meth:`Solver.solve`."""
        del start  # part of the protocol; the path always starts at zero
        b = problem.check_target(b)
        dense = np.zeros(problem.mask.shape)
        violation, steps = np.zeros(problem.blocks), np.zeros(problem.blocks, dtype=np.int64)
        dictionaries, targets = problem.dictionary.cpu().numpy(), b.cpu().numpy()
        for block, size in enumerate(problem.sizes):
            columns, target = np.ascontiguousarray(dictionaries[block, :, :size]), targets[block]
            largest = float(np.abs(columns.T @ target).max())
            lam = self.lam * (largest if self.relative else 1.0)
            if lam < largest:
                code, steps[block] = lasso(columns, target, lam)
                dense[block, :size] = code
                violation[block] = kkt_violation(columns, target, code, lam) / largest
        return from_dense(
            problem,
            b,
            torch.from_numpy(dense).to(b),
            optimality=torch.from_numpy(violation).to(b),
            kind="kkt",
            iterations=torch.from_numpy(steps).to(b.device),
            refitted=self.refit,
        )


def lasso(columns: Floats, target: Floats, lam: float) -> tuple[Floats, int]:
    """Compute the LASSO code of one block, and the number of path steps and corrections.

    scikit-learn's path stops within 1e-7 of the wanted penalty. Where two entries become zero at once it raises or
    returns nonsense. So feature-sign search corrects its end: no step where the path was right, a few where it nearly
    was. ``lam`` is absolute, and below the penalty from which on the code is zero.
    """
    # The code of a scaled b at an equally scaled penalty is the scaled code: tolerances then mean the same for all b.
    norm = float(np.linalg.norm(target))
    target, lam = target / norm, lam / norm
    try:
        with warnings.catch_warnings():
            # Warns when it drops nearly dependent columns or stops early; the correction makes up for both.
            warnings.simplefilter("ignore", ConvergenceWarning)
            # Its objective divides the squares by the number of samples, hence lam / m.
            _, _, path, steps = lars_path(
                columns, target, alpha_min=lam / len(target), method="lasso", return_n_iter=True
            )
        start = path[:, -1]
    except ValueError:
        start, steps = np.zeros(columns.shape[1]), 0
    if np.square(columns @ start - target).sum() / 2 + lam * np.abs(start).sum() > 0.5:  # worse than zero
        start = np.zeros(columns.shape[1])
    code, corrections = feature_sign(columns, target, lam, start)
    return code * norm, int(steps) + corrections


def check_penalty(solver: str, lam: float) -> None:
    """Raise a ``ConfigError`` unless the penalty is a positive finite number."""
    if not 0 < lam < float("inf"):
        raise ConfigError(f"{solver}.lam is {lam}; the weight of the l1 norm must be a positive number")
