"""With what an architecture is measured: images, and networks at the size of the search."""

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
from sparsenas.search.base import ImageBatch
from sparsenas.spaces import SearchSpace, Support


@dataclass(frozen=True)
class Bench:
    """What measurements are made with: images of the search's own training data, and networks at its size.

    Attributes:
        space: Search space.
        size: Of the networks.
        norms: Batch-norm options of their cells.
        costs: Of the candidates at that size.
        batches: Training batches, in the order in which they came.
        seed: All weights and draws follow from it, so that a resumed search repeats an uninterrupted one.
        shared: How good an architecture is with the weights of a trained super-net; ``None`` where there is none.
        derive: Its network with a copy of these weights; ``None`` where there is none.
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
        """A network that nobody trains: every score of a repeat reads the same one, which is built once."""
        key = support, repeat, pixels
        if key not in self._untrained:
            self._untrained[key] = self.network(support, repeat, pixels)
        return self._untrained[key]

    def network(
        self, support: Support, repeat: int, pixels: int, channels: int | None = None, cells: int | None = None
    ) -> DerivedNet:
        """A network with new weights, the same ones for the same ``repeat``; on the device of the images."""
        size = self.size.copy()
        size["image_shape"] = (size["image_shape"][0], pixels, pixels)
        size["channels"], size["cells"] = channels or size["channels"], cells or size["cells"]
        with isolate_rng():
            # not the sum: neighbouring seeds would share weights
            torch.manual_seed(int(np.random.SeedSequence((self.seed, repeat)).generate_state(1)[0]))
            network = DerivedNet(self.space.genotype(support), norms=self.norms, **size)
        return network.to(self.batches[0][0].device).to(memory_format=torch.channels_last)

    def images(self, number: int, pixels: int) -> ImageBatch:
        """A batch at a size; after the last one comes the first."""
        images, labels = self.batches[number % len(self.batches)]
        return shrunk(images, pixels), labels


def shrunk(images: Tensor, pixels: int) -> Tensor:
    """Images averaged down to so many pixels a side; as they are if they are no larger."""
    return images if max(images.shape[2:]) <= pixels else functional.adaptive_avg_pool2d(images, pixels)
