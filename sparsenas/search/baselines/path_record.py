"""Figures of the paths that a run has trained: how much of the space, how evenly, how far apart."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from sparsenas.search.baselines.distances import describe, distances, kept_places, nearest
from sparsenas.spaces import SearchSpace, Support

#: Names of the figures.
FIGURES = ("paths/coverage", "paths/updates_min", "paths/updates_max", "paths/updates_cv", "paths/knn")
#: Architectures that were trained last, and neighbours of each, between which distances are taken.
RECENT, NEIGHBOURS = 1000, 10


class PathRecord:
    """The paths that a run has trained, by which samplings can be compared.

    Args:
        space: Search space.
        untrained: Primitives that no path holds; their candidates are not counted.
    """

    def __init__(self, space: SearchSpace, untrained: Sequence[str] = ()) -> None:
        self.space = space
        self._starts = np.cumsum([0, *map(len, space.blocks)])
        candidates = (candidate for block in space.blocks for candidate in block.candidates)
        self._trainable = np.array([candidate.primitive not in untrained for candidate in candidates])
        self._updates = np.zeros(len(self._trainable), dtype=np.int64)
        self._paths = 0
        self._classes: set[int] = set()
        self._recent: dict[int, Support] = {}

    def note(self, paths: Iterable[Support]) -> None:
        """Take note of the paths of a step."""
        for path in paths:
            self._paths += 1
            self._updates[kept_places(self._starts, path)] += 1
            (number,) = describe(self.space, [path]).classes.tolist()
            self._classes.add(number)
            self._recent.pop(number, None)
            self._recent[number] = path
            if len(self._recent) > RECENT:
                del self._recent[next(iter(self._recent))]

    def figures(self) -> dict[str, float]:
        """Compute the figures; all are 0 before the first path.

        * ``paths/coverage``: distinct architectures, as a share of the paths; equivalent ones count once.
        * ``paths/updates_min``, ``paths/updates_max``: paths that held a candidate, of the candidate with the fewest
          and with the most.
        * ``paths/updates_cv``: their standard deviation over all candidates, as a share of their mean.
        * ``paths/knn``: mean distance from each of the distinct architectures that were trained last to its nearest
          ones, see :func:`~sparsenas.search.baselines.distances.distances`.
        """
        if not self._paths:
            return dict.fromkeys(FIGURES, 0.0)
        updates = self._updates[self._trainable]
        return {
            "paths/coverage": len(self._classes) / self._paths,
            "paths/updates_min": float(updates.min()),
            "paths/updates_max": float(updates.max()),
            "paths/updates_cv": float(updates.std() / updates.mean()),
            "paths/knn": self._knn(),
        }

    def state_dict(self) -> dict[str, Any]:
        """Collect everything, as plain values and tensors."""
        return {
            "paths": self._paths,
            "updates": self._updates.tolist(),
            "classes": torch.tensor(sorted(self._classes)),
            "recent": list(self._recent.values()),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self._paths, self._updates = state["paths"], np.array(state["updates"])
        self._classes = set(state["classes"].tolist())
        numbers = describe(self.space, state["recent"]).classes.tolist()
        self._recent = dict(zip(numbers, state["recent"], strict=True))

    def _knn(self) -> float:
        if len(self._recent) < 2:
            return 0.0
        recent = describe(self.space, list(self._recent.values()))
        between = distances(recent, recent)
        np.fill_diagonal(between, np.inf)
        count = min(NEIGHBOURS, len(between) - 1)
        return float(np.take_along_axis(between, nearest(between, count), 1).mean())
