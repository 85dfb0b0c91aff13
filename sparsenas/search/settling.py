"""Settling rules: when a node's support is final."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsenas.errors import ConfigError
from sparsenas.sparse_coding import Recovery


class SettlingRule(ABC):
    """Judges two successive recoveries. A block settles after ``patience`` calm ones in a row.

    Attributes:
        patience: Calm recoveries in a row after which a block settles.
    """

    patience: int

    @abstractmethod
    def calm(self, before: Recovery, after: Recovery) -> Tensor:
        """Which blocks hardly changed, shape ``(B,)``, bool, on the CPU."""


@dataclass(frozen=True)
class StableSupport(SettlingRule):
    r"""Calm means: the same support, and :math:`\|z' - z\| \le \mathrm{tolerance}\ \|z\|`.

    Attributes:
        patience: See :class:`SettlingRule`.
        tolerance: Largest relative change of the code from one recovery to the next.

    Raises:
        ConfigError: If a number is out of range.
    """

    patience: int = 8
    tolerance: float = 0.1

    def __post_init__(self) -> None:
        """Check the numbers."""
        _check(self.patience, self.tolerance)

    def calm(self, before: Recovery, after: Recovery) -> Tensor:
        """See :class:`SettlingRule`."""
        change = torch.linalg.vector_norm(after.code - before.code, dim=1)
        same = (before.support == after.support).all(1)
        calm: Tensor = same & (change <= self.tolerance * torch.linalg.vector_norm(before.code, dim=1))
        return calm


@dataclass(frozen=True)
class AbsoluteChange(SettlingRule):
    r"""The official rule: :math:`\|z' - z\| \le \mathrm{tolerance}` for the code *before* truncation.

    It depends on the scale of ``b`` and on how far one recovery is from the next; kept for fidelity.

    Attributes:
        patience: See :class:`SettlingRule`; the official code has 1.
        tolerance: Largest absolute change of the dense code.

    Raises:
        ConfigError: If a number is out of range.

    Source: the official code of Yang et al., ISTA-NAS (NeurIPS 2020).
    """

    patience: int = 1
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        """Check the numbers."""
        _check(self.patience, self.tolerance)

    def calm(self, before: Recovery, after: Recovery) -> Tensor:
        """See :class:`SettlingRule`."""
        change = torch.linalg.vector_norm(after.dense_code - before.dense_code, dim=1)
        calm: Tensor = change <= self.tolerance
        return calm


def _check(patience: int, tolerance: float) -> None:
    if patience < 1 or not tolerance >= 0:
        raise ConfigError(f"settling: patience={patience}, tolerance={tolerance}; need patience >= 1, tolerance >= 0")
