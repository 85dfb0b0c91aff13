"""Competitors: each decides on an architecture, by hand, by chance, by size, or by a search."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from sparsenas.comparison.checks import check_whole
from sparsenas.comparison.images.common import FILLED, Common
from sparsenas.complexity import Complexity, network_cost
from sparsenas.errors import BudgetError, ConfigError
from sparsenas.networks import NetworkConfig, StemName
from sparsenas.spaces import REFERENCES, Genotype, read_genotype
from sparsenas.training import NetworkTraining

#: Random draws among which the largest is taken.
DRAWS = 200
#: Most random draws until one keeps the budget.
PATIENCE = 1000


class Decision(NamedTuple):
    """The network that a competitor trains.

    Attributes:
        genotype: The architecture; ``None`` if it is of no space.
        remark: How it was found, for people; may be empty.
        network: Its size apart from the width.
        module: What trains it; ``None`` for a new network of the genotype.
    """

    genotype: Genotype | None
    remark: str = ""
    network: NetworkConfig = FILLED
    module: NetworkTraining | None = None

    def training(self, common: Common) -> NetworkTraining:
        """Return what trains the network.

        Raises:
            BudgetError: See :meth:`Common.make`, as for the following.
            ConfigError: Likewise.
        """
        if self.module is not None:
            return self.module
        assert self.genotype is not None  # for type checkers: what is of no space has a module
        return common.make(self.genotype, self.network)


class Competitor(ABC):
    """One who decides on an architecture. Its options are the fields of a dataclass."""

    def load(self) -> None:  # noqa: B027  # most need nothing
        """Import a package that not all competitors need, before the clock runs.

        Raises:
            ConfigError: If it is not installed.
        """

    @abstractmethod
    def decide(self, common: Common) -> Decision:
        """Decide on an architecture; the clock runs.

        Raises:
            SparseNASError: If there is none.
        """


@dataclass(frozen=True)
class Reference(Competitor):
    """A network that people make by hand.

    Attributes:
        name: Its name.

    Raises:
        ConfigError: If there is no such network.
    """

    name: str

    def __post_init__(self) -> None:
        """Check the name."""
        if self.name not in REFERENCES:
            raise ConfigError(f"no reference network is called {self.name!r}; there are {', '.join(REFERENCES)}")

    def decide(self, common: Common) -> Decision:
        """See :meth:`Competitor.decide`."""
        return Decision(REFERENCES[self.name].genotype)


@dataclass(frozen=True)
class Given(Competitor):
    """An architecture of the user's own, of any space.

    Attributes:
        genotype: The architecture: a file, a text, or a name.
        cells: Number of cells, of spaces that leave it open.
        stem: Kind of stem, likewise.

    Raises:
        GenotypeError: If it is none.
        ConfigError: If an option is wrong.
    """

    genotype: str
    cells: int | None = None
    stem: StemName = FILLED.stem

    def __post_init__(self) -> None:
        """Check the options."""
        if not isinstance(self.genotype, str):
            raise ConfigError(f"genotype is {self.genotype!r}, which is no text; write it in quotes")
        check_size(self.cells, self.stem)
        read_genotype(self.genotype)

    @property
    def plain(self) -> dict[str, Any]:
        """Options with the architecture itself, which no longer depend on a file."""
        return {**asdict(self), "genotype": read_genotype(self.genotype).to_json()}

    def decide(self, common: Common) -> Decision:
        """See :meth:`Competitor.decide`."""
        network = NetworkConfig(channels=None, cells=self.cells, stem=self.stem)
        return Decision(read_genotype(self.genotype), network=network)


@dataclass(frozen=True)
class RandomDraw(Competitor):
    """A uniform draw from the space; drawn again while it breaks the budget at its narrowest."""

    def decide(self, common: Common) -> Decision:
        """See :meth:`Competitor.decide`."""
        rng = np.random.default_rng(common.seed)
        for _ in range(PATIENCE):
            genotype = common.space.sample(rng)
            if common.width(genotype) is not None:
                return Decision(genotype)
        raise BudgetError(f"none of {PATIENCE} random networks of the space keeps the budget: raise it")


@dataclass(frozen=True)
class Largest(Competitor):
    """The largest of random draws that fill the budget.

    Attributes:
        by: Its share of the most parameters, of the most MACs, or the sum of both shares. The most is what the budget
            allows, or else what a draw has.

    Raises:
        ConfigError: If ``by`` is something else.
    """

    by: Literal["params", "macs", "both"]

    def __post_init__(self) -> None:
        """Check the measure."""
        if self.by not in ("params", "macs", "both"):
            raise ConfigError(f"largest by {self.by!r}; use params, macs or both")

    def decide(self, common: Common) -> Decision:
        """See :meth:`Competitor.decide`."""
        rng = np.random.default_rng(common.seed)
        costs: dict[Genotype, Complexity] = {}
        for genotype in (common.space.sample(rng) for _ in range(DRAWS)):
            width = common.width(genotype)
            if width is not None:
                costs[genotype] = network_cost(
                    genotype, common.data.image_shape, common.data.num_classes, width, FILLED
                )
        if not costs:
            raise BudgetError(f"none of {DRAWS} random networks of the space keeps the budget: raise it")
        most_params = common.limits.max_params or max(cost.parameters for cost in costs.values())
        most_macs = common.limits.max_macs or max(cost.macs for cost in costs.values())

        def share(genotype: Genotype) -> float:
            params, macs = costs[genotype].parameters / most_params, costs[genotype].macs / most_macs
            return {"params": params, "macs": macs, "both": params + macs}[self.by]

        return Decision(max(costs, key=share), f"of {len(costs)} draws")


def option_names(kind: type) -> tuple[str, ...]:
    """Names of the options of a kind of competitor, or of another dataclass."""
    return tuple(option.name for option in fields(kind))


def check_size(cells: int | None, stem: str) -> None:
    """Raise a ``ConfigError`` unless these are a number of cells, or ``None``, and a kind of stem."""
    if cells is not None:
        check_whole(cells, "cells")
    if stem not in get_args(StemName):
        raise ConfigError(f"stem is {stem!r}; use one of {', '.join(get_args(StemName))}")


def check_share(option: str, share: float) -> None:
    """Raise a ``ConfigError`` unless a share of the seconds is in (0, 1)."""
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
        raise ConfigError(f"{option} is {share!r}; a share of the seconds lies between 0 and 1")
