"""Measurements under one set of rules, and the proxies among them that can be trusted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsenas.search.measured.reliability import ProxyReliability, Trust, assess, assess_size
from sparsenas.spaces import Support

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measurements:
    """Measurements under one set of constraints.

    Attributes:
        names: Names of the proxies.
        repeatable: True for each proxy whose repeats are independent.
        supports: The measured architectures, ``K``; the first one is the largest of the size band.
        values: Shape ``(K, S, R)``, more is better.
        trained: Minus the loss of short trainings, shape ``(K,)``; NaN for architectures that were not trained.
        sizes: Effective costs, shape ``(K,)``.
    """

    names: tuple[str, ...]
    repeatable: tuple[bool, ...]
    supports: tuple[Support, ...]
    values: Floats
    trained: Floats
    sizes: Floats

    def first(self, count: int) -> "Measurements":
        """Return the measurements of the first architectures only."""
        return Measurements(
            names=self.names,
            repeatable=self.repeatable,
            supports=self.supports[:count],
            values=self.values[:count],
            trained=self.trained[:count],
            sizes=self.sizes[:count],
        )

    def assess(self, trust: Trust = "reliability") -> tuple[ProxyReliability, ...]:
        """Assess each proxy; size, too, where sizes and proxies are several, and some are trusted.

        Args:
            trust: See :class:`Decoding`.
        """
        reliability = assess(self.names, self.values, self.repeatable, self.trained, self.sizes, trust)
        if (
            trust == "all"
            or len(reliability) == 1
            or not any(item.trusted for item in reliability)
            or np.ptp(self.sizes) == 0
        ):
            return reliability
        return *reliability, assess_size(reliability, self.values, self.trained, self.sizes)

    def trusted(self, reliability: Sequence[ProxyReliability]) -> Floats:
        """Return the values of what is trusted, shape ``(K, T, R)``; sizes are the same in every repeat.

        Args:
            reliability: Result of :meth:`assess`, for these measurements or for the first of them.
        """
        sizes = np.broadcast_to(self.sizes[:, None, None], (len(self.sizes), 1, self.values.shape[2]))
        columns = np.concatenate([self.values, sizes], axis=1)[:, : len(reliability)]
        return columns[:, [item.trusted for item in reliability]]
