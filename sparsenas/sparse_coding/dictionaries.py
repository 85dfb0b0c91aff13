"""Dictionaries ``A`` for blocks of different size, and their coherence."""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from sparsenas.errors import ConfigError

#: Names of the distributions of :func:`make_dictionary`.
DictionaryKind = Literal["uniform", "gaussian", "low_coherence"]

#: Descent of :func:`_spread`: steps, and (first, last) sharpness of the maximum and largest angle per step.
#: At n = 28, m = 7 it reaches the optimum, 1/3; four times the steps gain less than 0.01.
_STEPS = 400
_SHARPNESS = (4.0, 400.0)
_RATE = (0.3, 1e-4)


def make_dictionary(kind: DictionaryKind, sizes: Sequence[int], m: int, generator: torch.Generator) -> Tensor:
    """Draw a dictionary of a named distribution for every block.

    ``"uniform"`` draws entries in [0, 1), neither normalised nor centred, as the official code does. All columns lie
    in one orthant, so they are very coherent (about 0.97 at ``m = 7``). ``"gaussian"`` draws columns uniformly on
    the unit sphere. ``"low_coherence"`` starts there and moves the columns apart, see :func:`_spread`.

    Args:
        kind: ``"uniform"``, ``"gaussian"`` or ``"low_coherence"``.
        sizes: Candidates ``n`` of each block.
        m: Compressed size.
        generator: Source of randomness, on the CPU.

    Returns:
        Dictionaries, shape ``(B, m, max(sizes))``, float64, on the CPU, zero past each block's size.

    Raises:
        ConfigError: If the name is unknown, or a size or ``m`` is less than 1.

    Source: official code of Yang et al., ISTA-NAS (NeurIPS 2020), for ``"uniform"``.
    """
    if kind not in get_args(DictionaryKind):
        raise ConfigError(f"dictionary is {kind!r}; choose one of {', '.join(get_args(DictionaryKind))}")
    if m < 1:
        raise ConfigError(f"m is {m}; the compressed size is at least 1")
    if not sizes or min(sizes) < 1:
        raise ConfigError(f"block sizes are {list(sizes)}; give at least one block, each with at least 1 candidate")
    draw = torch.rand if kind == "uniform" else torch.randn
    dictionary = torch.zeros(len(sizes), m, max(sizes), dtype=torch.float64)
    for block, size in enumerate(sizes):
        drawn = draw(m, size, generator=generator, dtype=torch.float64)
        dictionary[block, :, :size] = drawn if kind == "uniform" else _unit(drawn)
    return _spread(dictionary, sizes) if kind == "low_coherence" else dictionary


def mutual_coherence(dictionary: Tensor, sizes: Sequence[int]) -> Tensor:
    r"""Compute the largest absolute cosine between two different columns of each block.

    .. math:: \mu(A) = \max_{i \ne j} \frac{|\langle a_i, a_j \rangle|}{\|a_i\| \|a_j\|}

    Below :math:`1 / (2s - 1)` the LASSO and greedy methods recover every ``s``-sparse code.

    Args:
        dictionary: ``A``, shape ``(B, m, n_max)``; columns of any length, zero columns count as orthogonal.
        sizes: Candidates ``n`` of each block.

    Returns:
        Coherences in [0, 1], shape ``(B,)``; 0 for blocks of one candidate.

    Source: Donoho and Elad, Optimally sparse representation in general dictionaries (2003).
    """
    unit = _unit(dictionary)
    cosines = (unit.mT @ unit).abs().masked_fill(~_pairs(sizes).to(dictionary.device), 0.0)
    return cosines.amax((1, 2)).clamp_max(1.0)


def _spread(start: Tensor, sizes: Sequence[int]) -> Tensor:
    r"""Move the unit-norm columns of a dictionary apart by descent on the sphere.

    .. math:: \min \tfrac1p \log \sum_{i \ne j} \exp(p\, \langle a_i, a_j \rangle^2)

    is a smooth maximum of the squared entries of the Gram matrix; ``p`` grows from soft to sharp. Equal columns are
    its worst case, so none are duplicated. Alternating projection, in contrast, loses columns from n = 28 on at
    m = 7. The best dictionary met is returned, so it is never worse than its start.
    """
    spread = best = start
    pairs = _pairs(sizes)
    lowest = torch.full((len(sizes),), math.inf, dtype=torch.float64)
    for step in range(_STEPS + 1):
        gram = (spread.mT @ spread).masked_fill(~pairs, 0.0)
        squares = gram.square()
        largest = squares.amax((1, 2))
        better = largest < lowest
        best, lowest = torch.where(better[:, None, None], spread, best), torch.where(better, largest, lowest)
        sharpness = _geometric(_SHARPNESS, step / _STEPS)
        shares = torch.softmax(sharpness * squares.flatten(1), 1).view_as(gram)
        uphill = spread @ (shares * gram)
        uphill -= spread * (spread * uphill).sum(1, keepdim=True)  # along the sphere
        steepest = torch.linalg.vector_norm(uphill, dim=1).amax(1).clamp_min(torch.finfo(torch.float64).tiny)
        spread = _unit(spread - _geometric(_RATE, step / _STEPS) * uphill / steepest[:, None, None])
    return best


def _unit(dictionary: Tensor) -> Tensor:
    """Scale columns to length 1; zero columns stay zero."""
    norms = torch.linalg.vector_norm(dictionary, dim=-2, keepdim=True)
    unit: Tensor = dictionary / norms.clamp_min(torch.finfo(dictionary.dtype).tiny)
    return unit


def _geometric(ends: tuple[float, float], done: float) -> float:
    """Return the value between two ends after the share ``done`` of the way, in equal ratios."""
    return ends[0] * math.pow(ends[1] / ends[0], done)


def _pairs(sizes: Sequence[int]) -> Tensor:
    """Mark pairs of different candidates of a block, shape ``(B, n_max, n_max)``."""
    inside = torch.arange(max(sizes)) < torch.tensor(list(sizes))[:, None]
    return inside[:, :, None] & inside[:, None, :] & ~torch.eye(max(sizes), dtype=torch.bool)
