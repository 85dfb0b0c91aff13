"""The face of every searcher: what it found, under which budget, and how sure that is."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
from torch import Tensor

from sparsenas.errors import ConfigError
from sparsenas.search.budget import Budget
from sparsenas.spaces import Genotype, SearchSpace, Support
from sparsenas.sparse_coding import Certificate, Constraints

if TYPE_CHECKING:
    from sparsenas.search.base import SearchModule

#: Images ``(B, C, H, W)`` and labels ``(B,)``.
ImageBatch = tuple[Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class SearchResult(ABC):
    """The architecture found, beside those that need no search."""

    @property
    @abstractmethod
    def summary(self) -> str:
        """One sentence for people."""

    @abstractmethod
    def to_plain(self, space: SearchSpace) -> dict[str, object]:
        """Make what JSON knows: architectures become genotypes."""


class Searcher:
    """Face of every searcher, for callbacks, the command line and comparisons.

    Attributes:
        space: Search space.
        budget: Limits of what may be found.
        seed: Seeds all draws.
        visited: Architectures found or measured so far.
        measured: Score of every architecture that the search has scored, more is better; most searchers score none.
    """

    space: SearchSpace
    budget: Budget
    seed: int
    visited: set[Support]
    measured: dict[Support, float]

    @property
    def support(self) -> Support:
        """Support of the architecture found so far."""
        raise NotImplementedError(f"{type(self).__name__} must define support")

    @property
    def genotype(self) -> Genotype:
        """Architecture found so far."""
        return self.space.genotype(self.support)

    @property
    def result(self) -> SearchResult | None:
        """The architecture found and how sure that is; ``None`` before the end, and of searchers that cannot tell."""
        return None

    def decide(self, constraints: Constraints | None = None) -> Support:
        """Find the architecture that the search would end with now.

        Args:
            constraints: Rules that the architecture must keep, instead of the search's own: one search can answer for
                several budgets.

        Raises:
            RecoveryError: If no support satisfies them.
        """
        raise NotImplementedError(f"{type(self).__name__} must define decide")

    def scores(self, constraints: Constraints | None = None) -> Mapping[Support, float]:
        """Scores of the architectures that the search compared to decide under some rules; more is better."""
        if constraints is None:
            return self.measured
        return {support: score for support, score in self.measured.items() if constraints.allows(support)}

    def summary(self, constraints: Constraints | None = None) -> str:
        """One sentence on what :meth:`decide` gives; empty for most searchers."""
        del constraints
        return ""


@dataclass(frozen=True)
class RecoveryReport:
    """Outcome of a recovery, or of another way to decide on an architecture.

    Attributes:
        count: Recoveries so far; the initial one is 0.
        epoch: Epoch in which it happened.
        batch: Training batches so far.
        support: Recovered support.
        genotype: The same as a genotype.
        churn: Share of kept candidates replaced since the last recovery, in [0, 1].
        visited: Distinct architectures recovered so far.
        code: Code, shape ``(B, n)``, on the CPU; ``None`` from a searcher that has none.
        certificate: Quality of the code; ``None`` with it.
    """

    count: int
    epoch: int
    batch: int
    support: Support
    genotype: Genotype
    churn: float
    visited: int
    code: Tensor | None
    certificate: Certificate | None


class RecoveryListener(pl.Callback):
    """A callback that hears of every recovery, the initial one included."""

    def on_recovery(self, trainer: pl.Trainer, search: "SearchModule", report: RecoveryReport) -> None:
        """Called right after a recovery, on every rank."""


def bilevel(batch: Any) -> tuple[ImageBatch, ImageBatch]:
    """Take the weights batch and the architecture batch.

    Raises:
        ConfigError: If the data module does not split the training images in two.
    """
    if not isinstance(batch, Mapping) or set(batch) != {"weights", "arch"}:
        raise ConfigError(
            "the searcher needs two streams of training images, but the data module yields one: "
            "set data.arch_fraction, e.g. 0.4 (the share of training images that trains the architecture)"
        )
    return batch["weights"], batch["arch"]
