"""Architectures of nearly equal cost: where a score has to say more than 'large is good'."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import from_numpy

from sparsenas.complexity import effective_support
from sparsenas.errors import ConfigError
from sparsenas.search.decoding import decoding_problem, strongest
from sparsenas.search.moves import redraw
from sparsenas.spaces import NONE, SearchSpace, Support
from sparsenas.sparse_coding import Constraints, CostLimit

#: Proposals between two draws, and the share of them that is drawn from the whole space.
STEPS, ANYWHERE = 200, 0.5
#: Draws in a row that were there before, for each one found, after which there is thought to be nothing else.
PATIENCE = 10

#: What breaks ties of cost, as a share of the largest cost of a candidate: less than two costs differ by.
TIE = 1e-9
#: What breaks the ties that are left, as a share of that: all of an architecture's draws together are less than 1.
DRAWN = 1e-3
#: Cost of every candidate, one row per block.
Costs = Sequence[Sequence[float]]


class SizeBand:
    r"""The feasible architectures whose effective cost is at least a share of that of the largest one.

    The cost is the one that the first budget of the constraints limits, else that given. *Live* counts only what lies
    on a path through the cell, so that a convolution without an input does not make a cell large.

    Args:
        space: Search space.
        constraints: Rules of what is feasible.
        costs: Cost of every candidate, where the constraints have no budget.
        fixed: Cost of everything else.
        share: In [0, 1].
        seed: Breaks ties between largest architectures, so that no order of edges does.

    Attributes:
        largest: A feasible architecture of largest cost. Of those, one that connects as much as it can: ``none`` costs
            as little as a skip, but a cell that it cuts off has no effective cost. Of those, a drawn one; only between
            primitives of an edge that cost nothing, their order decides.
        lower: Least effective cost in the band.

    Raises:
        ConfigError: If the share is out of range.
        RecoveryError: If no support is feasible.
    """

    def __init__(
        self,
        space: SearchSpace,
        constraints: Constraints,
        costs: Costs,
        fixed: float,
        share: float = 0.7,
        seed: int = 0,
    ) -> None:
        if not 0.0 <= share <= 1.0:
            raise ConfigError(f"size_band is {share}; use a share of the largest cost, in [0, 1]")
        self.space = space
        everywhere = CostLimit(tuple(map(tuple, costs)), np.inf, tuple(range(len(space.blocks))), fixed=fixed)
        self._cost = constraints.limits[0] if constraints.limits else everywhere
        problem = decoding_problem(space, constraints)
        self.constraints = problem.constraints
        self.largest = strongest(problem, from_numpy(self._strengths(np.random.default_rng(seed))))
        self.lower = share * self.effective_cost(self.largest)

    def effective_cost(self, support: Support) -> float:
        """Cost of the network without what lies on no path."""
        return self._cost.fixed + self._cost.spent(effective_support(self.space, support))

    def __contains__(self, support: Support) -> bool:
        """Say if a support of the space is in the band."""
        if self._cost.fixed + self._cost.spent(support) < self.lower:  # paths are looked at last, they take longest
            return False
        return self.constraints.allows(support) and self.effective_cost(support) >= self.lower

    def _strengths(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Cost of every candidate, shape ``(blocks, n)``, and for all but ``none`` a bit more, to break ties."""
        blocks = self.space.blocks
        rows = np.zeros((len(blocks), max(map(len, blocks))))
        for position in self._cost.blocks:
            rows[position, : len(blocks[position])] = self._cost.costs[position]
        bonus = TIE * max(rows.max(), 1.0)
        for row, block in zip(rows, blocks, strict=True):
            edges = dict(zip(block.edges, rng.random(len(block.edges)), strict=True))
            draws = rng.random(len(block)) * (row[: len(block)] > 0)
            row[: len(block)] += [
                0.0 if candidate.primitive == NONE else bonus * (1 + DRAWN * (edges[candidate.edge] + draw))
                for candidate, draw in zip(block.candidates, draws, strict=True)
            ]
        return rows

    def draw(self, count: int, rng: np.random.Generator) -> list[Support]:
        """Distinct architectures of the band; fewer than asked for where the band has fewer, or is torn apart.

        A random walk with symmetric proposals, of which those outside the band are refused: in the limit, uniform over
        what it can reach. It starts at the largest architecture, and half of its proposals are drawn from the whole
        space; the others exchange one to three candidates, which find their way where the band is a small part of it.
        """
        found: dict[Support, None] = {}
        current, repeated = self.largest, 0
        while len(found) < count and repeated < PATIENCE * (1 + len(found)):
            for _ in range(STEPS):
                proposed = self._proposal(current, rng)
                if proposed in self:
                    current = proposed
            repeated = repeated + 1 if current in found else 0
            found.setdefault(current)
        return list(found)

    def _proposal(self, support: Support, rng: np.random.Generator) -> Support:
        """A support that is proposed as often from here as this one from there."""
        if rng.random() < ANYWHERE:
            return self.space.sample_support(rng)
        for _ in range(int(rng.integers(1, 4))):
            support = redraw(self.space, support, rng)
        return support
