"""Search over a continuous relaxation: DARTS of first and second order, PC-DARTS, GDAS."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sparsenas.errors import ConfigError
from sparsenas.metrics import MeanLoss
from sparsenas.networks import NetworkConfig, NormOptions, SuperNet, frozen_statistics
from sparsenas.schedules import Stretch
from sparsenas.search.base import SearchModule
from sparsenas.search.baselines.relaxation import Mixture, Relaxation, RelaxedArchitecture, SoftmaxRelaxation
from sparsenas.search.baselines.unrolling import unrolled_gradient
from sparsenas.search.budget import Budget
from sparsenas.search.objectives import figures_of, make_meter
from sparsenas.search.optimizers import ArchitectureTraining, darts_adam, step_schedules
from sparsenas.search.searcher import ImageBatch, bilevel
from sparsenas.spaces import DartsSpace, SearchSpace, Support
from sparsenas.sparse_coding import Constraints
from sparsenas.training import WeightTraining, keep_plain_hyperparameters

#: Those of DARTS while it searches.
NORMS = NormOptions(affine=False, track=False, append="pools")


class RelaxedSearch(SearchModule):
    """Mix the candidates of every edge, and move the parameters of the mixture by gradient steps.

    Every training batch brings an architecture batch, for a step on ``alpha``, and a weights batch, for a step on all
    weights that the mixture runs. At the end of every epoch the strongest candidates are the architecture found.
    A mixture of all candidates costs as many operations as there are candidates.

    Args:
        image_shape: ``(C, H, W)`` of the images; the command line takes it from the data.
        num_classes: Number of classes; the command line takes it from the data.
        space: Search space.
        network: Size and norms of the super-net.
        training: Training of its weights.
        budget: Limits of what may be found; they hold when the architecture is decided, not in the mixture.
        partial_channels: Mix this fraction (1/4 for 4) of the channels and pass the others by, as PC-DARTS does.
        relaxation: Map from parameters to a mixture.
        second_order: Take the gradient through one step of the weights; costs four passes instead of one.
        architecture: Steps on ``alpha`` and ``beta``.
        seed: Seeds the parameters of the architecture and all draws.

    Raises:
        ConfigError: If options contradict each other or the images are too small.
        RecoveryError: If no architecture keeps the budget.

    Source: Liu et al., DARTS (ICLR 2019); Xu et al., PC-DARTS (ICLR 2020); Dong and Yang, GDAS (CVPR 2019). Their
        settings are the configs ``search_darts_first_order``, ``search_darts_second_order``, ``search_pc_darts`` and
        ``search_gdas``.
    """

    logs_also: tuple[str, ...] = ("arch/loss",)

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        space: SearchSpace = DartsSpace(),
        network: NetworkConfig = NetworkConfig(),
        training: WeightTraining = WeightTraining(),
        budget: Budget = Budget(),
        partial_channels: int = 1,
        relaxation: Relaxation = SoftmaxRelaxation(),
        second_order: bool = False,
        architecture: ArchitectureTraining = ArchitectureTraining(darts_adam),
        seed: int = 0,
    ) -> None:
        supernet = SuperNet(space, image_shape, num_classes, partial=partial_channels, **network.arguments(NORMS))
        super().__init__(space, supernet, num_classes, training, budget, seed)
        self.save_hyperparameters()
        keep_plain_hyperparameters(self)
        generator = torch.Generator().manual_seed(seed)
        self.architecture = RelaxedArchitecture(space, budget.of_network(supernet), generator)
        self.relaxation, self.second_order = relaxation, second_order
        self.arch_training = architecture
        self.arch_loss = MeanLoss()
        self.meter = make_meter(architecture.objectives, supernet, budget)
        self.logs_also = (*self.logs_also, *figures_of(self.meter))
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
        """Make one optimizer for the network weights and one for the architecture.

        Raises:
            ConfigError: If the second order meets an optimizer other than SGD.
        """
        epochs, arch = self.trainer.max_epochs or 0, self.arch_training
        weights = self.weight_training.optimizer(self.network.parameters())
        alpha = arch.optimizer(self.architecture.parameters())
        if self.second_order and not isinstance(weights, torch.optim.SGD):
            raise ConfigError(
                f"training.optimizer is {type(weights).__name__}; second_order unrolls a step of torch.optim.SGD"
            )
        return [weights, alpha], [
            self.weight_training.schedule.scheduler(weights, epochs),
            arch.schedule.scheduler(alpha, epochs - arch.warmup_epochs),
        ]

    def stretches(self) -> list[Stretch]:
        """See :meth:`SearchModule.stretches`."""
        return [*super().stretches(), self.arch_training.stretch(self.trainer.max_epochs or 0)]

    def on_train_start(self) -> None:
        """Report what the search starts from.

        Raises:
            ConfigError: If the run ends before the search begins.
        """
        super().on_train_start()
        self.check_warmup(self.arch_training.warmup_epochs)
        if self.batches == 0:
            self.note_recovery(None)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Architecture step, then weights step."""
        weights_batch, arch_batch = bilevel(batch)
        self.batches += 1
        progress = self.search_progress(self.arch_training.warmup_epochs, batch_idx)
        if self.current_epoch >= self.arch_training.warmup_epochs:
            self._architecture_step(arch_batch, weights_batch, progress)
        self._weights_step(weights_batch, self._mixture(progress))

    def on_train_epoch_end(self) -> None:
        """Log the epoch, step the schedules, and decide."""
        self.log_epoch()
        stepped = self.arch_loss.update_called
        if stepped:
            self.log("arch/loss", self.arch_loss)
            self.log_dict(figures_of(self.meter))
        step_schedules(self.trainer, stepped)
        old, self._support = self.support, None
        if stepped:
            self.note_recovery(old)

    def epoch_state(self) -> dict[str, Any]:
        """See :meth:`SearchModule.epoch_state`: what was decided at the end of the last epoch, too."""
        return super().epoch_state() | {"support": self.support}

    def restore_epoch(self, state: dict[str, Any]) -> None:
        """See :meth:`SearchModule.restore_epoch`."""
        super().restore_epoch(state)
        self._support = state["support"]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The architecture of the checkpoint is decided anew."""
        super().on_load_checkpoint(checkpoint)
        self._support = None

    def _mixture(self, progress: float) -> Mixture:
        return self.relaxation.mixture(self.architecture, progress, self._rng)

    def _loss(self, batch: ImageBatch, mixture: Mixture) -> Tensor:
        images, labels = batch
        return self.loss.unsmoothed(self.network(images, *mixture), labels)

    def _architecture_step(self, batch: ImageBatch, weights_batch: ImageBatch, progress: float) -> None:
        parameters = list(self.architecture.parameters())
        drawn = self._rng.bit_generator.state
        loss, gradient = self._gradient(batch, weights_batch, progress)
        self.arch_loss.update(loss, len(batch[1]))

        def attacked() -> tuple[Tensor, Tensor]:
            assert self.meter is not None  # which has called this
            self._rng.bit_generator.state = drawn  # so that attack and losses are of the same draws
            run = self._runner(self._mixture(progress))
            images = self.under_attack(batch, self.network, run, self.meter.adversarial)
            self._rng.bit_generator.state = drawn
            return self._gradient(images, weights_batch, progress)

        def cost() -> Tensor:
            assert self.meter is not None
            return _flat_gradient(self.meter.penalty(self.relaxation.kept(self.architecture)), parameters)

        if self.meter is not None:
            gradient = self.meter.combine(gradient, attacked, cost)
        parts = torch.split(gradient, [parameter.numel() for parameter in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)
        # not through Lightning's wrapper: it would count this as a global step, and every x-axis would run double
        self.trainer.optimizers[1].step()
        for parameter in parameters:
            parameter.grad = None

    def _gradient(self, batch: ImageBatch, weights_batch: ImageBatch, progress: float) -> tuple[Tensor, Tensor]:
        """Loss on an architecture batch, detached, and its gradient by all parameters of the architecture, flat."""
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
                flat = torch.cat([gradient.flatten() for gradient in gradients])
            else:
                loss = self._loss(batch, self._mixture(progress))
                flat = _flat_gradient(loss, parameters)
        # every rank saw other images; the mean keeps the architecture the same on all of them
        return loss.detach(), self.trainer.strategy.reduce(flat, reduce_op="mean")

    def _weights_step(self, batch: ImageBatch, mixture: Mixture) -> None:
        run = self._runner(mixture)
        images, labels = self.under_attack(batch, self.network, run)
        loss = self.training_loss(run(images), labels)
        self.step_weights(loss, mixture.support)

    def _runner(self, mixture: Mixture) -> Callable[[Tensor], Tensor]:
        """Return what computes the logits of a mixture, whose weights get no gradient."""
        rows = tuple(row.detach() for row in mixture.weights)
        return partial(self.network.forward, support=mixture.support, weights=rows)


def _flat_gradient(loss: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """Gradient, flat; zero for what did not run."""
    gradients = torch.autograd.grad(loss, list(parameters), allow_unused=True, materialize_grads=True)
    return torch.cat([gradient.flatten() for gradient in gradients])
