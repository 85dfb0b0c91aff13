"""Architecture features: the dictionary of measured architectures."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sparsenas.complexity import effective_support
from sparsenas.errors import ConfigError
from sparsenas.networks import skeleton_of
from sparsenas.spaces import Candidate, SearchSpace, Support

#: Kind of thing that a feature stands for.
FeatureKind = Literal["counts", "candidates", "paths"]
#: All of them, from coarse to fine.
FEATURE_KINDS: tuple[FeatureKind, ...] = ("counts", "candidates", "paths")
#: Primitives that hand on what they get, so that a path with them computes what it computes without.
IDENTITIES = frozenset({"skip_connect", "identity"})

#: Name of a feature: its kind, its cell type, and what it stands for.
Feature = tuple[str, str, tuple[object, ...]]
Floats = NDArray[np.float64]


class ArchitectureFeatures:
    r"""Describe architectures by what they share, so that measurements of some tell about others.

    A measured number is dense in the one-hot basis, as every candidate has some effect. It is sparse over these kinds:

    * ``counts``: how often each primitive is used in a cell type;
    * ``candidates``: which candidates are used, one by one;
    * ``paths``: how many paths lead from the inputs of a cell to its output over the same primitives. Their order and
      identities do not count. Effects of depth and of shortcuts are here, which no sum over edges has.

    Only the effective part counts, see :func:`sparsenas.complexity.effective_support`. Each feature that occurs in the
    given architectures is a column, scaled to mean 0 and deviation 1 over them. Features that all of them share are
    left out, as are those that equal another one up to sign.

    Args:
        space: Search space.
        supports: Architectures that span the dictionary, at least 2.
        kinds: Kinds of features.

    Attributes:
        names: Names of all features, in the order of the columns of :meth:`rows`.

    Raises:
        ConfigError: If there are no kinds, or the architectures cannot be told apart by them.
    """

    def __init__(
        self, space: SearchSpace, supports: Sequence[Support], kinds: Sequence[FeatureKind] = FEATURE_KINDS
    ) -> None:
        if not kinds or set(kinds) - set(FEATURE_KINDS):
            raise ConfigError(f"kinds is {list(kinds)}; use one or more of {', '.join(FEATURE_KINDS)}")
        self.space, self.kinds = space, tuple(kind for kind in FEATURE_KINDS if kind in kinds)
        described = [self._describe(support) for support in supports]
        names = list(dict.fromkeys(name for features in described for name in features))
        values = _matrix(described, names)
        mean, deviation = values.mean(0), values.std(0)
        varying = np.flatnonzero(deviation > 0)
        _, first = np.unique(_signed((values - mean)[:, varying] / deviation[varying]), axis=1, return_index=True)
        kept = varying[np.sort(first)]
        if not len(kept):
            raise ConfigError(
                f"the {len(supports)} measured architectures cannot be told apart by {', '.join(self.kinds)}; measure "
                "more, or widen the size band"
            )
        self.names: tuple[Feature, ...] = tuple(names[index] for index in kept)
        self._mean, self._deviation = mean[kept], deviation[kept]
        self._known = frozenset(names)
        measured = self._scaled(described)
        # one more measurement of every feature alone keeps directions that were never measured finite
        self._inverse = np.linalg.inv(measured.T @ measured + np.eye(len(kept)))
        self._farthest = float(self._leverage(measured).max())

    def __len__(self) -> int:
        """Number of features ``N``."""
        return len(self.names)

    def rows(self, supports: Sequence[Support]) -> Floats:
        """Describe architectures by the features, shape ``(K, N)``; of the measured ones this is the matrix ``A``.

        Features that no architecture of the dictionary has are not seen.
        """
        return self._scaled([self._describe(support) for support in supports])

    def covers(self, supports: Sequence[Support]) -> NDArray[np.bool_]:
        r"""Tell which architectures the measured ones say something about, shape ``(K,)``.

        No feature of these is new, and their leverage :math:`x^\top (A^\top A + I)^{-1} x` is not above the largest of
        the measured ones: beyond, a code extrapolates.
        """
        described = [self._describe(support) for support in supports]
        known = np.array([features.keys() <= self._known for features in described], dtype=np.bool_)
        inside: NDArray[np.bool_] = known & (self._leverage(self._scaled(described)) <= self._farthest * (1 + 1e-9))
        return inside

    def strengths(self, code: Floats) -> Floats:
        """Turn a code into strengths of the candidates, shape ``(blocks, n)``; zeros pad shorter blocks.

        Where every candidate lies on a path, sums of these differ as the predictions of the code do. Paths are left
        out: they are no sums over candidates.
        """
        worth = dict(zip(self.names, code / self._deviation, strict=True))
        blocks = self.space.blocks
        rows = np.zeros((len(blocks), max(map(len, blocks))))
        for row, block in zip(rows, blocks, strict=True):
            for i, candidate in enumerate(block.candidates):
                single: Feature = ("candidates", block.cell, tuple(candidate))
                row[i] = worth.get(single, 0.0) + worth.get(("counts", block.cell, (candidate.primitive,)), 0.0)
        return rows

    def _leverage(self, rows: Floats) -> Floats:
        leverage: Floats = np.einsum("kn,nm,km->k", rows, self._inverse, rows, optimize=True)
        return leverage

    def _scaled(self, described: Sequence[Counter[Feature]]) -> Floats:
        rows: Floats = (_matrix(described, self.names) - self._mean) / self._deviation
        return rows

    def _describe(self, support: Support) -> Counter[Feature]:
        """Count each feature of an architecture."""
        found: Counter[Feature] = Counter()
        live = effective_support(self.space, support)
        for cell in self.space.cell_types:
            own = zip(self.space.blocks, live, strict=True)
            kept = [block.candidates[i] for block, indices in own if block.cell == cell for i in indices]
            if "counts" in self.kinds:
                found.update(("counts", cell, (candidate.primitive,)) for candidate in kept)
            if "candidates" in self.kinds:
                found.update(("candidates", cell, tuple(candidate)) for candidate in kept)
            if "paths" in self.kinds:
                found.update(("paths", cell, content) for content in self._paths(cell, kept))
        return found

    def _paths(self, cell: str, kept: Sequence[Candidate]) -> Iterator[tuple[str, ...]]:
        """Yield the primitives on each path from an input of the cell to its output: sorted, without identities."""
        entering: dict[int, list[Candidate]] = {}
        for candidate in kept:
            entering.setdefault(candidate.target, []).append(candidate)
        contents: dict[int, list[tuple[str, ...]]] = {node: [()] for node in range(self.space.num_inputs)}
        targets = sorted({c.target for block in self.space.blocks if block.cell == cell for c in block.candidates})
        for node in targets:
            contents[node] = [
                content if candidate.primitive in IDENTITIES else tuple(sorted((*content, candidate.primitive)))
                for candidate in entering.get(node, [])
                for content in contents[candidate.source]
            ]
        read = targets if skeleton_of(self.space.name).concatenates else targets[-1:]
        for node in read:
            yield from contents[node]


def _matrix(described: Sequence[Counter[Feature]], names: Sequence[Feature]) -> Floats:
    numbers = [[features[name] for name in names] for features in described]
    return np.array(numbers, dtype=np.float64).reshape(len(described), len(names))


def _signed(columns: Floats) -> Floats:
    """Give columns a positive first number other than zero, and round, so that equal ones compare equal."""
    rounded = np.round(columns, 9)
    first = np.take_along_axis(rounded, (rounded != 0).argmax(0)[None], axis=0)
    signed: Floats = rounded * np.where(first < 0, -1.0, 1.0) + 0.0  # no negative zeros
    return signed
