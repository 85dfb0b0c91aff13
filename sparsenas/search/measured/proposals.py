"""Proposals: a code recovered from measurements names what to measure next."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from sparsenas.search.measured.decoding import Decoder
from sparsenas.search.measured.history import Measurement, scores
from sparsenas.search.measured.prior import OPEN, Prior
from sparsenas.spaces import Genotype, SearchSpace, StageSpace
from sparsenas.spaces.features import Dictionary, Feature, Floats, describe
from sparsenas.spaces.stage import Chain, read_chain
from sparsenas.sparse_coding import GroupFit, GroupRegression

#: Best architectures of a code that are looked at for one that is new and fits; all of a small space are.
LISTED = 64
#: Fewer measurements recover no code: what is expected stays as the prior says.
LEAST = 4
#: Share of the widths of a prior by which draws from it differ: a best of many would else be the luckiest of them.
SHY = 0.4
#: Least deviation of what is expected of an architecture, in deviations between architectures.
DOUBT = 0.3


@dataclass(frozen=True)
class Expected:
    """Score that is expected of an architecture that was not measured, and its standard deviation."""

    mean: float
    deviation: float


@dataclass(frozen=True)
class Code:
    """A recovered code, and what it says.

    Attributes:
        dictionary: Features and decisions.
        fit: The code with its certificate; ``None`` where the prior alone speaks.
        prior: Prior mean of the code, shape ``(N,)``.
        doubt: Deviation of scores from what the code predicts of architectures that it has not seen.
    """

    dictionary: Dictionary
    fit: GroupFit | None
    prior: Floats
    doubt: float

    @property
    def values(self) -> Floats:
        """Worth of each feature, shape ``(N,)``."""
        return self.prior if self.fit is None else self.fit.code

    def expect(self, described: Sequence[Counter[Feature]], known: Sequence[Counter[Feature]]) -> Floats:
        """Expect scores of architectures, shape ``(K,)``; without a fit, relative to the mean of those known."""
        rows = self.dictionary.rows(described)
        if self.fit is not None:
            return self.fit.predict(rows)
        raw: Floats = rows @ self.prior
        return raw - (self.dictionary.rows(known) @ self.prior).mean() if known else raw


class Proposer:
    """Recovers codes from measurements of one rung, and decodes them to architectures.

    Measurements ``b`` are the normal scores of paired losses; the dictionary ``A`` holds the features of what was
    measured, in one group per decision; group-sparse recovery around the prior mean gives ``z``. Its best architectures
    are found exactly, and those that are new and fit the budget are proposed: to be measured, never to be believed.

    Args:
        space: Search space.
        side: Smaller side of the images in pixels.
        fits: Says if an architecture fits the budget.
        prior: What is expected before.
        regression: Recovers the code.
        seed: Seeds draws.
        decoder: Finds the best architectures of a code; several proposers of one space may share it.
    """

    def __init__(
        self,
        space: SearchSpace,
        side: int,
        fits: Callable[[Genotype], bool],
        prior: Prior | None,
        regression: GroupRegression,
        seed: int,
        decoder: Decoder | None = None,
    ) -> None:
        self.space, self.fits, self.prior, self.regression, self.seed = space, fits, prior, regression, seed
        self.side = side
        self._decoder = decoder or Decoder(space, side)
        self._codes: dict[tuple[Measurement, ...], Code] = {}
        self._proposed: dict[tuple[tuple[Measurement, ...], frozenset[str], int], list[Genotype]] = {}

    @property
    def possible(self) -> bool:
        """True if codes can be decoded in this space."""
        return self._decoder.possible

    def recover(self, measured: Sequence[Measurement]) -> Code:
        """Recover a code from measurements of one rung."""
        known = tuple(measured)
        if known not in self._codes:
            self._codes[known] = self._recover(known)
        return self._codes[known]

    def again(self, measured: Sequence[Measurement], rng: np.random.Generator) -> Code:
        """Recover a code from measurements drawn anew from these, with the penalty chosen for all of them."""
        whole = self.recover(measured)
        if whole.fit is None:
            return whole
        return self._recover(measured, rng.integers(len(measured), size=len(measured)), whole.fit.penalty)

    def _recover(
        self,
        measured: Sequence[Measurement],
        rows: NDArray[np.int64] | None = None,
        penalty: float | None = None,
    ) -> Code:
        """Recover a code, of ``rows`` of the measurements, which may repeat."""
        described = [_described(measurement.entrant.key, self.side) for measurement in measured]
        dictionary = self._dictionary(described)
        mean = np.zeros(len(dictionary)) if self.prior is None else dictionary.vector(dict(self.prior.mean))
        target = scores(measured, believing=False)
        chosen = np.arange(len(target)) if rows is None else rows
        if len(target) < LEAST or np.ptp(target[chosen]) == 0:
            return Code(dictionary, None, mean, 1.0)
        widths = np.ones(len(dictionary)) if self.prior is None else dictionary.vector(dict(self.prior.width), OPEN)
        # a group whose worth is known well is not left easily
        known = np.sqrt(np.bincount(dictionary.groups, np.square(widths)) / np.bincount(dictionary.groups))
        weights = dictionary.weights / np.maximum(known, 1e-3)
        A = dictionary.rows(described)[chosen]
        fit = self.regression.fit_groups(A, target[chosen], dictionary.groups, weights, mean, penalty)
        missed = float(np.sqrt(np.square(fit.held_out - target[chosen]).mean()))
        return Code(dictionary, fit, mean, max(missed, DOUBT) if np.isfinite(missed) else 1.0)

    def propose(self, measured: Sequence[Measurement], taken: set[str], count: int) -> list[Genotype]:
        """Name new architectures that fit: the best of the code, then the best of codes of measurements drawn anew.

        Args:
            measured: Measurements of one rung.
            taken: Keys of all that have entered.
            count: Most architectures.
        """
        if not self.possible:
            return []
        asked = tuple(measured), frozenset(taken), count
        if asked not in self._proposed:
            self._proposed[asked] = self._propose(measured, taken, count)
        return self._proposed[asked]

    def _propose(self, measured: Sequence[Measurement], taken: set[str], count: int) -> list[Genotype]:
        rng = np.random.default_rng((self.seed, len(measured)))
        found: dict[str, Genotype] = {}
        for attempt in range(2 * count):  # some name nothing new
            code = self.recover(measured) if attempt == 0 else self.again(measured, rng)
            new = self._first_new(code.dictionary.named(code.values), {*taken, *found})
            if new is not None:
                found[new.to_json()] = new
            if len(found) == count:
                break
        return list(found.values())

    def draw(
        self, rng: np.random.Generator, taken: set[str], first: bool = False, patience: int = 200
    ) -> Genotype | None:
        """Draw an architecture that fits: the best of a code drawn from the prior, or uniformly without one.

        Args:
            rng: Generator of the draws.
            taken: Keys of all that may not be drawn.
            first: Take the best of the prior mean itself.
            patience: Most draws until one is new and fits.
        """
        known = set(map(identity, taken))
        for _ in range(patience):
            if self.prior is None or not self.possible or not self.prior.width:
                genotype = self.space.sample(rng)
                if identity(genotype.to_json()) not in known and self.fits(genotype):
                    return genotype
            else:
                dictionary = self._dictionary([])
                mean, width = dictionary.vector(dict(self.prior.mean)), dictionary.vector(dict(self.prior.width), OPEN)
                noise = SHY * width * rng.normal(size=len(mean)) * (not first)
                new = self._first_new(dictionary.named(mean + noise), taken)
                if new is not None:
                    return new
        return None

    def expect(self, measured: Sequence[Measurement], keys: Sequence[str]) -> list[Expected]:
        """Expect the scores of architectures beside those measured."""
        code = self.recover(measured)
        known = [_described(measurement.entrant.key, self.side) for measurement in measured]
        means = code.expect([_described(key, self.side) for key in keys], known)
        return [Expected(float(mean), code.doubt) for mean in means]

    def posterior(self, measured: Sequence[Measurement], bootstraps: int = 20) -> Prior | None:
        """Learn the worth of decisions from measurements of one rung, for later searches; ``None`` if they are too few.

        Widths are deviations of codes of measurements drawn anew.
        """
        code = self.recover(measured)
        if code.fit is None:
            return None
        rng, found = np.random.default_rng((self.seed, len(measured))), []
        for _ in range(bootstraps):
            found.append(self.again(measured, rng).values)
        widths = np.maximum(np.std(found, axis=0), DOUBT)
        seen = {feature for measurement in measured for feature in _described(measurement.entrant.key, self.side)}
        means, deviations = code.dictionary.named(code.values), code.dictionary.named(widths)
        return Prior(
            self.space.name,
            {feature: means[feature] for feature in seen},
            {feature: deviations[feature] for feature in seen},
            f"{len(measured)} networks",
        )

    def _first_new(self, code: dict[Feature, float], taken: set[str]) -> Genotype | None:
        known = set(map(identity, taken))
        for genotype in self._decoder.ordered(code, LISTED):
            if self.fits(genotype) and identity(genotype.to_json()) not in known:
                return genotype
        return None

    def _dictionary(self, described: Sequence[Counter[Feature]]) -> Dictionary:
        prior = [] if self.prior is None else [Counter(dict.fromkeys(self.prior.mean, 1))]
        return Dictionary([*described, *self._possible, *prior])

    @cached_property
    def _possible(self) -> list[Counter[Feature]]:
        """Descriptions of some draws, whose features a code may speak of, measured or not."""
        rng = np.random.default_rng(self.seed)
        return [describe(self.space.sample(rng), self.side) for _ in range(LISTED)]


@lru_cache(maxsize=4096)
def identity(key: str) -> Chain | str:
    """Name that networks of equal layers share, however their genotypes write that a layer is left out."""
    genotype = Genotype.from_json(key)
    return read_chain(genotype) if genotype.space == StageSpace.name else key


@lru_cache(maxsize=4096)
def _described(key: str, side: int) -> Counter[Feature]:
    """Describe the architecture of a key."""
    return describe(Genotype.from_json(key), side)
