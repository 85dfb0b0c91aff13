"""The dictionary of measured architectures: what they have in common."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sparsenas.complexity import live_support
from sparsenas.errors import ConfigError
from sparsenas.networks import skeleton_of
from sparsenas.spaces import Candidate, SearchSpace, Support

#: What an atom stands for.
Level = Literal["counts", "candidates", "paths"]
#: All of them, from coarse to fine.
LEVELS: tuple[Level, ...] = ("counts", "candidates", "paths")
#: Primitives that hand on what they get, so that a path with them computes what it computes without.
IDENTITIES = frozenset({"skip_connect", "identity"})

#: Name of an atom: its level, its cell type, and what it stands for.
Atom = tuple[str, str, tuple[object, ...]]
Floats = NDArray[np.float64]


class Atoms:
    r"""Describes architectures by what they share, so that measurements of some tell about others.

    A measured number is dense in the one-hot basis (every candidate has some effect) and sparse over several levels:

    * ``counts``: how often each primitive is used in a cell type;
    * ``candidates``: which candidates are used, one by one;
    * ``paths``: how many paths lead from the inputs of a cell to its output over the same primitives, in any order and
      without identities. Effects of depth and of shortcuts are here, which no sum over edges has.

    Only what is live counts, see :func:`sparsenas.complexity.live_support`. Atoms are those that occur in the
    architectures given, each once, scaled to mean 0 and deviation 1 over them; an atom that all of them share tells
    nothing apart and is left out, and so is one that equals another up to its sign.

    Args:
        space: Search space.
        supports: Architectures that span the dictionary, at least 2.
        levels: Which levels there are.

    Attributes:
        names: Of all atoms, in the order of the columns of :meth:`rows`.

    Raises:
        ConfigError: If there are no levels, or the architectures cannot be told apart by them.
    """

    def __init__(self, space: SearchSpace, supports: Sequence[Support], levels: Sequence[Level] = LEVELS) -> None:
        if not levels or set(levels) - set(LEVELS):
            raise ConfigError(f"levels is {list(levels)}; use one or more of {', '.join(LEVELS)}")
        self.space, self.levels = space, tuple(level for level in LEVELS if level in levels)
        described = [self._describe(support) for support in supports]
        names = list(dict.fromkeys(name for atoms in described for name in atoms))
        values = _matrix(described, names)
        mean, deviation = values.mean(0), values.std(0)
        varying = np.flatnonzero(deviation > 0)
        _, first = np.unique(_signed((values - mean)[:, varying] / deviation[varying]), axis=1, return_index=True)
        kept = varying[np.sort(first)]
        if not len(kept):
            raise ConfigError(
                f"the {len(supports)} measured architectures cannot be told apart by {', '.join(self.levels)}; measure "
                "more, or widen the band"
            )
        self.names: tuple[Atom, ...] = tuple(names[index] for index in kept)
        self._mean, self._deviation = mean[kept], deviation[kept]
        self._known = frozenset(names)
        measured = self._scaled(described)
        # one more measurement of every atom alone keeps directions that were never measured finite
        self._inverse = np.linalg.inv(measured.T @ measured + np.eye(len(kept)))
        self._farthest = float(self._leverage(measured).max())

    def __len__(self) -> int:
        """Number of atoms ``N``."""
        return len(self.names)

    def rows(self, supports: Sequence[Support]) -> Floats:
        """The architectures in terms of the atoms, shape ``(K, N)``; the matrix ``A`` where they are the measured ones.

        What only they have, and none of the architectures that span the dictionary, is not seen.
        """
        return self._scaled([self._describe(support) for support in supports])

    def covers(self, supports: Sequence[Support]) -> NDArray[np.bool_]:
        r"""Whether the measured architectures can tell about others, shape ``(K,)``.

        They can where nothing is new, and where the leverage :math:`x^\top (A^\top A + I)^{-1} x` of an architecture is
        not above the largest of the measured ones: beyond, a code extrapolates.
        """
        described = [self._describe(support) for support in supports]
        known = np.array([atoms.keys() <= self._known for atoms in described], dtype=np.bool_)
        inside: NDArray[np.bool_] = known & (self._leverage(self._scaled(described)) <= self._farthest * (1 + 1e-9))
        return inside

    def strengths(self, code: Floats) -> Floats:
        """What a code says of every candidate, shape ``(blocks, n)``; zeros pad shorter blocks.

        For architectures in which all is live, sums of these differ as the code's predictions do, but for paths, which
        are no sums over candidates.
        """
        worth = dict(zip(self.names, code / self._deviation, strict=True))
        blocks = self.space.blocks
        rows = np.zeros((len(blocks), max(map(len, blocks))))
        for row, block in zip(rows, blocks, strict=True):
            for i, candidate in enumerate(block.candidates):
                single: Atom = ("candidates", block.cell, tuple(candidate))
                row[i] = worth.get(single, 0.0) + worth.get(("counts", block.cell, (candidate.primitive,)), 0.0)
        return rows

    def _leverage(self, rows: Floats) -> Floats:
        leverage: Floats = np.einsum("kn,nm,km->k", rows, self._inverse, rows, optimize=True)
        return leverage

    def _scaled(self, described: Sequence[Counter[Atom]]) -> Floats:
        rows: Floats = (_matrix(described, self.names) - self._mean) / self._deviation
        return rows

    def _describe(self, support: Support) -> Counter[Atom]:
        """How often each atom occurs in an architecture."""
        found: Counter[Atom] = Counter()
        live = live_support(self.space, support)
        for cell in self.space.cell_types:
            own = zip(self.space.blocks, live, strict=True)
            kept = [block.candidates[i] for block, indices in own if block.cell == cell for i in indices]
            if "counts" in self.levels:
                found.update(("counts", cell, (candidate.primitive,)) for candidate in kept)
            if "candidates" in self.levels:
                found.update(("candidates", cell, tuple(candidate)) for candidate in kept)
            if "paths" in self.levels:
                found.update(("paths", cell, content) for content in self._paths(cell, kept))
        return found

    def _paths(self, cell: str, kept: Sequence[Candidate]) -> Iterator[tuple[str, ...]]:
        """What lies on each path from an input of the cell to its output, sorted, identities left out."""
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


def _matrix(described: Sequence[Counter[Atom]], names: Sequence[Atom]) -> Floats:
    numbers = [[atoms[name] for name in names] for atoms in described]
    return np.array(numbers, dtype=np.float64).reshape(len(described), len(names))


def _signed(columns: Floats) -> Floats:
    """Columns whose first number that is not zero is positive, rounded so that equal ones compare equal."""
    rounded = np.round(columns, 9)
    first = np.take_along_axis(rounded, (rounded != 0).argmax(0)[None], axis=0)
    signed: Floats = rounded * np.where(first < 0, -1.0, 1.0) + 0.0  # no negative zeros
    return signed
