"""Means of measuring an architecture: images, and networks at the size of the search."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor
from torch.nn import functional

from sparsenas.complexity import CandidateCosts
from sparsenas.networks import DerivedNet, NormOptions
from sparsenas.networks.network import NetworkSize
from sparsenas.search.searcher import ImageBatch
from sparsenas.spaces import SearchSpace, Support


@dataclass(frozen=True)
class Bench:
    """Images of the search's own training data, and networks at its size.

    Attributes:
        space: Search space.
        size: Size of the networks.
        norms: Batch-norm options of their cells.
        costs: Costs of the candidates at that size.
        batches: Training batches, in the order in which they came.
        seed: Seed of all weights and draws, so that a resumed search repeats an uninterrupted one.
        shared: Score of an architecture with the weights of a trained super-net; ``None`` without one.
        derive: Network of an architecture with a copy of these weights; ``None`` without a super-net.
    """

    space: SearchSpace
    size: NetworkSize
    norms: NormOptions
    costs: CandidateCosts
    batches: Sequence[ImageBatch]
    seed: int
    shared: Callable[[Support], float] | None = None
    derive: Callable[[Support], DerivedNet] | None = None
    _untrained: dict[tuple[Support, int, int], DerivedNet] = field(default_factory=dict, repr=False, compare=False)

    def untrained(self, support: Support, repeat: int, pixels: int) -> DerivedNet:
        """Return the network that every score of a repeat reads; it is built once, and nobody trains it."""
        key = support, repeat, pixels
        if key not in self._untrained:
            self._untrained[key] = self.network(support, repeat, pixels)
        return self._untrained[key]

    def network(
        self, support: Support, repeat: int, pixels: int, channels: int | None = None, cells: int | None = None
    ) -> DerivedNet:
        """Build a network with new weights, the same ones for the same ``repeat``, on the device of the images."""
        size = self.size.copy()
        size["image_shape"] = (size["image_shape"][0], pixels, pixels)
        size["channels"], size["cells"] = channels or size["channels"], cells or size["cells"]
        with isolate_rng():
            # not the sum: neighbouring seeds would share weights
            torch.manual_seed(int(np.random.SeedSequence((self.seed, repeat)).generate_state(1)[0]))
            network = DerivedNet(self.space.genotype(support), norms=self.norms, **size)
        return network.to(self.batches[0][0].device).to(memory_format=torch.channels_last)

    def images(self, number: int, pixels: int) -> ImageBatch:
        """Return a batch at a size; after the last one comes the first."""
        images, labels = self.batches[number % len(self.batches)]
        return shrunk(images, pixels), labels


def shrunk(images: Tensor, pixels: int) -> Tensor:
    """Average images down to so many pixels a side; return them as they are if they are no larger."""
    return images if max(images.shape[2:]) <= pixels else functional.adaptive_avg_pool2d(images, pixels)
