"""Images on which a search compares architectures, and the best of those compared."""

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor

from sparsenas.classification import right
from sparsenas.errors import ConfigError
from sparsenas.search.searcher import ImageBatch
from sparsenas.spaces import Support
from sparsenas.sparse_coding import Constraints
from sparsenas.training import ClassificationLoss

#: By what architectures are compared.
Criterion = Literal["loss", "accuracy"]


class HeldOut:
    """The last batches that were shown to it.

    They stay batches: where batch-norms use batch statistics, an evaluation depends on which images come together.

    Args:
        batches: Number of batches that are kept.
    """

    def __init__(self, batches: int) -> None:
        self.batches = batches
        self._kept: list[ImageBatch] = []

    @property
    def images(self) -> tuple[ImageBatch, ...]:
        """The kept batches."""
        return tuple(self._kept)

    def keep(self, batch: ImageBatch) -> None:
        """Keep a batch, and drop the oldest if there are too many."""
        self._kept = [*self._kept, batch][-self.batches :]

    def restore(self, batches: Iterable[ImageBatch], device: torch.device) -> None:
        """Take back batches of a checkpoint."""
        self._kept = [(images.to(device), labels.to(device)) for images, labels in batches]

    def clear(self) -> None:
        """Drop all."""
        self._kept = []

    def score(self, network: Callable[[Tensor], Tensor], criterion: Criterion, loss: ClassificationLoss) -> float:
        """Score a network over all kept images; see :func:`score`."""
        return score(self._kept, network, criterion, loss)


@torch.no_grad()
def score(
    batches: Iterable[ImageBatch], network: Callable[[Tensor], Tensor], criterion: Criterion, loss: ClassificationLoss
) -> float:
    """Score a network over all images of some batches; more is better: minus the mean loss, or the accuracy."""
    pairs = [(network(images), labels) for images, labels in batches]
    logits, labels = (torch.cat(rows) for rows in zip(*pairs, strict=True))
    if criterion == "loss":
        return -float(loss.unsmoothed(logits.float(), labels))
    return float(right(logits, labels).float().mean())


def best_measured(measured: Mapping[Support, float], constraints: Constraints) -> Support:
    """The architecture of largest score among those that the constraints allow.

    Raises:
        ConfigError: If nothing was measured, or nothing that the constraints allow.
    """
    allowed = [support for support in measured if constraints.allows(support)]
    if not allowed:
        raise ConfigError(
            f"none of the {len(measured)} measured architectures meets the rules; measure more, or relax them"
        )
    return max(allowed, key=measured.__getitem__)
