"""Any searcher as a competitor: it searches for a share of the seconds; what it found is trained anew for the rest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from sparsenas.comparison.build import SearcherModule
from sparsenas.comparison.checks import check_whole
from sparsenas.comparison.images.clock import StopAt
from sparsenas.comparison.images.common import FILLED, Common, quiet_trainer
from sparsenas.comparison.images.competitors import Competitor, Decision, check_share, check_size
from sparsenas.errors import ConfigError
from sparsenas.networks import NetworkConfig, StemName
from sparsenas.search import Searcher, TournamentSearch


@dataclass(frozen=True)
class Search(Competitor):
    """A searcher.

    Attributes:
        model: Its class and options, as in a config of ``fit``; without ``space``, it searches that of the comparison.
        share: Share of the seconds for the search.
        max_epochs: Epochs of the search, over which its schedules go; the share may end it before.
        arch_fraction: Share of the training images for the architecture, of searchers that need them apart.
        cells: Number of cells of the network that is trained, of spaces that leave it open.
        stem: Its kind of stem, likewise.

    Raises:
        ConfigError: If a number is out of range.
    """

    model: Mapping[str, Any]
    share: float = 0.3
    max_epochs: int | None = None
    arch_fraction: float = 0.0
    cells: int | None = None
    stem: StemName = FILLED.stem

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_share("share", self.share)
        if self.max_epochs is not None:
            check_whole(self.max_epochs, "max_epochs")
        if self.arch_fraction != 0:
            check_share("arch_fraction", self.arch_fraction)
        check_size(self.cells, self.stem)

    def check(self, model: Any) -> SearcherModule:
        """Return the model if it is a searcher that these options suit.

        Raises:
            ConfigError: If not.
        """
        if not isinstance(model, Searcher):
            raise ConfigError(f"model is {type(model).__name__}, which searches nothing")
        if isinstance(model, TournamentSearch):
            raise ConfigError("model is TournamentSearch, whose winner trains on; use the kind tournament instead")
        if self.max_epochs is None:
            raise ConfigError(f"max_epochs is missing; {type(model).__name__} needs the length of its schedules")
        return cast(SearcherModule, model)

    def decide(self, common: Common) -> Decision:
        """See :meth:`Competitor.decide`."""
        search = self.check(common.model)
        end = self.share * common.clock.total
        trainer = quiet_trainer(common.folder, [StopAt(common.clock, end)], self.max_epochs or 0)
        trainer.fit(search, datamodule=common.images or common.data)
        return Decision(search.space.genotype(search.decide()), search.summary(), self.network)

    @property
    def network(self) -> NetworkConfig:
        """Size of the network that is trained, apart from its width."""
        return NetworkConfig(channels=None, cells=self.cells, stem=self.stem)
