"""Selection of a search over shared weights by a sparse code over measurements."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from sparsenas.search.measured.loop import MeasuringLoop
from sparsenas.search.measured.survey import Measuring
from sparsenas.search.selection import Selected, Selection, TrainedSuperNet
from sparsenas.spaces import Support
from sparsenas.sparse_coding import Constraints


@dataclass(frozen=True)
class MeasuredSelection(Selection):
    """Decide as :class:`~sparsenas.search.MeasuredSearch` does, inside the size band that the budget leaves open.

    Attributes:
        measuring: Proxies and their use; :class:`~sparsenas.search.SharedWeights` may be one of them.
    """

    measuring: Measuring = field(default_factory=Measuring)

    def select(
        self,
        trained: TrainedSuperNet,
        constraints: Constraints,
        measured: Mapping[Support, float],
        rng: np.random.Generator,
    ) -> Selected:
        """See :class:`Selection`.

        Raises:
            ConfigError: If too little was measured to decide, or no proxy ranks anything. A search that was read from a
                checkpoint has no images to measure with.
        """
        loop = MeasuringLoop(
            trained.network, self.measuring, trained.batches, trained.seed, None, trained.score, trained.memory
        )
        result = loop.run(constraints, self.measuring.seconds)
        return Selected(result.support, loop.scores(constraints), result)

    def check_batch(self, images: int) -> None:
        """See :class:`Selection`."""
        for proxy in self.measuring.measurements:
            proxy.check(images)
