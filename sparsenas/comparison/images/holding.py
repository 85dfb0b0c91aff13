"""A tournament as a competitor: it searches, and its winner trains on."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytorch_lightning as pl

from sparsenas.comparison.images.common import FILLED, Common, quiet_trainer
from sparsenas.comparison.images.competitors import Competitor, Decision
from sparsenas.search import Budget, Tournament, TournamentSearch


@dataclass(frozen=True)
class Held(Competitor):
    """A tournament in the space of the comparison, by its recipe, under its budget, within its seconds.

    Attributes:
        options: Options of :class:`~sparsenas.search.Tournament`.
    """

    options: Mapping[str, Any]

    def decide(self, common: Common) -> Decision:
        """See :meth:`Competitor.decide`."""
        pl.seed_everything(common.seed, workers=True, verbose=False)
        search = self.make(common)
        quiet_trainer(common.folder, [], max_epochs=0).fit(search, datamodule=common.data)
        return Decision(search.genotype, search.summary(), module=search)

    def make(self, common: Common) -> TournamentSearch:
        """Make the search.

        Raises:
            ConfigError: If an option is wrong, or does not suit the space.
        """
        return TournamentSearch(
            common.data.image_shape,
            common.data.num_classes,
            common.space,
            FILLED,
            replace(common.training, steps=None, seconds=common.clock.left),
            Budget(**vars(common.limits)),
            common.tournament or Tournament(),
            seed=common.seed,
        )
