"""Rules for a support, within one block and over several blocks together."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sparsenas.errors import RecoveryError


@dataclass(frozen=True)
class Cap:
    """At most ``at_most`` kept candidates from a set, counted over several blocks (e.g. two skips in a cell).

    Attributes:
        members: Counted candidate indices of every block of the problem.
        at_most: Largest allowed count.
        blocks: Blocks over which is counted; ``members`` of other blocks are not read.
        name: Name for messages, e.g. of the option that sets ``at_most``.
    """

    members: tuple[tuple[int, ...], ...]
    at_most: int
    blocks: tuple[int, ...]
    name: str = "cap"


@dataclass(frozen=True)
class CostLimit:
    """At most ``at_most`` for ``fixed`` plus the summed costs of the kept candidates of several blocks.

    Attributes:
        costs: Cost of every candidate of every block of the problem, in any unit.
        at_most: Largest allowed sum, in the same unit. Sums within a relative 1e-9 of it count as met, so that the
            order of a floating-point sum cannot decide.
        blocks: Blocks over which is summed; ``costs`` of other blocks are not read.
        name: Name for messages, e.g. of the option that sets ``at_most``.
        fixed: Part of the sum that every selection has, such as the parameters of a network's stem.
        advice: What lowers the costs, for messages.
    """

    costs: tuple[tuple[float, ...], ...]
    at_most: float
    blocks: tuple[int, ...]
    name: str = "budget"
    fixed: float = 0.0
    advice: str = ""

    def spent(self, support: Sequence[Sequence[int]]) -> float:
        """Sum the costs of the kept candidates, without the fixed part."""
        return sum(self.costs[block][index] for block in self.blocks for index in support[block])


@dataclass(frozen=True)
class Constraints:
    """All rules of a recovery problem. The default allows every support.

    ``groups`` with ``max_per_group=1`` keeps a block's candidates on distinct edges. Every edge keeps exactly one if a
    block keeps as many candidates as it has edges.

    Attributes:
        groups: Group (edge) of each candidate of every block; read only when ``max_per_group`` is set.
        max_per_group: Most kept candidates of one group of a block.
        forbidden: Candidates of every block that are never kept.
        caps: Counts limited over several blocks.
        limits: Sums limited over several blocks.
    """

    groups: tuple[tuple[int, ...], ...] | None = None
    max_per_group: int | None = None
    forbidden: tuple[tuple[int, ...], ...] | None = None
    caps: tuple[Cap, ...] = ()
    limits: tuple[CostLimit, ...] = ()

    @property
    def grouped(self) -> bool:
        """True if a limit per group is set."""
        return self.max_per_group is not None

    @property
    def joint(self) -> tuple[Cap | CostLimit, ...]:
        """Rules over several blocks."""
        return (*self.caps, *self.limits)

    @property
    def trivial(self) -> bool:
        """True if every support is allowed."""
        return not (self.grouped or self.joint or any(self.forbidden or ()))

    def allowed(self, block: int, size: int) -> tuple[int, ...]:
        """Return the candidates of a block that are not forbidden, ascending."""
        forbidden = set(self.forbidden[block]) if self.forbidden else set()
        return tuple(candidate for candidate in range(size) if candidate not in forbidden)

    def groups_of(self, block: int, size: int) -> tuple[int, ...]:
        """Return the group of each candidate of a block; one group for all where no limit per group is set."""
        return self.groups[block] if self.grouped and self.groups is not None else (0,) * size

    def allows(self, support: Sequence[Sequence[int]]) -> bool:
        """Check that a support, kept indices per block, meets all rules but those per group."""
        if any(set(kept) & set(banned) for kept, banned in zip(support, self.forbidden or (), strict=False)):
            return False
        for cap in self.caps:
            if sum(index in cap.members[block] for block in cap.blocks for index in support[block]) > cap.at_most:
                return False
        return all(budget.fixed + budget.spent(support) <= budget.at_most * (1 + 1e-9) for budget in self.limits)

    def check(self, sizes: Sequence[int], sparsity: int) -> None:
        """Check the rules against the blocks, and that each block alone has a feasible support.

        Args:
            sizes: Candidates of each block.
            sparsity: Support size ``s``.

        Raises:
            RecoveryError: Naming the rule that is malformed or that a block cannot meet.
        """
        self._check_form(sizes)
        for block, size in enumerate(sizes):
            allowed = self.allowed(block, size)
            if len(allowed) < sparsity:
                raise RecoveryError(
                    f"block {block}: {sparsity} candidates must be kept, but constraints.forbidden leaves "
                    f"{len(allowed)} of {size}"
                )
            if self.grouped:
                self._check_groups(block, size, allowed, sparsity)

    def _check_groups(self, block: int, size: int, allowed: Sequence[int], sparsity: int) -> None:
        """Check that the limit per group permits ``sparsity`` candidates."""
        groups = self.groups_of(block, size)
        kept = Counter(groups[candidate] for candidate in allowed)
        most = size if self.max_per_group is None else self.max_per_group
        reachable = sum(min(count, most) for count in kept.values())
        if sparsity > reachable:
            raise RecoveryError(
                f"block {block}: constraints.max_per_group is {most}, which allows supports of at most {reachable} "
                f"candidates; the sparsity is {sparsity}"
            )

    def _check_form(self, sizes: Sequence[int]) -> None:
        """Check lengths, ranges and signs."""
        if self.grouped:
            if self.groups is None:
                raise RecoveryError(
                    "constraints.max_per_group is set, but constraints.groups is not; give the group of every candidate"
                )
            _check_per_candidate("constraints.groups", self.groups, range(len(sizes)), sizes)
            if self.max_per_group is not None and self.max_per_group < 1:
                raise RecoveryError(f"constraints.max_per_group is {self.max_per_group}; keep at least 1 per group")
        if self.forbidden is not None:
            _check_indices("constraints.forbidden", self.forbidden, range(len(sizes)), sizes)
        for rule in self.joint:
            _check_blocks(rule, len(sizes))
        for cap in self.caps:
            _check_indices(f"cap {cap.name!r}: members", cap.members, cap.blocks, sizes)
        for budget in self.limits:
            _check_per_candidate(f"budget {budget.name!r}: costs", budget.costs, budget.blocks, sizes)
            if not all(math.isfinite(cost) for block in budget.blocks for cost in budget.costs[block]):
                raise RecoveryError(f"budget {budget.name!r}: costs must be finite numbers")
            if not math.isfinite(budget.fixed):
                raise RecoveryError(f"budget {budget.name!r}: fixed is {budget.fixed}; it must be a finite number")


def _check_blocks(rule: Cap | CostLimit, blocks: int) -> None:
    """Check the block list and the limit of a joint rule."""
    kind = "cap" if isinstance(rule, Cap) else "budget"
    if not rule.blocks or len(set(rule.blocks)) < len(rule.blocks):
        raise RecoveryError(f"{kind} {rule.name!r}: blocks is {list(rule.blocks)}; list at least one block, each once")
    for block in rule.blocks:
        if not 0 <= block < blocks:
            raise RecoveryError(f"{kind} {rule.name!r}: there is no block {block}; blocks are 0 to {blocks - 1}")
    if not math.isfinite(rule.at_most):
        raise RecoveryError(f"{kind} {rule.name!r}: at_most is {rule.at_most}; it must be a finite number")


def _check_length(what: str, rows: Sequence[Sequence[float]], sizes: Sequence[int]) -> None:
    if len(rows) != len(sizes):
        raise RecoveryError(f"{what} has {len(rows)} entries; expected one per block, {len(sizes)}")


def _check_per_candidate(
    what: str, rows: Sequence[Sequence[float]], blocks: Sequence[int], sizes: Sequence[int]
) -> None:
    """Check that there is one row per block, and one number per candidate in the rows that are read."""
    _check_length(what, rows, sizes)
    for block in blocks:
        if len(rows[block]) != sizes[block]:
            raise RecoveryError(
                f"{what} of block {block} has {len(rows[block])} numbers; expected one per candidate, {sizes[block]}"
            )


def _check_indices(what: str, rows: Sequence[Sequence[int]], blocks: Sequence[int], sizes: Sequence[int]) -> None:
    """Check that there is one row per block, and only candidate indices in the rows that are read."""
    _check_length(what, rows, sizes)
    for block in blocks:
        last = sizes[block] - 1
        for candidate in rows[block]:
            if not 0 <= candidate <= last:
                raise RecoveryError(
                    f"{what} of block {block}: there is no candidate {candidate}; candidates are 0 to {last}"
                )
