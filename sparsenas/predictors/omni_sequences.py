"""SemiNAS' network on sequences that also tell what a score and a learning curve say."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from sparsenas.predictors.base import Floats, Info
from sparsenas.predictors.fitting import Inputs
from sparsenas.predictors.sequences import SequenceRegression
from sparsenas.spaces import Encoding, Genotype

#: Numbers of thresholds between bins of a score, up to so many networks each; more networks have the last number.
THRESHOLDS = {10: 1, 20: 2, 40: 3, 80: 5}
MOST_THRESHOLDS = 9
#: Name in ``info`` of the score, and of the curve.
SCORE, CURVE = "jacobian_covariance", "train_loss"


class OmniSequenceRegression(SequenceRegression):
    """OMNI-SemiNAS: a sequence is followed by the marked bin of a score, and of a learning curve if there is one.

    Bins have equally many of the networks learned from. With a curve, nothing is learned from unlabelled networks.

    Args:
        encoding: Encoding of the space.
        curve: True to read the training loss of the last known epoch.
        seed: Seeds weights, orders, dropout and draws.

    Source: White et al. (NeurIPS 2021), section 5, and its code.

    Differs: thresholds come from the networks learned from only. The score of an unlabelled network is not computed:
        its bin is drawn, all being equally frequent.
    """

    def __init__(self, encoding: Encoding, curve: bool = False, seed: int = 0) -> None:
        super().__init__(encoding, unlabelled=0 if curve else 1, seed=seed)
        self.requires = frozenset({SCORE, CURVE} if curve else {SCORE})
        self._edges: dict[str, Floats] = {}

    @property
    def _tokens(self) -> int:
        # two for each thing known, after those of the encoding: not this bin, this bin
        return self.encoding.tokens + 2 * len(self.requires)

    def _fit(self, genotypes: Sequence[Genotype], targets: Floats, info: Info) -> None:
        count = len(genotypes)
        self._edges[SCORE] = _edges(info[SCORE][:, -1], thresholds(count))
        if CURVE in self.requires:
            self._edges[CURVE] = _edges(info[CURVE][:, -1], min(9, max(1, count // 5)))
        super()._fit(genotypes, targets, info)

    def _inputs(self, genotypes: Sequence[Genotype], info: Info) -> Inputs:
        bins = {name: np.searchsorted(edges, info[name][:, -1]) for name, edges in self._edges.items()}
        return self._with_bins(super()._inputs(genotypes, info), bins)

    def _draw(self, count: int, generator: torch.Generator) -> Inputs:
        drawn = {
            name: torch.randint(len(edges) + 1, (count,), generator=generator).numpy()
            for name, edges in self._edges.items()
        }
        return self._with_bins(super()._draw(count, generator), drawn)

    def _with_bins(self, sequences: Inputs, bins: dict[str, NDArray[np.int64]]) -> Inputs:
        """Append the bins of each network as tokens."""
        parts = [*sequences]
        for place, (name, edges) in enumerate(self._edges.items()):
            marks = np.arange(len(edges) + 1) == bins[name][:, None]
            parts.append(torch.from_numpy(self.encoding.tokens + 2 * place + marks))
        return (torch.cat(parts, 1),)


def thresholds(count: int) -> int:
    """Number of thresholds of a score for ``count`` networks."""
    return next((number for most, number in THRESHOLDS.items() if count <= most), MOST_THRESHOLDS)


def _edges(values: Floats, count: int) -> Floats:
    """Thresholds between bins of equally many values."""
    found: Floats = np.quantile(values, np.arange(1, count + 1) / (count + 1))
    return found


def omni_seminas(encoding: Encoding, seed: int = 0) -> OmniSequenceRegression:
    """Make the predictor without a learning curve, as searches use it."""
    return OmniSequenceRegression(encoding, seed=seed)
