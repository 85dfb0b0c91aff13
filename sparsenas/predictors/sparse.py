"""Sparse-coding regression of the accuracy on architecture features."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import norm, rankdata

from sparsenas.predictors.base import Floats, Info, Predictor
from sparsenas.spaces import NONE, CellEncoding, Encoding, Genotype
from sparsenas.spaces.encodings import INPUT, OUTPUT
from sparsenas.spaces.features import Dictionary, Feature, describe
from sparsenas.spaces.stage import SKIP
from sparsenas.sparse_coding.group_regression import GroupFit, GroupRegression

#: Primitives that hand on what they get; paths leave them out.
IDENTITIES = frozenset({"skip_connect", "identity", SKIP})
#: A code that is zero under a smaller penalty is zero under all.
LEAST_PENALTY = 1e-9
#: Most operations of a path that is a feature; longer ones are seldom in two networks.
LONGEST = 3


class SparseRegression(Predictor):
    """A code that is sparse by groups of architecture features explains the order of the networks.

    Only what lies on a path from an input to the output is described, so what has no effect is no feature:

    * kept candidates of each block, counts of primitives, pairs in chains, as in tournament search;
    * "at least k" of each primitive, and a depth of at least k without identities: the first ones matter most;
    * sequences of at most three operations on paths, without identities.

    Targets are normal scores of their ranks, and predictions are such scores. A few networks that do not learn would
    else pull the code. Where cross-validation would keep no feature, which orders nothing, the penalty is halved until
    one is kept.

    Features and targets were chosen by cross-validation over 121 cells of NAS-Bench-201, drawn apart from those that
    judge.

    Args:
        encoding: Encoding of the space, whose graphs give the paths.
        regression: Finds the code.

    Attributes:
        weights: Worth of each feature in normal scores, without the zeros, after a fit.

    Source: group LASSO of Yuan and Lin (2006); paths as in White et al., BANANAS (AAAI 2021).
    """

    least = 5

    def __init__(self, encoding: Encoding, regression: GroupRegression | None = None) -> None:
        super().__init__()
        self.encoding, self.regression = encoding, regression or GroupRegression()
        self.weights: dict[Feature, float] = {}
        self._dictionary = Dictionary([])
        self._fitted_code: GroupFit | None = None

    def _fit(self, genotypes: Sequence[Genotype], targets: Floats, info: Info) -> None:
        described = [self.features(genotype) for genotype in genotypes]
        self._dictionary = dictionary = Dictionary(described)
        scores = norm.ppf((rankdata(targets) - 0.5) / len(targets))
        problem = dictionary.rows(described), scores, dictionary.groups, dictionary.weights
        fit = self.regression.fit_groups(*problem)
        while not fit.code.any() and fit.penalty > LEAST_PENALTY:
            fit = self.regression.fit_groups(*problem, penalty=fit.penalty / 2)
        self._fitted_code = fit
        named = dictionary.named(fit.code)
        self.weights = {feature: value for feature, value in named.items() if value}

    def _query(self, genotypes: Sequence[Genotype], info: Info) -> Floats:
        assert self._fitted_code is not None  # the base has asked for a fit
        return self._fitted_code.predict(self._dictionary.rows([self.features(genotype) for genotype in genotypes]))

    def features(self, genotype: Genotype) -> Counter[Feature]:
        """Describe what is effective of a genotype."""
        flow = Flow(self.encoding, genotype)
        found = describe(flow.effective)
        for name, count in flow.counts.items():
            found.update(Feature(f"number of {name}", f"at least {k}") for k in range(1, count + 1))
        found.update(Feature("depth", f"at least {k}") for k in range(1, flow.depth + 1))
        found.update(Feature(f"path in part {part}: {' > '.join(names)}", "used") for part, names in flow.paths)
        return found


class Flow:
    """The effective part of a genotype: all that lies on a path from an input to the output.

    Args:
        encoding: Encoding of the space.
        genotype: The architecture.

    Attributes:
        effective: The genotype without the candidates that lie on no path.
        counts: Number of each primitive on a path.
        depth: Most operations on a path, without identities.
        paths: Part, and names without identities, of each path of at most :data:`LONGEST` operations.
    """

    def __init__(self, encoding: Encoding, genotype: Genotype) -> None:
        graph = encoding.graph(genotype)
        names = [encoding.operations[operation] for operation in graph.operations]
        reached = [name == INPUT for name in names]
        for vertex, name in enumerate(names):
            if name not in (INPUT, NONE):
                reached[vertex] = any(reached[other] for other in np.flatnonzero(graph.adjacency[:, vertex]).tolist())
        #: For each vertex, sequences from it to the output, and the most operations on one; no entry for none.
        onward: dict[int, tuple[set[tuple[str, ...]], int]] = {}
        self.paths: set[tuple[int, tuple[str, ...]]] = set()
        self.depth = 0
        for vertex in reversed(range(len(names))):
            name = names[vertex]
            after = [onward[other] for other in np.flatnonzero(graph.adjacency[vertex]).tolist() if other in onward]
            if name == OUTPUT:
                onward[vertex] = {()}, 0
            elif after and name != NONE:
                own = () if name == INPUT or name in IDENTITIES else (name,)
                longer = {(*own, *path) for paths, _ in after for path in paths if len(own) + len(path) <= LONGEST}
                onward[vertex] = longer, len(own) + max(depth for _, depth in after)
            if name == INPUT and vertex in onward:
                paths, depth = onward[vertex]
                self.paths |= {(int(graph.parts[vertex]), path) for path in paths}
                self.depth = max(self.depth, depth)
        inner = [vertex for vertex, name in enumerate(names) if name not in (INPUT, OUTPUT)]
        living = [reached[vertex] and vertex in onward for vertex in inner]
        self.counts = Counter(names[vertex] for vertex, lives in zip(inner, living, strict=True) if lives)
        self.effective = genotype
        if isinstance(encoding, CellEncoding) and not all(living):
            rest = iter(living)  # a vertex is a candidate, cell by cell
            kept = {
                cell: tuple(candidate for candidate in genotype.cell(cell) if next(rest))
                for cell in encoding.space.cell_types
            }
            self.effective = replace(genotype, cells=tuple(sorted(kept.items())))
