"""The best architectures of a code: by dynamic programming through stages, or by looking at all of a small space."""

import heapq
from collections.abc import Iterator, Mapping
from functools import cached_property

import numpy as np
from scipy.sparse import csr_matrix

from sparsenas.spaces import Genotype, SearchSpace, StageSpace
from sparsenas.spaces.features import Dictionary, Feature, Floats, Place, describe, step

#: Spaces of at most so many genotypes are enumerated.
ENUMERABLE = 50_000

#: Score of a way through some blocks, and the candidates that it keeps.
Way = tuple[float, tuple[int, ...]]


class Decoder:
    """Finds the best architectures of a space under a code, exactly.

    The score of an architecture is the sum of the code over its features, see :func:`describe`. In a staged space this
    is a sum over steps through the network, of which each depends on the place only. So for every place the best ways
    to it are enough: the algorithm of Viterbi, with several ways. Budgets are no matter of the code there, as the width
    fills them. A small space of another kind is looked at as a whole.

    Args:
        space: Search space.
        side: Smaller side of the images in pixels.

    Attributes:
        possible: False for a space that is neither staged nor small.
    """

    def __init__(self, space: SearchSpace, side: int = 32) -> None:
        self.space, self.side = space, side
        self.possible = isinstance(space, StageSpace) or space.size <= ENUMERABLE

    def best(self, code: Mapping[Feature, float], count: int) -> list[tuple[float, Genotype]]:
        """Find the ``count`` architectures of largest score, the best first; all, if the space has fewer.

        Args:
            code: Worth of each feature; others are worth 0.
            count: Number of architectures.
        """
        if isinstance(self.space, StageSpace):
            return self._best_ways(code, count)
        scores = self._scores(code)
        order = np.argsort(-scores, kind="stable")[:count]
        return [(float(scores[index]), self._all[0][index]) for index in order]

    def ordered(self, code: Mapping[Feature, float], count: int) -> Iterator[Genotype]:
        """Iterate over architectures, those of largest score first: ``count`` of a staged space, all of a small one.

        There a budget may forbid all that a code likes best, as no width fills it.

        Args:
            code: Worth of each feature; others are worth 0.
            count: Number of architectures of a staged space.
        """
        if isinstance(self.space, StageSpace):
            return (genotype for _, genotype in self._best_ways(code, count))
        return (self._all[0][index] for index in np.argsort(-self._scores(code), kind="stable"))

    def _scores(self, code: Mapping[Feature, float]) -> Floats:
        """Score of each architecture of a small space."""
        _, dictionary, rows = self._all
        scores: Floats = rows @ dictionary.vector(dict(code))
        return scores

    @cached_property
    def _all(self) -> tuple[list[Genotype], Dictionary, csr_matrix]:
        genotypes = [self.space.genotype(support) for support in self.space.supports()]
        described = [describe(genotype, self.side) for genotype in genotypes]
        dictionary = Dictionary(described)
        return genotypes, dictionary, csr_matrix(dictionary.rows(described))

    def _best_ways(self, code: Mapping[Feature, float], count: int) -> list[tuple[float, Genotype]]:
        ways: dict[Place, list[Way]] = {Place.at(self.side): [(0.0, ())]}
        for block in self.space.blocks:
            longer: dict[Place, list[Way]] = {}
            for place, known in ways.items():
                for index, candidate in enumerate(block.candidates):
                    after, added = step(place, candidate.primitive)
                    worth = sum(code.get(feature, 0.0) * value for feature, value in added)
                    longer.setdefault(after, []).extend((score + worth, (*kept, index)) for score, kept in known)
            ways = {place: _first(found, count) for place, found in longer.items()}
        best = _first([way for found in ways.values() for way in found], count)
        return [(score, self.space.genotype(tuple((index,) for index in kept))) for score, kept in best]


def _first(ways: list[Way], count: int) -> list[Way]:
    return heapq.nsmallest(count, ways, key=lambda way: (-way[0], way[1]))
