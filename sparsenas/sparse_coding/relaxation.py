"""Lagrangian bound for one option per block under joint limits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Subgradient steps; the bound only saves work, so it need not be the best one.
_STEPS = 40

#: Exchanges that improve a feasible selection, and the least gain of one.
_EXCHANGES = 40
#: Options between which exchanges are tried: all pairs of them are.
_MOST_EXCHANGED = 200
_LEAST_GAIN = 1e-12

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
        losses: How much each option of each block lowers the bound, shapes ``(U,)``.
    """

    prices: Floats
    limits: Floats
    later: Floats
    bound: float
    known: float
    choice: Ints
    losses: tuple[Floats, ...]

    def useful(self, position: int, least: float) -> NDArray[np.bool_]:
        """Mark the options of a block with which a selection may score ``least``, shape ``(U,)``."""
        marked: NDArray[np.bool_] = self.bound - self.losses[position] >= least
        return marked

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
    priced = score - use @ best_prices
    contributions = priced.max(1)
    if np.isfinite(known):
        likely = contributions[:, None] - priced <= bound - known
        if likely.sum() <= _MOST_EXCHANGED:
            choice = _exchange(choice, likely, score, use, scaled)
            known = max(known, float(score[rows, choice].sum()))
    later = contributions[::-1].cumsum()[::-1] - contributions
    losses = tuple(contributions[row] - priced[row, : len(block.score)] for row, block in enumerate(options))
    return Relaxation(best_prices / unit, limits, later, bound, known, choice, losses)


def _exchange(choice: Ints, likely: NDArray[np.bool_], score: Floats, use: Floats, limits: Floats) -> Ints:
    """Improve a feasible selection by likely options of one block or two, as long as that helps."""
    choice, rows = choice.copy(), np.arange(len(choice))
    likely = likely.copy()
    likely[rows, choice] = True  # an option may also stay, so pairs include changes of one block
    blocks, options = np.nonzero(likely)
    for _ in range(_EXCHANGES):
        gain = score[blocks, options] - score[blocks, choice[blocks]]
        extra = use[blocks, options] - use[blocks, choice[blocks]]
        left = limits - use[rows, choice].sum(0)
        gains = np.where(blocks[:, None] == blocks, -np.inf, gain[:, None] + gain)
        gains[(extra[:, None] + extra > left).any(2)] = -np.inf
        first, second = divmod(int(gains.argmax()), len(gain))
        if not gains[first, second] > _LEAST_GAIN * float(np.abs(score[rows, choice]).max()):
            break
        choice[blocks[[first, second]]] = options[[first, second]]
    return choice


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
