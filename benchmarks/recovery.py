"""What a recovery costs: the exact best support against LASSO solvers, on the blocks of the DARTS space.

    python benchmarks/recovery.py [--json FILE]

Solves the same eight problems (7 x 14 to 35, b of a planted 2-sparse code) by our solvers and by independent ones, in
turn. LASSO solvers minimise 1/2 |A z - b|^2 + lam |z|_1 with lam a share of the largest useful one; the second table
says how far each one's objective is above the lowest found, and in how many blocks its support is the planted one. The
path of lars_path is also timed down to lam = 1e-5, which is what the official ISTA-NAS solves; the ratio refers to it.
"""

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from types import ModuleType

import numpy as np
import torch
from harness import MissingError, Report, interleaved, parser, run
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso, lars_path
from torch import Tensor

from sparsenas.search import Budget, CompressedArchitecture, SparseRecovery
from sparsenas.spaces import DartsSpace
from sparsenas.sparse_coding import ExactSolver, FistaSolver, IstaSolver, LarsSolver, RecoveryProblem, Solver

#: Weight of the l1 norm, as a share of the one from which on the solution is 0.
SHARE = 0.05

#: The official weight.
OFFICIAL = 1e-5

#: Coordinate descent stops at this duality gap, relative to the norm of the target.
TOLERANCE = 1e-6

Floats = NDArray[np.float64]


#: Dense codes of all blocks, shape ``(B, n)``, of a problem and its ``b``.
Solve = Callable[[RecoveryProblem, Tensor], Floats]


@dataclass(frozen=True)
class Row:
    """One solver.

    Attributes:
        solve: What is timed.
        lasso: Whether it minimises the LASSO that all others minimise.
    """

    solve: Solve
    lasso: bool


def main(args: Sequence[str] | None = None) -> int:
    """Time everything and print the table."""
    options = parser(__doc__, repeats=30)
    options.add_argument("--compressed-size", type=int, default=7, help="m, the length of b")
    chosen = options.parse_args(args)
    # scikit-learn's, where columns of the path become dependent or descent stops at its limit; the table shows the gap
    warnings.filterwarnings("ignore", category=ConvergenceWarning)
    return run("recovery", chosen, lambda report: measure(chosen, report))


def measure(options: argparse.Namespace, report: Report) -> None:
    """Time all solvers, then compare what they found."""
    space, generator = DartsSpace(), torch.Generator().manual_seed(0)
    recovery = SparseRecovery(compressed_size=options.compressed_size)
    problem = recovery.problem(space, generator, Budget().constraints(space))
    architecture = CompressedArchitecture(space, recovery, generator)
    drawn = [int(torch.randint(count, (), generator=generator)) for count in problem.counts]
    planted = [problem.supports[block, index] for block, index in enumerate(drawn)]
    code = torch.zeros(problem.mask.shape, dtype=torch.float64)
    for block, support in enumerate(planted):
        code[block, support] = 0.5 + torch.rand(len(support), generator=generator, dtype=torch.float64)
    b = (problem.dictionary @ code[:, :, None])[:, :, 0]

    rows = ours() | scikit_learn()
    for name in ("skglm", "celer"):
        try:
            rows[f"{name} Lasso"] = library(name)
        except MissingError as error:
            report.leave_out(f"{name} Lasso", error)
    bodies: dict[str, Callable[[], object]] = {name: partial(row.solve, problem, b) for name, row in rows.items()}
    bodies["recovery with its state"] = architecture.recover
    samples = interleaved(bodies, options.repeats)
    title = f"{problem.blocks} blocks of {options.compressed_size} x {min(problem.sizes)} to {max(problem.sizes)}"
    median = report.seconds(title, samples)
    report.ratios["recovery_ms"] = 1e3 * median["recovery with its state"]
    report.ratios["recovery_over_lars"] = median["ExactSolver"] / median["scikit-learn lars_path to 1e-5"]

    print("\nLASSO objective above the lowest found (worst block, relative), and blocks with the planted support")
    found = {name: row.solve(problem, b) for name, row in rows.items()}
    objective = {name: objectives(problem, b, found[name]) for name, row in rows.items() if row.lasso}
    lowest = np.min(list(objective.values()), axis=0)
    for name, codes in found.items():
        right = sum(
            set(np.argsort(-np.abs(codes[block]))[: problem.sparsity]) == set(support.tolist())
            for block, support in enumerate(planted)
        )
        gap = f"{((objective[name] - lowest) / lowest).max():10.1e}" if name in objective else f"{'':10}"
        print(f"  {name:34}{gap}   {right} of {problem.blocks}")


