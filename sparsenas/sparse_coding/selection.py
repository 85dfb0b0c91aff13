"""One support per block with the best sum of scores under rules over several blocks: exact dynamic programming.

For eight DARTS blocks under ``max_params`` it takes 1.5 ms; ``scipy.optimize.milp`` takes 13 ms for the same choices.
If a cost is both score and limit, as in ``search/size_band.py``, it takes 10 to 35 ms and milp up to more than 60 s.
milp also misses relative differences of 1e-12, which break ties. For 33 layers of ten candidates under ``max_params``
and ``max_macs`` it takes 15 ms, at most 44.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsenas.sparse_coding.constraints import Constraints, CostLimit
from sparsenas.sparse_coding.relaxation import Options, Relaxation, relax

#: Relative slack of a limit, so that the order of a floating-point sum cannot decide whether it is met.
SLACK = 1e-9

#: Partial selections from which on computing bounds costs less than it saves.
WIDE = 2_000
#: Blocks from which on that is so from the start.
LONG = 12

#: Relative slack of bounds, so that rounding cannot cut off the best selection.
ROUNDING = 1e-9

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class JointRules:
    """Caps and limits in numbers, in the order of :attr:`Constraints.joint`.

    Attributes:
        use: Use of every rule by the supports of each block, shapes ``(P, D)``.
        allowance: Largest use of every rule, shape ``(D,)``.
        slack: Excess over the allowance that is still accepted, shape ``(D,)``.
    """

    use: tuple[Floats, ...]
    allowance: Floats
    slack: Floats

    @classmethod
    def of(cls, supports: Sequence[Ints], constraints: Constraints) -> "JointRules":
        """Make the joint rules of checked constraints, given the feasible supports of each block, shapes ``(P, s)``."""
        rules = constraints.joint
        limits = np.array([isinstance(rule, CostLimit) for rule in rules])
        at_most = np.array([rule.at_most for rule in rules], np.float64)
        fixed = np.array([rule.fixed if isinstance(rule, CostLimit) else 0.0 for rule in rules])
        use = tuple(_use(block, rows, constraints) for block, rows in enumerate(supports))
        return cls(use, at_most - fixed, SLACK * limits * np.abs(at_most))

    def only(self, kept: Sequence[int]) -> "JointRules":
        """Select some of the rules."""
        columns = list(kept)
        return JointRules(tuple(rows[:, columns] for rows in self.use), self.allowance[columns], self.slack[columns])


@dataclass(frozen=True, eq=False)
class _Block:
    """Supports of one block, sorted by their use of the limits (their signature).

    Attributes:
        order: Supports sorted by signature, shape ``(P,)``; within one signature in enumeration order.
        starts: First position of each signature in ``order``, shape ``(U,)``.
        use: Use of each signature, shape ``(U, D)``.
        use_of: Use of each support in enumeration order, shape ``(P, D)``.
    """

    order: Ints
    starts: Ints
    use: Floats
    use_of: Floats

    def options(self, scores: Floats) -> Options:
        """Return the first best support of every signature, without signatures that another one dominates."""
        ordered = scores[self.order]
        best = np.maximum.reduceat(ordered, self.starts)
        hits = np.flatnonzero(ordered == np.repeat(best, np.diff(self.starts, append=len(ordered))))
        support = self.order[hits[np.searchsorted(hits, self.starts)]]
        front = non_dominated(best, self.use)
        return Options(support[front], best[front], self.use[front])


class JointSelector:
    """Chooses one support per block: the largest sum of scores that meets every cap and limit, exactly.

    Partial selections grow block by block. One is dropped if it cannot meet a limit any more, or if another one
    dominates it: uses no more of any limit and scores at least as much. When there are many, a Lagrangian bound drops
    those that cannot reach the best selection known, and supports with which none can. The use of a limit is forgotten
    once the remaining blocks cannot exhaust it. The choice is deterministic, also among equals.

    Args:
        rules: At least one rule.
    """

    def __init__(self, rules: JointRules) -> None:
        self._allowance, self._limits = rules.allowance, rules.allowance + rules.slack
        self._blocks = [_signatures(use) for use in rules.use]
        self._least = _sums_of_later(np.stack([block.use.min(0) for block in self._blocks]))
        self._most = _sums_of_later(np.stack([block.use.max(0) for block in self._blocks]))

    def best(self, scores: Sequence[Floats]) -> Ints | None:
        """Return the index of the chosen support of each block, shape ``(B,)``, or None if nothing meets the rules.

        ``scores`` are finite, one per support of each block, shapes ``(P,)``.
        """
        free = np.array([int(row.argmax()) for row in scores], dtype=np.int64)
        used = sum(block.use_of[index] for block, index in zip(self._blocks, free, strict=True))
        if (used <= self._limits).all():
            return free
        return self._search([block.options(row) for block, row in zip(self._blocks, scores, strict=True)])

    def feasible(self) -> bool:
        """Check that some selection meets the rules."""
        return self.best([np.zeros(len(block.order)) for block in self._blocks]) is not None

    def _search(self, options: list[Options]) -> Ints | None:
        """Choose the supports by dynamic programming; return None if no selection is feasible."""
        relaxed: Relaxation | None = None
        total, used = np.zeros(1), np.zeros((1, len(self._limits)))
        chosen = np.empty((1, 0), dtype=np.int64)
        for position, block in enumerate(options):
            if relaxed is None and (len(options) > LONG or len(total) * len(block.score) > WIDE):
                relaxed = relax(options, self._limits)
                if relaxed.known >= relaxed.bound:
                    return np.array([block.support[pick] for block, pick in zip(options, relaxed.choice, strict=True)])
            if relaxed is not None:
                keep = relaxed.useful(position, relaxed.known - ROUNDING * abs(relaxed.known))
                block = Options(block.support[keep], block.score[keep], block.use[keep])
            total = (total[:, None] + block.score).ravel()
            used = (used[:, None] + block.use).reshape(len(total), -1)
            useful: NDArray[np.bool_] = (used + self._least[position] <= self._limits).all(1)
            if relaxed is not None:
                useful &= relaxed.reachable(position, total, used) >= relaxed.known - ROUNDING * abs(relaxed.known)
            if not useful.any():
                return None
            parents, added = np.divmod(np.flatnonzero(useful), len(block.score))
            total, used = total[useful], self._forget(used[useful], position)
            chosen = np.column_stack([chosen[parents], block.support[added]])
            front = non_dominated(total, used)
            total, used, chosen = total[front], used[front], chosen[front]
        winner: Ints = chosen[int(total.argmax())]
        return winner

    def _forget(self, used: Floats, position: int) -> Floats:
        """Lift uses that the blocks after ``position`` cannot bring over a limit to one common value.

        The value comes from the allowance without slack, so that rounding cannot bring the lifted sum over the limit.
        """
        lifted: Floats = np.maximum(used, self._allowance - self._most[position])
        return lifted


def non_dominated(score: Floats, use: Floats) -> Ints:
    """Return the indices of the selections that no other one dominates, best score first; of equal ones only the first.

    Shapes are ``(N,)`` for ``score`` and ``(N, D)`` for ``use``.
    """
    varying = use[:, (use != use[:1]).any(0)]
    order = np.lexsort((*varying.T[::-1], -score))
    front: Ints = order[_staircase(varying[order])]
    return front


def _staircase(use: Floats) -> Ints:
    """Return the rows that use less of something than every row kept before them; the first row is kept."""
    if use.shape[1] == 0:
        return np.zeros(1, dtype=np.int64)
    if use.shape[1] == 1:
        lowest = np.minimum.accumulate(use[:, 0])
        return np.flatnonzero(np.concatenate([[True], use[1:, 0] < lowest[:-1]]))
    kept: list[int] = []
    remaining = np.arange(len(use))
    while len(remaining):
        kept.append(int(remaining[0]))
        remaining = remaining[(use[remaining] < use[remaining[0]]).any(1)]
    return np.array(kept, dtype=np.int64)


def _use(block: int, supports: Ints, constraints: Constraints) -> Floats:
    """Count the use of every cap and limit by each support of a block, shape ``(P, D)``."""
    columns = []
    for cap in constraints.caps:
        members = cap.members[block] if block in cap.blocks else ()
        columns.append(np.isin(supports, np.array(members, dtype=np.int64)).sum(1))
    for budget in constraints.limits:
        costs = np.array(budget.costs[block], np.float64) if block in budget.blocks else None
        columns.append(np.zeros(len(supports)) if costs is None else costs[supports].sum(1))
    return np.stack(columns, axis=1).astype(np.float64)


def _signatures(use: Floats) -> _Block:
    """Sort the supports of a block by their use."""
    unique, inverse = np.unique(use, axis=0, return_inverse=True)
    inverse = inverse.ravel()
    order = np.argsort(inverse, kind="stable")
    return _Block(order, np.searchsorted(inverse[order], np.arange(len(unique))), unique, use)


def _sums_of_later(rows: Floats) -> Floats:
    """Sum, for each row, the rows after it."""
    sums: Floats = rows[::-1].cumsum(0)[::-1] - rows
    return sums
