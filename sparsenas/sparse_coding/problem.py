"""The sparse-recovery problem of all blocks of all cells, and what can be computed once for it."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsenas.errors import RecoveryError
from sparsenas.sparse_coding.conflicts import check_joint
from sparsenas.sparse_coding.constraints import Constraints
from sparsenas.sparse_coding.enumeration import feasible_supports, subspaces
from sparsenas.sparse_coding.selection import JointRules, JointSelector


class HostArrays(NamedTuple):
    """Arrays on the host for a closed form. Supports come last in the maps: products then run several times faster.

    Attributes:
        dictionary: ``A``, shape ``(B, m, n_max)``.
        supports: Feasible supports, shape ``(B, P, s)``.
        feasible: False for padding, shape ``(B, P)``.
        basis: Orthonormal basis of the span of every support, shape ``(B, m, min(m, s), P)``; zero for padding.
        pseudo_inverse: Transposed pseudo-inverse of the columns of every support, shape ``(B, m, s, P)``.
        blocks: Numbers of the blocks, for indexing, shape ``(B,)``.
    """

    dictionary: NDArray[np.float64]
    supports: NDArray[np.int64]
    feasible: NDArray[np.bool_]
    basis: NDArray[np.float64]
    pseudo_inverse: NDArray[np.float64]
    blocks: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RecoveryProblem:
    r"""Find for every block a code with ``s`` non-zeros such that :math:`A z \approx b`.

    Feasible supports, their subspaces and Lipschitz constants are computed on first use and kept. ``b`` is an argument
    of :meth:`Solver.solve`.

    Attributes:
        dictionary: ``A`` of every block, shape ``(B, m, n_max)``, float64; columns past a block's size are zero.
        sizes: Candidates ``n`` of each block, length ``B``.
        sparsity: Support size ``s``, the same for all blocks.
        constraints: Rules for the supports.

    Raises:
        RecoveryError: If shapes, types or values are wrong; if ``m`` cannot identify ``s``-sparse codes; if a rule is
            malformed or cannot be met (the message names it and the smallest value that can).
    """

    dictionary: Tensor
    sizes: tuple[int, ...]
    sparsity: int
    constraints: Constraints = field(default_factory=Constraints)

    def __post_init__(self) -> None:
        """Check everything, including that a feasible selection exists."""
        _check_dictionary(self.dictionary, self.sizes)
        _check_sparsity(self.sparsity, self.dictionary.shape[1], self.sizes)
        self.constraints.check(self.sizes, self.sparsity)
        if self.constraints.joint:
            check_joint(self._joint_rules, self.constraints.joint)

    @property
    def blocks(self) -> int:
        """Number of blocks ``B``."""
        return len(self.sizes)

    @cached_property
    def mask(self) -> Tensor:
        """True for candidates, False for padding, shape ``(B, n_max)``."""
        device = self.dictionary.device
        columns = torch.arange(self.dictionary.shape[2], device=device)
        mask: Tensor = columns < torch.tensor(self.sizes, device=device)[:, None]
        return mask

    @cached_property
    def lipschitz(self) -> Tensor:
        r"""Largest eigenvalue of :math:`A^\top A` per block, shape ``(B,)``: a gradient step of 1/L is safe."""
        norm: Tensor = torch.linalg.matrix_norm(self.dictionary, ord=2)
        return norm.square()

    @cached_property
    def _supports(self) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.int64]], ...]:
        """Feasible supports of each block, shapes ``(P_b, s)``."""
        return tuple(
            feasible_supports(size, self.sparsity, self.constraints, block) for block, size in enumerate(self.sizes)
        )

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Number of feasible supports of each block."""
        return tuple(map(len, self._supports))

    @cached_property
    def supports(self) -> Tensor:
        """Feasible supports in lexicographic order, shape ``(B, P, s)``, int64; blocks with fewer are padded with 0.

        Raises:
            RecoveryError: If there are too many to enumerate.
        """
        padded = np.zeros((self.blocks, max(self.counts), self.sparsity), dtype=np.int64)
        for block, rows in enumerate(self._supports):
            padded[block, : len(rows)] = rows
        return torch.from_numpy(padded).to(self.dictionary.device)

    @cached_property
    def feasible(self) -> Tensor:
        """True for supports, False for padding, shape ``(B, P)``."""
        device = self.dictionary.device
        rows = torch.arange(max(self.counts), device=device)
        feasible: Tensor = rows < torch.tensor(self.counts, device=device)[:, None]
        return feasible

    @cached_property
    def host(self) -> HostArrays:
        """Arrays for the closed form, on the host."""
        supports = self.supports.flatten(1)[:, None, :].expand(-1, self.dictionary.shape[1], -1)
        columns = self.dictionary.gather(2, supports).view(*supports.shape[:2], -1, self.sparsity).transpose(1, 2)
        basis, inverse = subspaces(columns)  # (B, P, m, k), (B, P, s, m)
        basis = basis * self.feasible[:, :, None, None]
        return HostArrays(
            dictionary=self.dictionary.cpu().numpy(),
            supports=self.supports.cpu().numpy(),
            feasible=self.feasible.cpu().numpy(),
            basis=basis.permute(0, 2, 3, 1).contiguous().cpu().numpy(),
            pseudo_inverse=inverse.permute(0, 3, 2, 1).contiguous().cpu().numpy(),
            blocks=np.arange(self.blocks),
        )

    @cached_property
    def closed_form(self) -> tuple[Tensor, Tensor, Tensor]:
        """Optimality, L1 share and iterations of the certificates of all closed forms, shapes ``(B,)``."""
        zeros = self.dictionary.new_zeros(self.blocks)
        return zeros, torch.ones_like(zeros), zeros.long()

    @cached_property
    def _joint_rules(self) -> JointRules:
        return JointRules.of(self._supports, self.constraints)

    @cached_property
    def _selector(self) -> JointSelector:
        return JointSelector(self._joint_rules)

    def select(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        """Select one support per block with the largest sum of scores that meets all rules.

        Args:
            scores: Score of every support, shape ``(B, P)``, >= 0; padding is not read but must not exceed the best.

        Returns:
            Index of the chosen support of each block, shape ``(B,)``; the first one among equals.
        """
        if not self.constraints.joint:
            first_best: NDArray[np.int64] = scores.argmax(1)
            return first_best
        chosen = self._selector.best([row[:count] for row, count in zip(scores, self.counts, strict=True)])
        assert chosen is not None, "the rules were checked when the problem was made"
        return chosen

    def check_target(self, b: Tensor) -> Tensor:
        """Return ``b``, shape ``(B, m)``, as a solver wants it: detached, float64, on the dictionary's device.

        Raises:
            RecoveryError: If the shape is wrong or a number is not finite.
        """
        return torch.from_numpy(self.host_target(b)).to(self.dictionary.device)

    def host_target(self, b: Tensor) -> NDArray[np.float64]:
        """Return the same as an array on the host, see :meth:`check_target`."""
        expected = (self.blocks, self.dictionary.shape[1])
        if b.shape != expected:
            raise RecoveryError(f"b has shape {tuple(b.shape)}; the problem has {self.blocks} blocks: {expected}")
        target: NDArray[np.float64] = b.detach().cpu().numpy().astype(np.float64)
        finite = np.isfinite(target)
        if not finite.all():
            block = int(finite.all(1).argmin())
            raise RecoveryError(f"b of block {block} is not finite: {b[block].tolist()}; the search has diverged")
        return target


def _check_dictionary(dictionary: Tensor, sizes: tuple[int, ...]) -> None:
    if dictionary.ndim != 3 or 0 in dictionary.shape:
        raise RecoveryError(f"dictionary has shape {tuple(dictionary.shape)}; expected (blocks, m, largest block)")
    if dictionary.dtype != torch.float64:
        raise RecoveryError(f"dictionary is {dictionary.dtype}; recovery computes in torch.float64")
    blocks, _, columns = dictionary.shape
    if len(sizes) != blocks:
        raise RecoveryError(
            f"sizes lists {len(sizes)} blocks, the dictionary of shape {tuple(dictionary.shape)} {blocks}"
        )
    for block, size in enumerate(sizes):
        if not 1 <= size <= columns:
            raise RecoveryError(f"block {block}: size is {size}; the dictionary has 1 to {columns} columns for it")
        if not torch.isfinite(dictionary[block]).all():
            raise RecoveryError(f"block {block}: the dictionary holds numbers that are not finite")
        if dictionary[block, :, size:].any():
            raise RecoveryError(f"block {block}: columns past its size {size} must be zero")


def _check_sparsity(sparsity: int, rows: int, sizes: tuple[int, ...]) -> None:
    """Check ``s`` and ``m``.

    Two different ``s``-sparse codes differ in up to 2s entries; fewer than min(2s, n) rows cannot tell all apart.
    """
    if sparsity < 1:
        raise RecoveryError(f"sparsity is {sparsity}; keep at least 1 candidate per block")
    for block, size in enumerate(sizes):
        if sparsity > size:
            raise RecoveryError(f"block {block}: sparsity is {sparsity}, but the block has only {size} candidates")
        if rows < min(2 * sparsity, size):
            raise RecoveryError(
                f"block {block}: m is {rows}; identifying codes with {sparsity} non-zeros among {size} candidates "
                f"needs m >= {min(2 * sparsity, size)}"
            )
