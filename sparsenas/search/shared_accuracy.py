"""Accuracy of architectures with the shared weights of a search, for predictors and rankings."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch

from sparsenas.classification import right
from sparsenas.errors import ConfigError
from sparsenas.networks import SuperNet, batch_statistics
from sparsenas.search.base import SearchModule
from sparsenas.search.searcher import ImageBatch
from sparsenas.spaces import Genotype


class SharedAccuracy:
    """Accuracy of genotypes with the shared weights of a search: call it with one, get percent.

    Each enters as training batches enter it, and with the statistics of each batch. Nothing of the search changes. The
    search may have found something or not: a super-net trained on uniform paths is the one-shot predictor.

    Args:
        search: A search whose weights many architectures share, after its training.
        batches: Images and labels that no weight was trained on, on the search's device.

    Raises:
        ConfigError: If there are no images, or the weights are those of one architecture. A call raises a
            ``GenotypeError`` for a genotype of another space.

    Source: Bender et al., Understanding and Simplifying One-Shot Architecture Search (ICML 2018); Li and Talwalkar,
        Random Search and Reproducibility for NAS (UAI 2019).
    """

    def __init__(self, search: SearchModule, batches: Iterable[ImageBatch]) -> None:
        self.search, self.batches = search, tuple(batches)
        if not self.batches:
            raise ConfigError("there are no images to measure shared accuracies on; give at least one batch")
        if not search.shares_weights:
            raise ConfigError(
                f"{type(search).__name__}: the weights are those of the architecture found alone; give a search whose "
                "weights are shared"
            )

    def __call__(self, genotype: Genotype) -> float:
        """Measure a genotype, in percent."""
        support = self.search.space.support(genotype)
        with evaluating(self.search.network):
            hits = [right(self.search.shared_logits(images, support), labels) for images, labels in self.batches]
        return 100 * float(torch.cat(hits).float().mean())


@contextmanager
def evaluating(network: SuperNet) -> Iterator[None]:
    """Put a super-net in evaluation mode, but with the statistics of each batch, and without gradients."""
    training = network.training
    network.eval()
    try:
        with torch.no_grad(), batch_statistics(network):
            yield
    finally:
        network.train(training)
