"""Dictionaries ``A`` for blocks of different size, and how coherent they are."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from sparsenas.errors import ConfigError

#: Names of the distributions of :func:`make_dictionary`.
DictionaryKind = Literal["uniform", "gaussian", "low_coherence"]

#: Descent of :func:`low_coherence_dictionary`: steps, and (first, last) sharpness of the maximum and largest angle a
#: column turns in a step. At n = 28, m = 7 it reaches the optimum, 1/3; four times the steps gain less than 0.01.
_STEPS = 400
_SHARPNESS = (4.0, 400.0)
_RATE = (0.3, 1e-4)


def uniform_dictionary(sizes: Sequence[int], m: int, generator: torch.Generator) -> Tensor:
    """Entries uniform in [0, 1), neither normalised nor centred: the official choice.

    Its columns all point into one orthant, so they are very coherent (about 0.97 at ``m = 7``).

    Args:
        sizes: Candidates ``n`` of each block.
        m: Compressed size.
        generator: Source of randomness, on the CPU.

    Returns:
        Dictionaries, shape ``(B, m, max(sizes))``, float64, on the CPU, zero past each block's size.

    Raises:
        ConfigError: If a size or ``m`` is less than 1.

    Source: official code of Yang et al., ISTA-NAS (NeurIPS 2020).
    """
    return _padded(sizes, m, lambda n: torch.rand(m, n, generator=generator, dtype=torch.float64))


def gaussian_dictionary(sizes: Sequence[int], m: int, generator: torch.Generator) -> Tensor:
    """Columns uniform on the unit sphere (normalised Gaussian).

    Args:
        sizes: Candidates ``n`` of each block.
        m: Compressed size.
        generator: Source of randomness, on the CPU.

    Returns:
        Dictionaries, shape ``(B, m, max(sizes))``, float64, on the CPU, zero past each block's size.

    Raises:
        ConfigError: If a size or ``m`` is less than 1.
    """
    return _padded(sizes, m, lambda n: _unit(torch.randn(m, n, generator=generator, dtype=torch.float64)))


def low_coherence_dictionary(sizes: Sequence[int], m: int, generator: torch.Generator) -> Tensor:
    r"""Unit-norm columns spread as far apart as descent from a Gaussian start gets them.

    Minimises, on the sphere, a smooth maximum of the squared entries of the Gram matrix,
    :math:`\tfrac1p \log \sum_{i \ne j} \exp(p\, \langle a_i, a_j \rangle^2)`, with ``p`` growing from soft to sharp.
    Equal columns are the worst case of this objective, so none are duplicated, unlike with alternating projection,
    which loses columns from n = 28 on at m = 7. The best dictionary met is returned, so it is never worse than its
    start.

    Args:
        sizes: Candidates ``n`` of each block.
        m: Compressed size.
        generator: Source of randomness, on the CPU; draws as much as :func:`gaussian_dictionary`.

    Returns:
        Dictionaries, shape ``(B, m, max(sizes))``, float64, on the CPU, zero past each block's size.

    Raises:
        ConfigError: If a size or ``m`` is less than 1.
    """
    spread = best = gaussian_dictionary(sizes, m, generator)
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


_BUILDERS: dict[DictionaryKind, Callable[[Sequence[int], int, torch.Generator], Tensor]] = {
    "uniform": uniform_dictionary,
    "gaussian": gaussian_dictionary,
    "low_coherence": low_coherence_dictionary,
}


def make_dictionary(kind: DictionaryKind, sizes: Sequence[int], m: int, generator: torch.Generator) -> Tensor:
    """Dictionary of a named distribution.

    Args:
        kind: ``"uniform"``, ``"gaussian"`` or ``"low_coherence"``.
        sizes: Candidates ``n`` of each block.
        m: Compressed size.
        generator: Source of randomness, on the CPU.

    Returns:
        Dictionaries, shape ``(B, m, max(sizes))``, float64, on the CPU, zero past each block's size.

    Raises:
        ConfigError: If the name is unknown, or a size or ``m`` is less than 1.
    """
    if kind not in _BUILDERS:
        raise ConfigError(f"dictionary is {kind!r}; choose one of {', '.join(_BUILDERS)}")
    return _BUILDERS[kind](sizes, m, generator)


def mutual_coherence(dictionary: Tensor, sizes: Sequence[int]) -> Tensor:
    r"""Largest absolute cosine between two different columns of each block.

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


def _padded(sizes: Sequence[int], m: int, draw: Callable[[int], Tensor]) -> Tensor:
    """Draw every block in turn into one zero-padded tensor."""
    if m < 1:
        raise ConfigError(f"m is {m}; the compressed size is at least 1")
    if not sizes or min(sizes) < 1:
        raise ConfigError(f"block sizes are {list(sizes)}; give at least one block, each with at least 1 candidate")
    dictionary = torch.zeros(len(sizes), m, max(sizes), dtype=torch.float64)
    for block, size in enumerate(sizes):
        dictionary[block, :, :size] = draw(size)
    return dictionary


def _unit(dictionary: Tensor) -> Tensor:
    """Columns scaled to length 1; zero columns stay zero."""
    norms = torch.linalg.vector_norm(dictionary, dim=-2, keepdim=True)
    unit: Tensor = dictionary / norms.clamp_min(torch.finfo(dictionary.dtype).tiny)
    return unit


def _geometric(ends: tuple[float, float], done: float) -> float:
    """Value between two ends after the share ``done`` of the way, in equal ratios."""
    return ends[0] * math.pow(ends[1] / ends[0], done)


def _pairs(sizes: Sequence[int]) -> Tensor:
    """True for pairs of different candidates of a block, shape ``(B, n_max, n_max)``."""
    inside = torch.arange(max(sizes)) < torch.tensor(list(sizes))[:, None]
    return inside[:, :, None] & inside[:, None, :] & ~torch.eye(max(sizes), dtype=torch.bool)
