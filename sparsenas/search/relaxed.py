"""Search over a continuous relaxation: DARTS of first and second order, PC-DARTS, GDAS."""

from typing import Any

import torch
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.nn import functional

from sparsenas.complexity import candidate_costs
from sparsenas.errors import ConfigError
from sparsenas.metrics import MeanLoss
from sparsenas.networks import NormOptions, StemName, SuperNet, frozen_statistics
from sparsenas.search.base import ImageBatch, SearchModule, bilevel
from sparsenas.search.optimizers import make_optimizers, step_schedules
from sparsenas.search.relaxation import Mixture, Relaxation, RelaxedArchitecture, SoftmaxRelaxation
from sparsenas.search.rules import SupportRules
from sparsenas.search.unrolling import unrolled_gradient
from sparsenas.spaces import DartsSpace, SearchSpace, Support
from sparsenas.sparse_coding import Constraints


class RelaxedSearch(SearchModule):
    """Mix the candidates of every edge, and move the parameters of the mixture by gradient steps.

    Every training batch brings an architecture batch, for a step on ``alpha``, and a weights batch, for a step on all
    weights that the mixture runs. At the end of every epoch the strongest candidates are the architecture found.
    A mixture of all candidates costs as many operations as there are candidates.

    Args:
        image_shape: ``(C, H, W)`` of the images; the command line takes it from the data.
        num_classes: Number of classes; the command line takes it from the data.
        space: Search space.
        channels: Channels of the super-net's first cell.
        cells: Cells of the super-net.
        stem: Kind of stem.
        norms: Batch-norm options of the cells.
        partial_channels: Mix this fraction (1/4 for 4) of the channels and pass the others by, as PC-DARTS does.
        relaxation: How parameters become a mixture.
        second_order: Take the gradient through one step of the weights; costs four passes instead of one.
        rules: What may not be found; they hold when the architecture is decided, not in the mixture.
        warmup_epochs: Epochs without steps on the architecture.
        weight_optimizer: Makes the optimizer of the network weights.
        weight_scheduler: Makes its learning-rate schedule, stepped once per epoch.
        arch_optimizer: Makes the optimizer of ``alpha`` and ``beta``.
        arch_scheduler: Makes its learning-rate schedule, stepped once per epoch with architecture steps.
        gradient_clip: Largest norm of the weights' gradient; 0 for no clipping.
        seed: Seeds the parameters of the architecture and all draws.

    Raises:
        ConfigError: If options contradict each other or the images are too small.
        RecoveryError: If no architecture satisfies the rules.

    Source: Liu et al., DARTS (ICLR 2019); Xu et al., PC-DARTS (ICLR 2020); Dong and Yang, GDAS (CVPR 2019). Their
        settings are the configs ``search_darts_first_order``, ``search_darts_second_order``, ``search_pc_darts`` and
        ``search_gdas``.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        space: SearchSpace = DartsSpace(),  # noqa: B008 - immutable
        channels: int = 16,
        cells: int = 8,
        stem: StemName = "cifar",
        norms: NormOptions = NormOptions(affine=False, track=False, append="pools"),  # noqa: B008 - frozen
        partial_channels: int = 1,
        relaxation: Relaxation = SoftmaxRelaxation(),  # noqa: B008 - frozen
        second_order: bool = False,
        rules: SupportRules = SupportRules(),  # noqa: B008 - frozen
        warmup_epochs: int = 0,
        weight_optimizer: OptimizerCallable = lambda p: torch.optim.SGD(p, lr=0.025, momentum=0.9, weight_decay=3e-4),
        weight_scheduler: LRSchedulerCallable | None = None,
        arch_optimizer: OptimizerCallable = lambda p: torch.optim.Adam(
            p, lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3
        ),
        arch_scheduler: LRSchedulerCallable | None = None,
        gradient_clip: float = 5.0,
        seed: int = 0,
    ) -> None:
        if warmup_epochs < 0 or gradient_clip < 0 or seed < 0:
            raise ConfigError(
                f"warmup_epochs is {warmup_epochs}, gradient_clip is {gradient_clip}, seed is {seed}; none is below 0"
            )
        network = SuperNet(space, image_shape, num_classes, channels, cells, stem, norms, partial=partial_channels)
        super().__init__(space, network, num_classes, seed)
        self.save_hyperparameters()
        self.keep_plain_hyperparameters()
        costs = candidate_costs(network) if rules.needs_costs else None
        constraints = rules.constraints(space, costs)
        self.architecture = RelaxedArchitecture(space, constraints, torch.Generator().manual_seed(seed))
        self.rules, self.relaxation, self.second_order = rules, relaxation, second_order
        self.warmup_epochs = warmup_epochs
        self.weight_optimizer, self.weight_scheduler = weight_optimizer, weight_scheduler
        self.arch_optimizer, self.arch_scheduler = arch_optimizer, arch_scheduler
        self.gradient_clip = gradient_clip
        self.arch_loss = MeanLoss()
        self._support: Support | None = None

    @property
    def support(self) -> Support:
        """Support of the strongest candidates."""
        if self._support is None:
            self._support = self.decide()
        return self._support

    @torch.no_grad()
    def decide(self, constraints: Constraints | None = None) -> Support:
        """See :meth:`SearchModule.decide`: the feasible support of the strongest candidates."""
        return self.architecture.keep(self.relaxation.strength(self.architecture), constraints)

    def logits(self, images: Tensor) -> Tensor:
        """Logits of the strongest candidates alone, which have never run without the others."""
        logits: Tensor = self.network(images, self.support)
        return logits

    def configure_optimizers(self) -> Any:
        """One optimizer for the network weights, one for the architecture.

        Raises:
            ConfigError: If a schedule does not go by epoch, or the second order meets an optimizer other than SGD.
        """
        made = make_optimizers(
            (self.network.parameters(), self.weight_optimizer, self.weight_scheduler),
            (self.architecture.parameters(), self.arch_optimizer, self.arch_scheduler),
        )
        if self.second_order and not isinstance(made[0][0], torch.optim.SGD):
            raise ConfigError(
                f"weight_optimizer is {type(made[0][0]).__name__}; second_order unrolls a step of torch.optim.SGD"
            )
        return made

    def on_train_start(self) -> None:
        """Report what the search starts from.

        Raises:
            ConfigError: If the run ends before the search begins.
        """
        super().on_train_start()
        self.check_warmup(self.warmup_epochs)
        if self.batches == 0:
            self.note_recovery(None)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Architecture step, then weights step."""
        weights_batch, arch_batch = bilevel(batch)
        self.batches += 1
        progress = self.search_progress(self.warmup_epochs, batch_idx)
        if self.current_epoch >= self.warmup_epochs:
            self._architecture_step(arch_batch, weights_batch, progress)
        self._weights_step(weights_batch, self._mixture(progress))

    def on_train_epoch_end(self) -> None:
        """Log the epoch, step the schedules, and decide."""
        self.log_dict({"train/loss": self.train_loss, "train/acc": self.train_accuracy})
        stepped = self.arch_loss.update_called
        if stepped:
            self.log("arch/loss", self.arch_loss)
        step_schedules(self.trainer, stepped)
        old, self._support = self.support, None
        if stepped:
            self.note_recovery(old)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The architecture of the checkpoint is decided anew."""
        super().on_load_checkpoint(checkpoint)
        self._support = None

    def _mixture(self, progress: float) -> Mixture:
        return self.relaxation.mixture(self.architecture, progress, self._rng)

    def _loss(self, batch: ImageBatch, mixture: Mixture) -> Tensor:
        images, labels = batch
        return functional.cross_entropy(self.network(images, *mixture), labels)

    def _architecture_step(self, batch: ImageBatch, weights_batch: ImageBatch, progress: float) -> None:
        parameters = list(self.architecture.parameters())
        with frozen_statistics(self.network):
            if self.second_order:
                loss, gradients = unrolled_gradient(
                    weights_loss=lambda: self._loss(weights_batch, self._mixture(progress)),
                    arch_loss=lambda: self._loss(batch, self._mixture(progress)),
                    weights=list(self.network.parameters()),
                    arch=parameters,
                    optimizer=self.trainer.optimizers[0],
                )
            else:
                loss = self._loss(batch, self._mixture(progress))
                gradients = [*torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)]
        self.arch_loss.update(loss.detach(), len(batch[1]))
        for parameter, gradient in zip(parameters, gradients, strict=True):
            # every rank saw other images; the mean keeps the architecture the same on all of them
            parameter.grad = self.trainer.strategy.reduce(gradient, reduce_op="mean")
        # not through Lightning's wrapper: it would count this as a global step, and every x-axis would run double
        self.trainer.optimizers[1].step()
        for parameter in parameters:
            parameter.grad = None

    def _weights_step(self, batch: ImageBatch, mixture: Mixture) -> None:
        images, labels = batch
        fixed = Mixture(mixture.support, tuple(row.detach() for row in mixture.weights))
        logits = self.network(images, *fixed)
        loss = functional.cross_entropy(logits, labels)
        self.step_weights(loss, fixed.support, self.gradient_clip)
        self.train_loss.update(loss.detach(), len(labels))
        self.train_accuracy.update(logits.detach(), labels)
