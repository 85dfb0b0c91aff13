"""Blocks of a DARTS cell as sparse-coding problems."""

import pytest
import torch
from torch import Tensor

from sparsenas.sparse_coding import Cap, Constraints, CostLimit, RecoveryProblem, make_dictionary

SIZES = (14, 21, 28, 35)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def problem(generator: torch.Generator) -> RecoveryProblem:
    """The four blocks of a DARTS cell, unit-norm dictionary, m = 7, no constraints."""
    return RecoveryProblem(make_dictionary("gaussian", SIZES, 7, generator), SIZES, 2)


@pytest.fixture
def b(generator: torch.Generator) -> Tensor:
    return torch.randn(4, 7, generator=generator, dtype=torch.float64)


@pytest.fixture
def rules() -> Constraints:
    """Distinct edges, no candidate 0, at most one third primitive, and a budget that binds."""
    return Constraints(
        groups=tuple(tuple(index // 7 for index in range(size)) for size in SIZES),
        max_per_group=1,
        forbidden=((0,),) * 4,
        caps=(Cap(tuple(tuple(range(2, size, 7)) for size in SIZES), 1, (0, 1, 2, 3), "skips"),),
        limits=(CostLimit(tuple(tuple(float(i % 7) for i in range(size)) for size in SIZES), 18.0, (1, 2, 3), "cost"),),
    )
