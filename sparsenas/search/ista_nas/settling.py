"""Settling: when a node's support is final."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparsenas.complexity import CandidateCosts
from sparsenas.errors import ConfigError
from sparsenas.networks import ScaledBatchNorm, SuperNet
from sparsenas.search.ista_nas.architecture import CompressedArchitecture
from sparsenas.spaces import Support
from sparsenas.sparse_coding import Recovery


class SettlingRule(ABC):
    """Judges two successive recoveries. A block settles after ``patience`` calm ones in a row.

    Attributes:
        patience: Calm recoveries in a row after which a block settles.
    """

    patience: int

    @abstractmethod
    def calm(self, before: Recovery, after: Recovery) -> Tensor:
        """Find the blocks that hardly changed, shape ``(B,)``, bool, on the CPU."""


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


class Settler(nn.Module):
    """Recovers codes and declares blocks final; all it remembers are buffers, so a resume goes on.

    Args:
        rule: Rule by which a block settles.
        blocks: Number of blocks ``B``.
        reject_params: Discard recoveries whose network has so many parameters or more; ``None`` keeps all.
        costs: Parameters of the candidates; needed with ``reject_params``.

    Attributes:
        calm: Calm recoveries in a row, discarded ones not counted, shape ``(B,)``.
        epoch: Epoch in which a block settled, counted from 0; -1 for those that have not, shape ``(B,)``.
        rejected: Discarded recoveries, 0-d.
    """

    calm: Tensor
    epoch: Tensor
    rejected: Tensor

    def __init__(
        self,
        rule: SettlingRule,
        blocks: int,
        reject_params: float | None = None,
        costs: CandidateCosts | None = None,
    ) -> None:
        super().__init__()
        self.rule, self.reject_params, self._costs = rule, reject_params, costs
        self.register_buffer("calm", torch.zeros(blocks, dtype=torch.int64))
        self.register_buffer("epoch", torch.full((blocks,), -1, dtype=torch.int64))
        self.register_buffer("rejected", torch.zeros((), dtype=torch.int64))

    def recover(self, architecture: CompressedArchitecture, epoch: int) -> list[int] | None:
        """Recover, then judge: a discarded recovery settles nothing.

        Args:
            architecture: Gets the recovered code, and blocks that settle.
            epoch: The present one.

        Returns:
            Blocks that settled with this recovery; ``None`` if it was discarded.
        """
        before, after = architecture.recovery, architecture.solve()
        if self.reject_params is not None and self._parameters_of(after) >= self.reject_params:
            self.rejected += 1
            return None
        architecture.accept(after)
        self.calm = torch.where(self.rule.calm(before, after).to(self.calm.device), self.calm + 1, 0)
        new = (self.calm >= self.rule.patience) & ~architecture.settled
        settled: list[int] = new.nonzero().flatten().tolist()
        if settled:
            architecture.settle(new)
            self.epoch = torch.where(new, epoch, self.epoch)
        return settled

    def _parameters_of(self, recovery: Recovery) -> int:
        """Parameters of the network that a recovery stands for."""
        if self._costs is None:
            raise ConfigError(
                "reject_params needs the parameters of the candidates: pass costs=candidate_costs(network)"
            )
        kept = zip(self._costs.parameters, recovery.indices, strict=True)
        return self._costs.base_parameters + sum(row[index] for row, indices in kept for index in indices)


class AffineParameters:
    """Gamma and beta of every candidate: until its block settles, they and the architecture weights are one thing.

    Args:
        network: Super-net whose batch-norms they belong to.
    """

    def __init__(self, network: SuperNet) -> None:
        self._parameters = [
            [
                [
                    parameter
                    for operation in network.operations(candidate, block.cell)
                    for norm in operation.modules()  # the inner ones too
                    if isinstance(norm, ScaledBatchNorm)
                    for parameter in norm.parameters()
                ]
                for candidate in block.candidates
            ]
            for block in network.space.blocks
        ]

    def unsettled(self, support: Support, architecture: CompressedArchitecture) -> Iterator[nn.Parameter]:
        """Those of the operations that ran and belong to blocks that have not settled."""
        for rows, kept, settled in zip(self._parameters, support, architecture.settled_blocks, strict=True):
            if not settled:
                for index in kept:
                    yield from rows[index]
