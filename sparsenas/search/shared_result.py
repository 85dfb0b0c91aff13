"""Compare, by shared weights, the architecture found with those that need no search."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sparsenas.complexity import candidate_costs
from sparsenas.search.base import SearchModule
from sparsenas.search.searcher import ImageBatch, SearchResult
from sparsenas.search.shared_accuracy import evaluating
from sparsenas.search.size_band import SizeBand
from sparsenas.spaces import SearchSpace, Support

Floats = NDArray[np.float64]

#: Random architectures of nearly the largest size, bootstraps over images, and how many of these make a lead certain.
RANDOM, BOOTSTRAPS, CERTAIN = 8, 1000, 0.9

#: What a lead is worth.
NO_PROOF = "No proof that it is better: shared weights serve what was trained most"


@dataclass(frozen=True, kw_only=True)
class SharedResult(SearchResult):
    """The found architecture beside trivial ones, all with the same shared weights on the same images.

    Shared weights tell little between architectures of nearly equal size, and most searches train what they find more
    than the others: that it is not ahead is a reason for doubt; that it is ahead is no proof.

    Attributes:
        support: The architecture found.
        largest: The largest architecture that the budget allows.
        beats_largest: Share of the bootstraps in which the best is ahead of the largest; 1 if it is the largest.
        loss: Mean cross-entropy of what was found.
        largest_loss: The same of the largest.
        random_losses: Losses of random architectures of nearly the largest size; empty where there is none.
        beats_random: Share of the bootstraps in which what was found has a smaller loss than the mean of the random
            ones; ``None`` without them.
        images: Number of images.
    """

    support: Support
    largest: Support
    beats_largest: float
    loss: float
    largest_loss: float
    random_losses: tuple[float, ...]
    beats_random: float | None
    images: int

    @property
    def summary(self) -> str:
        """One sentence for people."""
        random = ""
        if self.beats_random is not None:
            mean = np.mean(self.random_losses)
            random = f"; ahead of random networks of nearly that size ({mean:.3f}) in {self.beats_random:.0%}"
        by = f"loss with shared weights on {self.images} images, {BOOTSTRAPS} bootstraps"
        if self.support == self.largest:
            return f"the largest network ({self.loss:.3f}){random} ({by})"
        ahead = f"ahead of it ({self.largest_loss:.3f}) in {self.beats_largest:.0%}{random} ({by})"
        if self.beats_largest < CERTAIN:
            return f"no better than the largest network at this budget: the network found ({self.loss:.3f}) is {ahead}"
        return f"the network found ({self.loss:.3f}) and the largest one: {ahead}. {NO_PROOF}"

    def to_plain(self, space: SearchSpace) -> dict[str, object]:
        """See :class:`SearchResult`."""
        return {
            "summary": self.summary,
            "found": {"genotype": json.loads(space.genotype(self.support).to_json()), "loss": self.loss},
            "largest": {"genotype": json.loads(space.genotype(self.largest).to_json()), "loss": self.largest_loss},
            "random": {"losses": list(self.random_losses)},
            "beats_largest": self.beats_largest,
            "beats_random": self.beats_random,
            "images": self.images,
        }


def compare_with_baselines(search: SearchModule, batches: Iterable[ImageBatch]) -> SharedResult:
    """Compare what a search found with the largest architecture and random ones of nearly its size.

    Each enters as training batches enter it, and with the statistics of each batch. Nothing of the search changes.

    Args:
        search: A search whose weights many architectures share.
        batches: Images and labels that no weight was trained on, on the search's device.

    Raises:
        RecoveryError: If no architecture keeps the search's rules.
    """
    costs = candidate_costs(search.network)
    rules = search.budget.constraints(search.space, costs)
    band = SizeBand(search.space, rules, costs.parameters, costs.base_parameters, seed=search.seed)
    drawn = band.draw(RANDOM + 1, np.random.default_rng(search.seed))
    random = [support for support in drawn if support != band.largest][:RANDOM]
    losses = _losses(search, [search.support, band.largest, *random], batches)
    images = losses.shape[1]
    times = np.random.default_rng(search.seed).multinomial(images, np.full(images, 1 / images), size=BOOTSTRAPS)
    means = losses @ times.T / images
    same = search.support == band.largest
    return SharedResult(
        support=search.support,
        loss=float(losses[0].mean()),
        largest=band.largest,
        largest_loss=float(losses[1].mean()),
        random_losses=tuple(losses[2:].mean(1).tolist()),
        beats_largest=1.0 if same else float((means[0] < means[1]).mean()),
        beats_random=float((means[0] < means[2:].mean(0)).mean()) if random else None,
        images=images,
    )


def _losses(search: SearchModule, supports: list[Support], batches: Iterable[ImageBatch]) -> Floats:
    """Loss of every image, with the weight of its class, shape ``(len(supports), images)``."""
    rows = []
    with evaluating(search.network):
        for images, labels in batches:
            logits = [search.shared_logits(images, support).float() for support in supports]
            rows.append(torch.stack([search.loss.each(row, labels) for row in logits]))
    losses: Floats = torch.cat(rows, 1).double().cpu().numpy()
    return losses
