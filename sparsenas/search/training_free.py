"""Search without training: score untrained networks of nearly equal size, and keep the best."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor
from torch.nn import functional

from sparsenas.complexity import candidate_costs
from sparsenas.errors import CheckpointError, ConfigError
from sparsenas.networks import DerivedNet, NormOptions, StemName, SuperNet
from sparsenas.search.band import Band
from sparsenas.search.base import SearchModule
from sparsenas.search.rules import SupportRules
from sparsenas.spaces import DartsSpace, SearchSpace, Support
from sparsenas.sparse_coding import Constraints
from sparsenas.zero_cost import ZeroCostScore


class TrainingFreeSearch(SearchModule):
    """Draw architectures of nearly the largest feasible size, score each untrained, keep the best.

    Nothing is trained, and no label is read: one batch of images is all that it needs. It is the opponent of every
    search that claims to have learned something from training. Which score ranks the architectures of a space is
    another matter: the same one can be good in one space and worthless in the next, so there is no default.

    Under other rules, :meth:`decide` draws and scores architectures of the band that these leave open.

    Args:
        image_shape: ``(C, H, W)`` of the images; the command line takes it from the data.
        num_classes: Number of classes; the command line takes it from the data.
        score: By what architectures are compared.
        space: Search space.
        channels: Channels of the network's first cell. Scores mean most at the size of the wanted network.
        cells: Cells of the network.
        stem: Kind of stem.
        norms: Batch-norm options of the cells; most scores use batch statistics in any case, or no batch-norms.
        count: Architectures that are scored, under each set of rules.
        band: Least live cost as a share of the largest feasible one, see :class:`~sparsenas.search.band.Band`.
        images: Images of the batch.
        pixels: Images are averaged down to so many pixels a side; ``None`` for as they are.
        rules: What may not be found.
        seed: Seeds architectures and weights; all networks begin with the same seed.

    Raises:
        ConfigError: If options contradict each other, or the images are too small.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        score: ZeroCostScore,
        space: SearchSpace = DartsSpace(),  # noqa: B008 - immutable
        channels: int = 16,
        cells: int = 8,
        stem: StemName = "cifar",
        norms: NormOptions = NormOptions(track=False),  # noqa: B008 - frozen
        count: int = 60,
        band: float = 0.7,
        images: int = 64,
        pixels: int | None = None,
        rules: SupportRules = SupportRules(),  # noqa: B008 - frozen
        seed: int = 0,
    ) -> None:
        if count < 1 or images < 2 or (pixels is not None and pixels < 1) or seed < 0:
            raise ConfigError(
                f"count is {count}, images is {images}, pixels is {pixels}, seed is {seed}; need at least 1 "
                "architecture, 2 images and 1 pixel, and a seed not below 0"
            )
        network = SuperNet(space, image_shape, num_classes, channels, cells, stem, norms)
        super().__init__(space, network, num_classes, seed)
        self.save_hyperparameters()
        self.keep_plain_hyperparameters()
        self.score, self.count, self.band, self.images, self.pixels = score, count, band, images, pixels
        self.rules = rules
        self._costs = candidate_costs(network)
        self._constraints = rules.constraints(space, self._costs if rules.needs_costs else None)
        self._largest = self._band(self._constraints).largest
        self._untrained(self._largest)  # what cannot be is said now
        self._images: Tensor | None = None
        self._best: dict[Constraints, Support] = {}

    @property
    def support(self) -> Support:
        """The best architecture; the largest one before any was scored."""
        return self._best.get(self._constraints, self._largest)

    def decide(self, constraints: Constraints | None = None) -> Support:
        """See :meth:`SearchModule.decide`: the best of the architectures that the rules leave open.

        Raises:
            ConfigError: If rules are new and the images are gone, as in a search that was read from a checkpoint; or if
                the scores rank nothing.
        """
        rules = self._constraints if constraints is None else constraints
        if rules not in self._best:
            if self._images is None:
                raise ConfigError("this search has no images to score architectures under other rules; run it again")
            # the same draws for the same rules, whatever was asked before
            drawn = self._band(rules).draw(self.count, np.random.default_rng(self.seed))
            images = self._images.to(self.network.classifier.weight.device)
            with torch.autocast(images.device.type, enabled=False):  # scores need the digits
                for support in drawn:
                    if support not in self.measured:
                        self.measured[support] = self.score(self._untrained(support), images)
            self.visited.update(drawn)
            scores = {self.measured[support] for support in drawn}
            if scores == {float("-inf")} or (len(scores) == 1 and len(drawn) > 1):
                raise ConfigError(
                    f"all {len(drawn)} scored architectures have the score {scores.pop():g}, which ranks nothing; use "
                    "another score, more images, or larger ones"
                )
            self._best[rules] = max(drawn, key=self.measured.__getitem__)
        return self._best[rules]

    def logits(self, images: Tensor) -> Tensor:
        """Logits of the architecture found, with the untrained weights of the super-net."""
        logits: Tensor = self.network(self._shrunk(images), self.support)
        return logits

    def configure_optimizers(self) -> Any:
        """One that trains nothing, as a trainer counts its steps by an optimizer."""
        return torch.optim.SGD(self.network.parameters(), lr=0.0)

    def on_train_start(self) -> None:
        """Refuse several processes.

        Raises:
            ConfigError: If there are.
        """
        super().on_train_start()
        if self.trainer.world_size > 1:
            raise ConfigError(
                f"trainer.devices makes {self.trainer.world_size} processes, each of which would score other images "
                "and find its own architecture; use 1"
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The architecture found goes beside what every search keeps."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["search"]["found"] = self._best.get(self._constraints)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take back what :meth:`on_save_checkpoint` kept.

        Raises:
            CheckpointError: If the checkpoint is not one of such a search, or its architecture breaks the rules.
        """
        super().on_load_checkpoint(checkpoint)
        if "found" not in checkpoint["search"]:
            raise CheckpointError("the checkpoint is one of another searcher; give one that TrainingFreeSearch wrote")
        found = checkpoint["search"]["found"]
        self._best = {}
        if found is not None:
            if not self._constraints.allows(found):
                raise CheckpointError(
                    f"the architecture of the checkpoint breaks {self.rules.option}, with which it was not searched; "
                    "search again, which takes seconds"
                )
            self._best[self._constraints] = found

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Score architectures on the first batch; whatever comes after it is not read.

        Raises:
            ConfigError: If the batch has too few images.
        """
        self.batches += 1
        if self._constraints not in self._best:
            images, _ = batch["weights"] if isinstance(batch, Mapping) else batch
            if len(images) < self.images:
                raise ConfigError(
                    f"images is {self.images}, but a batch has {len(images)}: set data.batch_size to at least as many"
                )
            self._images = self._shrunk(images[: self.images])
            self.decide()
            self.note_recovery(None)
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)  # for type checkers: there is one
        optimizer.step()  # of nothing, as no gradient is there; the checkpoint callback waits for a step

    def _band(self, constraints: Constraints) -> Band:
        return Band(self.space, constraints, self._costs.parameters, self._costs.base_parameters, self.band)

    def _untrained(self, support: Support) -> DerivedNet:
        """New weights, those of the seed; on the device of the search."""
        with isolate_rng():
            torch.manual_seed(self.seed)
            size = self.network.size.copy()
            if self.pixels is not None:
                size["image_shape"] = (size["image_shape"][0], self.pixels, self.pixels)
            network = DerivedNet(self.space.genotype(support), norms=self.network.norms, **size)
        return network.to(self.network.classifier.weight).to(memory_format=torch.channels_last)

    def _shrunk(self, images: Tensor) -> Tensor:
        """Images at the size that is scored."""
        return images if self.pixels is None else functional.adaptive_avg_pool2d(images, self.pixels)
