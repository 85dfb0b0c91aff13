"""Two-stage search: gradient steps on ``b``, sparse recovery, weights steps on the recovered sub-network."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from sparsenas.errors import ConfigError
from sparsenas.metrics import MeanLoss
from sparsenas.networks import NetworkConfig, NormOptions, SuperNet
from sparsenas.schedules import Stretch
from sparsenas.search.base import SearchModule
from sparsenas.search.budget import Budget
from sparsenas.search.ista_nas.architecture import CompressedArchitecture
from sparsenas.search.ista_nas.recovery import SparseRecovery
from sparsenas.search.ista_nas.sampling import MixtureSampling, Sampling, UniformSampling
from sparsenas.search.ista_nas.signals import FullGradient, Signal, SignalStep
from sparsenas.search.objectives import figures_of, make_meter
from sparsenas.search.optimizers import ArchitectureTraining, step_schedules
from sparsenas.search.searcher import ImageBatch, bilevel
from sparsenas.spaces import DartsSpace, SearchSpace, Support
from sparsenas.sparse_coding import Constraints
from sparsenas.training import WeightTraining, keep_plain_hyperparameters

#: No gamma and beta, which the architecture weights would double, and statistics of the batch: supports change.
NORMS = NormOptions(affine=False, track=False, append="pools_and_skips")


class TwoStageSearch(SearchModule):
    """Search a small super-net for a genotype, to be trained afterwards.

    Every training batch brings a weights batch and an architecture batch. After warm-up the signal turns the
    architecture batch into a gradient of ``b``; on its schedule the recovery turns ``b`` into a sparse code; the
    sampling names the support that the weights batch trains. Only operations of that support run, and only they change.

    Args:
        image_shape: ``(C, H, W)`` of the images; the command line takes it from the data.
        num_classes: Number of classes; the command line takes it from the data.
        space: Search space.
        network: Size and norms of the super-net.
        training: Training of its weights.
        budget: Limits of what may be found.
        recovery: Solver, dictionary and schedule of the recovery.
        signal: Source of the gradient of ``b``.
        sampling: Support that trains the weights after warm-up.
        architecture: Steps on ``b``; its warm-up samples uniformly.
        seed: Seeds the dictionary, ``b`` and all sampled supports.

    Raises:
        ConfigError: If options contradict each other or the images are too small.
        RecoveryError: If the recovery problem cannot be solved.

    Source: Yang et al., ISTA-NAS (NeurIPS 2020), Algorithm of section 3;
        ``configs/search_two_stage_ista_nas_official.yaml`` is the official recipe.

    Differs: by default the signal compares all candidates, the recovery is exact with a least-squares refit, and the
        weights also see uniform draws; ``docs/method.md`` says why.
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
        recovery: SparseRecovery = SparseRecovery(),
        signal: Signal = FullGradient(),
        sampling: Sampling = MixtureSampling(),
        architecture: ArchitectureTraining = ArchitectureTraining(),
        seed: int = 0,
    ) -> None:
        if recovery.reject_params is not None:
            raise ConfigError("recovery.reject_params belongs to one-stage search; use budget.max_params")
        supernet = SuperNet(space, image_shape, num_classes, **network.arguments(NORMS))
        recovery.check_weights(supernet)
        super().__init__(space, supernet, num_classes, training, budget, seed)
        self.save_hyperparameters()
        keep_plain_hyperparameters(self)
        generator = torch.Generator().manual_seed(seed)
        self.architecture = CompressedArchitecture(space, recovery, generator, budget.of_network(supernet))
        self.recovery = recovery
        self.signal, self.sampling = signal.begin(self.architecture), sampling
        self.arch_training = architecture
        self.arch_loss = MeanLoss()
        self.meter = make_meter(architecture.objectives, supernet, budget)
        self.logs_also = (*self.logs_also, *figures_of(self.meter))
        attacks = self.meter is not None and self.meter.objectives.attack is not None
        self.attack_signal = signal.begin(self.architecture) if attacks else None  # some have a memory

    @property
    def support(self) -> Support:
        """Support of the code last recovered."""
        return self.architecture.support

    def decide(self, constraints: Constraints | None = None) -> Support:
        """See :meth:`SearchModule.decide`: the recovered support."""
        return self.support if constraints is None else self.architecture.support_under(constraints)

    def logits(self, images: Tensor) -> Tensor:
        """Logits at the recovered support and weights."""
        logits: Tensor = self.network(images, self.support, self.architecture.weights())
        return logits

    def shared_logits(self, images: Tensor, support: Support) -> Tensor:
        """See :meth:`SearchModule.shared_logits`."""
        logits: Tensor = self.network(images, support, self._weights_for(support))
        return logits

    def configure_optimizers(self) -> Any:
        """Make one optimizer for the network weights and one for ``b``; each gets its own parameter list."""
        epochs, arch = self.trainer.max_epochs or 0, self.arch_training
        weights, b = self.weight_training.optimizer(self.network.parameters()), arch.optimizer([self.architecture.b])
        return [weights, b], [
            self.weight_training.schedule.scheduler(weights, epochs),
            arch.schedule.scheduler(b, epochs - arch.warmup_epochs),
        ]

    def stretches(self) -> list[Stretch]:
        """See :meth:`SearchModule.stretches`."""
        return [*super().stretches(), self.arch_training.stretch(self.trainer.max_epochs or 0)]

    def on_train_start(self) -> None:
        """Report the recovery the search starts from; a resumed search has reported its own before.

        Raises:
            ConfigError: If the run ends before the search begins.
        """
        super().on_train_start()
        self.check_warmup(self.arch_training.warmup_epochs)
        if self.batches == 0:
            if self.signal.caution:
                self.print(f"caution: {self.signal.caution}")
            self.note_recovery(None, self.architecture.recovery)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Architecture step, recovery, weights step, each on its schedule."""
        weights_batch, arch_batch = bilevel(batch)
        self.batches += 1
        if self.current_epoch >= self.arch_training.warmup_epochs:
            if self.batches % self.signal.every == 0:
                self._architecture_step(arch_batch)
            if self.recovery.every_n_steps is not None and self.batches % self.recovery.every_n_steps == 0:
                self._recover()
        self._weights_step(weights_batch, self._draw(batch_idx))

    def on_train_epoch_end(self) -> None:
        """Log the epoch, step the schedules, and recover if the schedule is by epoch."""
        self.log_epoch()
        stepped = self.arch_loss.update_called  # neither in warm-up nor in an epoch shorter than the signal's schedule
        if stepped:
            self.log("arch/loss", self.arch_loss)
            self.log_dict(figures_of(self.meter))
        step_schedules(self.trainer, stepped)
        if self.recovery.every_n_steps is None and self.current_epoch >= self.arch_training.warmup_epochs:
            self._recover()

    def _architecture_step(self, batch: ImageBatch) -> None:
        drawn = self._rng.bit_generator.state
        step = self._signal_step(self.signal, batch)
        self.arch_loss.update(step.loss, len(batch[1]))

        def attacked() -> tuple[Tensor, Tensor]:
            self._rng.bit_generator.state = drawn  # so that both losses are of the same networks
            run = partial(self.network.forward, support=self.support, weights=self.architecture.weights().detach())
            assert self.meter is not None  # which has called this
            assert self.attack_signal is not None
            images = self.under_attack(batch, self.network, run, self.meter.adversarial)
            return self._signal_step(self.attack_signal, images)

        def cost() -> Tensor:
            assert self.meter is not None
            return self.architecture.seen(self.meter.cost_gradients(self.support, self.device), of_sizes=True)

        gradient = step.gradient if self.meter is None else self.meter.combine(step.gradient, attacked, cost)
        self.architecture.b.grad = gradient
        # not through Lightning's wrapper: it would count this as a global step, and every x-axis would run double
        self.trainer.optimizers[1].step()
        self.architecture.b.grad = None

    def _signal_step(self, signal: Signal, batch: ImageBatch) -> SignalStep:
        images, labels = batch
        step = signal.step(
            self.architecture, self.network, images, lambda logits: self.loss.unsmoothed(logits, labels), self._rng
        )
        # every rank saw other images; the mean keeps b, hence the support, the same on all of them
        return step._replace(gradient=self.trainer.strategy.reduce(step.gradient, reduce_op="mean"))

    def _weights_step(self, batch: ImageBatch, support: Support) -> None:
        weights = self._weights_for(support)
        images, labels = self.under_attack(batch, self.network, lambda images: self.network(images, support, weights))
        logits = self.network(images, support, weights)
        loss = self.training_loss(logits, labels)
        self.step_weights(loss, support)

    def _weights_for(self, support: Support) -> Tensor:
        """Recovered supports enter with their architecture weights, drawn ones with equal weights of norm 1."""
        if support == self.support:
            return self.architecture.weights().detach()
        s = self.space.inputs_per_node
        return torch.full((len(support), s), s**-0.5, device=self.device)

    def _draw(self, batch_idx: int) -> Support:
        if self.current_epoch < self.arch_training.warmup_epochs:
            return UniformSampling().draw(self.architecture, 0.0, self._rng)
        progress = self.search_progress(self.arch_training.warmup_epochs, batch_idx)
        return self.sampling.draw(self.architecture, progress, self._rng)

    def _recover(self) -> None:
        old = self.support
        self.architecture.recover()
        self.note_recovery(old, self.architecture.recovery)