def ours() -> dict[str, Row]:
    """Our own solvers."""

    def row(solver: Solver, lasso: bool) -> Row:
        return Row(lambda problem, b: solver.solve(problem, b).dense_code.numpy(), lasso)

    return {
        "ExactSolver": row(ExactSolver(), False),
        "ExactSolver, non-negative": row(ExactSolver(nonnegative=True), False),
        "LarsSolver": row(LarsSolver(SHARE, relative=True), True),
        "FistaSolver": row(FistaSolver(SHARE, relative=True, tolerance=TOLERANCE), True),
        "IstaSolver": row(IstaSolver(SHARE, relative=True, tolerance=TOLERANCE), True),
    }


def scikit_learn() -> dict[str, Row]:
    """LARS and coordinate descent."""

    def descent(columns: Floats, target: Floats, lam: float) -> Floats:
        model = Lasso(lam / len(target), fit_intercept=False, tol=TOLERANCE)
        found: Floats = model.fit(columns, target).coef_
        return found

    def path(columns: Floats, target: Floats, lam: float) -> Floats:
        found: Floats = lars_path(columns, target, method="lasso", alpha_min=lam / len(target), return_path=False)[2]
        return found

    return {
        "scikit-learn lars_path": Row(blockwise(path), True),
        "scikit-learn lars_path to 1e-5": Row(blockwise(path, OFFICIAL), False),
        "scikit-learn Lasso": Row(blockwise(descent), True),
    }


def library(name: str) -> Row:
    """Coordinate descent of a library of its own: skglm by working sets, celer by dual extrapolation."""
    lasso = module(name).Lasso

    def solve(columns: Floats, target: Floats, lam: float) -> Floats:
        found: Floats = lasso(lam / len(target), fit_intercept=False, tol=TOLERANCE).fit(columns, target).coef_
        return found

    return Row(blockwise(solve), True)


def module(name: str) -> ModuleType:
    """A library that may be missing.

    Raises:
        MissingError: If it is.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingError(f"{name} is not installed; install it, or leave its row out by --skip-missing") from error


def blockwise(solve: Callable[[Floats, Floats, float], Floats], lam: float | None = None) -> Solve:
    """A solver of all blocks from one of a single block."""

    def run_all(problem: RecoveryProblem, b: Tensor) -> Floats:
        codes = np.zeros(problem.mask.shape)
        targets, dictionaries = b.numpy(), problem.dictionary.numpy()
        for block, size in enumerate(problem.sizes):
            columns, target = np.asfortranarray(dictionaries[block, :, :size]), targets[block]
            weight = SHARE * np.abs(columns.T @ target).max() if lam is None else lam
            codes[block, :size] = solve(columns, target, weight)
        return codes

    return run_all


def objectives(problem: RecoveryProblem, b: Tensor, codes: Floats) -> Floats:
    """LASSO objective of every block, shape ``(B,)``."""
    dictionary, target = problem.dictionary.numpy(), b.numpy()
    lam = SHARE * np.abs(np.einsum("bmn,bm->bn", dictionary, target)).max(1)
    missed = np.einsum("bmn,bn->bm", dictionary, codes) - target
    values: Floats = 0.5 * np.square(missed).sum(1) + lam * np.abs(codes).sum(1)
    return values


if __name__ == "__main__":
    sys.exit(main())
