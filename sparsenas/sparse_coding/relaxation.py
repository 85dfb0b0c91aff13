"""Lagrangian bound for one option per block under joint limits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Subgradient steps; the bound only saves work, so it need not be the best one.
_STEPS = 40

#: Factor on Polyak's step length after a step that did not lower the bound.
_SHORTENING = 0.85


@dataclass(frozen=True, eq=False)
class Options:
    """Options of a block.

    Attributes:
        support: Index of the support behind each option, shape ``(U,)``.
        score: Score of each option, shape ``(U,)``.
        use: Use of every limit by each option, shape ``(U, D)``.
    """

    support: Ints
    score: Floats
    use: Floats


@dataclass(frozen=True, eq=False)
class Relaxation:
    r"""Bounds from prices on the limits.

    For prices :math:`\mu \ge 0`, no feasible selection scores more than :math:`\mu^\top l + \sum_b \max_j (s_{bj} -
    \mu^\top u_{bj})` with limits ``l``, scores ``s`` and uses ``u``.

    Attributes:
        prices: Multipliers with the lowest bound found, shape ``(D,)``.
        limits: The limits, shape ``(D,)``.
        later: Largest contribution of the blocks after each block at these prices, shape ``(B,)``.
        bound: Upper bound of the score of a feasible selection.
        known: Score of the best feasible selection met, or -inf.
        choice: That selection, one option per block; meaningless if there is none.
    """

    prices: Floats
    limits: Floats
    later: Floats
    bound: float
    known: float
    choice: Ints

    def reachable(self, position: int, score: Floats, use: Floats) -> Floats:
        """Bound the completions of partial selections of the blocks up to ``position``, shape ``(N,)``."""
        bounds: Floats = score + self.later[position] + (self.limits - use) @ self.prices
        return bounds


def relax(options: Sequence[Options], limits: Floats) -> Relaxation:
    """Lower the bound by subgradient steps, and remember the feasible selections met on the way.

    Source: Held and Karp's subgradient method with Polyak's step length.
    """
    shape = (len(options), max(len(block.score) for block in options))
    score, use = np.full(shape, -np.inf), np.zeros((*shape, len(limits)))
    for row, block in enumerate(options):
        score[row, : len(block.score)], use[row, : len(block.score)] = block.score, block.use
    unit = np.abs(use).max((0, 1))  # prices are per largest use of one option
    unit[unit == 0] = 1.0
    use, scaled, rows = use / unit, limits / unit, np.arange(len(options))
    prices = best_prices = np.zeros(len(limits))
    bound, known, choice, length = np.inf, -np.inf, rows, 1.0
    spread = float(sum(np.ptp(block.score) for block in options))
    for _ in range(_STEPS):
        priced = score - use @ prices
        chosen = priced.argmax(1)
        value = float(priced[rows, chosen].sum() + prices @ scaled)
        if value < bound:
            bound, best_prices = value, prices
        else:
            length *= _SHORTENING
        left = scaled - use[rows, chosen].sum(0)
        reached = float(score[rows, chosen].sum())
        if (left >= 0).all() and reached > known:
            known, choice = reached, chosen
        target = known if np.isfinite(known) else value - max(spread, 1.0)
        pull = np.where((prices > 0) | (left < 0), left, 0.0)  # a price that is zero cannot fall
        if value <= target or not pull.any():
            break
        prices = np.maximum(prices - length * (value - target) / float(pull @ pull) * pull, 0.0)
    greedy = _fill(score - use @ best_prices, use, scaled)
    if greedy is not None and score[rows, greedy].sum() > known:
        known, choice = float(score[rows, greedy].sum()), greedy
    contributions = (score - use @ best_prices).max(1)
    later = contributions[::-1].cumsum()[::-1] - contributions
    return Relaxation(best_prices / unit, limits, later, bound, known, choice)


def _fill(priced: Floats, use: Floats, limits: Floats) -> Ints | None:
    """Choose in turn the option of each block with the best priced score that leaves enough for the blocks after it."""
    least = np.where(np.isfinite(priced)[:, :, None], use, np.inf).min(1)
    later = least[::-1].cumsum(0)[::-1] - least
    used, choice = np.zeros(len(limits)), np.zeros(len(priced), dtype=np.int64)
    for block, (scores, uses) in enumerate(zip(priced, use, strict=True)):
        fits = (used + uses + later[block] <= limits).all(1) & np.isfinite(scores)
        if not fits.any():
            return None
        choice[block] = int(np.where(fits, scores, -np.inf).argmax())
        used = used + uses[choice[block]]
    return choice
