"""Random search: train drawn architectures alone, one after another, and keep the best."""

from collections.abc import Sequence
from functools import partial
from math import inf, isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from sparsenas.errors import ConfigError
from sparsenas.networks import NetworkConfig, NormOptions, SuperNet
from sparsenas.schedules import Stretch
from sparsenas.search.baselines.measuring import MeasuringSearch
from sparsenas.search.budget import Budget
from sparsenas.search.held_out import Criterion, best_measured
from sparsenas.search.optimizers import step_schedules
from sparsenas.search.searcher import bilevel
from sparsenas.spaces import DartsSpace, SearchSpace, Support
from sparsenas.sparse_coding import Constraints
from sparsenas.trainer import is_dry_run
from sparsenas.training import WeightTraining, keep_plain_hyperparameters

#: Statistics of the batch: an evaluation after a few epochs is fairer with them.
NORMS = NormOptions(track=False)
#: Draws that the rules may refuse in a row.
PATIENCE = 10_000


class RandomSearch(MeasuringSearch):
    """Draw an architecture, train it from new weights for a few epochs, measure it, go on with the next.

    The honest opponent of every searcher: the same data, the same budget, no shared weights. Architectures are measured
    on the architecture batches of their last epoch.

    Args:
        image_shape: ``(C, H, W)`` of the images; the command line takes it from the data.
        num_classes: Number of classes; the command line takes it from the data.
        space: Search space.
        network: Size and norms of the networks.
        training: Training of each; the schedule begins anew with every training.
        budget: Limits of what is drawn.
        epochs_each: Epochs of each training; ``trainer.max_epochs`` is a multiple of it.
        criterion: By what architectures are compared.
        measure_batches: Architecture batches they are measured on, at most.
        seed: Seeds architectures and weights.

    Raises:
        ConfigError: If options contradict each other, the images are too small, or the budget refuses every draw.

    Source: Li and Talwalkar, Random Search and Reproducibility for NAS (UAI 2019), section 3.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        space: SearchSpace = DartsSpace(),
        network: NetworkConfig = NetworkConfig(),
        training: WeightTraining = WeightTraining(),
        budget: Budget = Budget(),
        epochs_each: int = 2,
        criterion: Criterion = "loss",
        measure_batches: int = 64,
        seed: int = 0,
    ) -> None:
        if epochs_each < 1:
            raise ConfigError(f"epochs_each is {epochs_each}; use at least 1")
        build = partial(SuperNet, space, image_shape, num_classes, **network.arguments(NORMS))
        supernet = build()
        super().__init__(space, supernet, num_classes, training, budget, seed, criterion, measure_batches)
        self.save_hyperparameters()
        keep_plain_hyperparameters(self)
        self._build = build
        self.epochs_each = epochs_each
        self._candidate = self._draw(0)

    @property
    def support(self) -> Support:
        """The best architecture measured so far; the one in training before there is any."""
        return self.decide() if self.measured else self._candidate

    @property
    def shares_weights(self) -> bool:
        """See :meth:`SearchModule.shares_weights`."""
        return False

    def decide(self, constraints: Constraints | None = None) -> Support:
        """See :meth:`SearchModule.decide`: the best measured architecture.

        Raises:
            ConfigError: If nothing was measured, or nothing that the constraints allow.
        """
        return best_measured(self.measured, self._constraints if constraints is None else constraints)

    def logits(self, images: Tensor) -> Tensor:
        """Logits of the architecture in training: the weights of earlier ones are gone."""
        logits: Tensor = self.network(images, self._candidate)
        return logits

    def configure_optimizers(self) -> Any:
        """Make the optimizer of the weights, and its schedule, which begins anew with every training."""
        optimizer = self.weight_training.optimizer(self.network.parameters())
        schedule = self.weight_training.schedule
        rate = LambdaLR(optimizer, lambda epoch: schedule.factor(epoch % self.epochs_each, self.epochs_each))
        return [optimizer], [rate]

    def stretches(self) -> list[Stretch]:
        """See :meth:`SearchModule.stretches`."""
        return [Stretch("training.schedule", self.weight_training.schedule, self.epochs_each)]

    def on_train_start(self) -> None:
        """Check that the trainings fill the run.

        Raises:
            ConfigError: If they do not.
        """
        super().on_train_start()
        if (self.trainer.max_epochs or 0) % self.epochs_each and not is_dry_run(self.trainer):
            raise ConfigError(
                f"trainer.max_epochs is {self.trainer.max_epochs}, epochs_each {self.epochs_each}: the last "
                "architecture would not be trained to its end; use a multiple"
            )

    def on_train_epoch_start(self) -> None:
        """Begin with the next architecture if it is its turn."""
        super().on_train_epoch_start()
        number, begun = divmod(self.current_epoch, self.epochs_each)
        self._candidate = self._draw(number)
        if number and not begun:
            self.restart_weights(self._build, self.seed + number)

    def restore_epoch(self, state: dict[str, Any]) -> None:
        """See :meth:`SearchModule.restore_epoch`."""
        super().restore_epoch(state)
        self._candidate = self._draw(self.current_epoch // self.epochs_each)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """A step of the weights; after the last one of a training, the measurement."""
        weights_batch, arch_batch = bilevel(batch)
        self.batches += 1
        run = partial(self.network.forward, support=self._candidate)
        images, labels = self.under_attack(weights_batch, self.network, run)
        logits = run(images)
        loss = self.training_loss(logits, labels)
        self.step_weights(loss, self._candidate)
        if (self.current_epoch + 1) % self.epochs_each == 0:
            self._held_out.keep(arch_batch)
            if self.trainer.is_last_batch:
                self._measure()

    def on_train_epoch_end(self) -> None:
        """Log the epoch and step the schedule."""
        self.log_epoch()
        step_schedules(self.trainer)

    def end_if_diverged(self, *metrics: str, found: Sequence[str] = ()) -> None:
        """End the run if every training so far has diverged; one of several is only the worst."""
        if self.measured and max(self.measured.values()) == -inf:
            super().end_if_diverged(*metrics, found=found)

    def _draw(self, number: int) -> Support:
        """The architecture of a training, by its number; a function of the seed, so that a resumed run repeats it."""
        rng = np.random.default_rng((self.seed, number))
        for _ in range(PATIENCE):
            support = self.space.sample_support(rng)
            if self._constraints.allows(support):
                return support
        raise ConfigError(f"the rules refused {PATIENCE} random architectures in a row; relax them")

    def _measure(self) -> None:
        old = self.support if self.measured else None
        self.network.eval()
        score = self._held_out.score(lambda images: self.network(images, self._candidate), self.criterion, self.loss)
        self.network.train()
        # each process measures on images of its own, as many as the others
        score = float(self.trainer.strategy.reduce(torch.tensor(score, device=self.device), reduce_op="mean"))
        if not isfinite(score):
            self.print(f"epoch {self.current_epoch + 1}: this training has diverged; its architecture is the worst")
            score = -inf
        self.measured[self._candidate] = score
        self._held_out.clear()
        self.visited.add(self._candidate)
        self.note_recovery(old)
