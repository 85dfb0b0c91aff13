"""Two-stage search: gradient steps on ``b``, sparse recovery, weights steps on the recovered sub-network."""

from typing import Any

import torch
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.nn import functional

from sparsenas.complexity import candidate_costs
from sparsenas.errors import ConfigError
from sparsenas.metrics import MeanLoss
from sparsenas.networks import NormOptions, StemName, SuperNet
from sparsenas.search.architecture import CompressedArchitecture
from sparsenas.search.base import ImageBatch, SearchModule, bilevel
from sparsenas.search.optimizers import make_optimizers, step_schedules
from sparsenas.search.recovery import SparseRecovery
from sparsenas.search.sampling import MixtureSampling, Sampling, UniformSampling
from sparsenas.search.signals import FullGradient, Signal
from sparsenas.spaces import DartsSpace, SearchSpace, Support
from sparsenas.sparse_coding import Constraints


class TwoStageSearch(SearchModule):
    """Search a small super-net for a genotype, to be trained afterwards.

    Every training batch brings a weights batch and an architecture batch. After warm-up the signal turns the
    architecture batch into a gradient of ``b``; on its schedule the recovery turns ``b`` into a sparse code; the
    sampling names the support that the weights batch trains. Only operations of that support run, and only they change.

    Args:
        image_shape: ``(C, H, W)`` of the images; the command line takes it from the data.
        num_classes: Number of classes; the command line takes it from the data.
        space: Search space.
        channels: Channels of the super-net's first cell.
        cells: Cells of the super-net.
        stem: Kind of stem.
        norms: Batch-norm options of the cells.
        recovery: Which solver, dictionary and constraints recover the code, and how often.
        signal: Where the gradient of ``b`` comes from.
        sampling: Which support trains the weights after warm-up.
        warmup_epochs: Epochs of uniform sampling without architecture steps, so that every operation is trained.
        weight_optimizer: Makes the optimizer of the network weights.
        weight_scheduler: Makes its learning-rate schedule, stepped once per epoch.
        arch_optimizer: Makes the optimizer of ``b``.
        arch_scheduler: Makes its learning-rate schedule, stepped once per epoch with architecture steps; a decay lets
            the support settle.
        gradient_clip: Largest norm of the weights' gradient; 0 for no clipping.
        seed: Seeds the dictionary, ``b`` and all sampled supports.

    Raises:
        ConfigError: If options contradict each other or the images are too small.
        RecoveryError: If the recovery problem cannot be solved.

    Source: Yang et al., ISTA-NAS (NeurIPS 2020), Algorithm of section 3;
        ``configs/search_two_stage_ista_nas_official.yaml`` is the official recipe.

    Differs: by default the signal compares all candidates, the recovery is exact with a least-squares refit, and the
        weights also see uniform draws; ``docs/method.md`` says why.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        space: SearchSpace = DartsSpace(),  # noqa: B008 - immutable
        channels: int = 16,
        cells: int = 8,
        stem: StemName = "cifar",
        norms: NormOptions = NormOptions(affine=False, track=False, append="pools_and_skips"),  # noqa: B008 - frozen
        recovery: SparseRecovery = SparseRecovery(),  # noqa: B008 - frozen
        signal: Signal = FullGradient(),  # noqa: B008 - frozen
        sampling: Sampling = MixtureSampling(),  # noqa: B008 - frozen
        warmup_epochs: int = 0,
        weight_optimizer: OptimizerCallable = lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=3e-4),
        weight_scheduler: LRSchedulerCallable | None = None,
        arch_optimizer: OptimizerCallable = lambda p: torch.optim.SGD(p, lr=0.5),
        arch_scheduler: LRSchedulerCallable | None = None,
        gradient_clip: float = 5.0,
        seed: int = 0,
    ) -> None:
        if warmup_epochs < 0 or gradient_clip < 0 or seed < 0:
            raise ConfigError(
                f"warmup_epochs is {warmup_epochs}, gradient_clip is {gradient_clip}, seed is {seed}; none is below 0"
            )
        network = SuperNet(space, image_shape, num_classes, channels, cells, stem, norms)
        super().__init__(space, network, num_classes, seed)
        self.save_hyperparameters()
        self.keep_plain_hyperparameters()
        costs = candidate_costs(network) if recovery.needs_costs else None
        self.architecture = CompressedArchitecture(space, recovery, torch.Generator().manual_seed(seed), costs)
        self.rules = self.recovery = recovery
        self.signal, self.sampling = signal.begin(self.architecture), sampling
        self.warmup_epochs = warmup_epochs
        self.weight_optimizer, self.weight_scheduler = weight_optimizer, weight_scheduler
        self.arch_optimizer, self.arch_scheduler = arch_optimizer, arch_scheduler
        self.gradient_clip = gradient_clip
        self.arch_loss = MeanLoss()

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
        """One optimizer for the network weights, one for ``b``; each gets its own parameter list.

        Raises:
            ConfigError: If a schedule does not go by epoch.
        """
        return make_optimizers(
            (self.network.parameters(), self.weight_optimizer, self.weight_scheduler),
            ([self.architecture.b], self.arch_optimizer, self.arch_scheduler),
        )

    def on_train_start(self) -> None:
        """Report the recovery the search starts from; a resumed search has reported its own before.

        Raises:
            ConfigError: If the run ends before the search begins.
        """
        super().on_train_start()
        self.check_warmup(self.warmup_epochs)
        if self.batches == 0:
            if self.signal.caution:
                self.print(f"caution: {self.signal.caution}")
            self.note_recovery(None, self.architecture.recovery)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Architecture step, recovery, weights step, each on its schedule."""
        weights_batch, arch_batch = bilevel(batch)
        self.batches += 1
        if self.current_epoch >= self.warmup_epochs:
            if self.batches % self.signal.every == 0:
                self._architecture_step(arch_batch)
            if self.recovery.every_n_steps is not None and self.batches % self.recovery.every_n_steps == 0:
                self._recover()
        self._weights_step(weights_batch, self._draw(batch_idx))

    def on_train_epoch_end(self) -> None:
        """Log the epoch, step the schedules, and recover if the schedule is by epoch."""
        self.log_dict({"train/loss": self.train_loss, "train/acc": self.train_accuracy})
        stepped = self.arch_loss.update_called  # neither in warm-up nor in an epoch shorter than the signal's schedule
        if stepped:
            self.log("arch/loss", self.arch_loss)
        step_schedules(self.trainer, stepped)
        if self.recovery.every_n_steps is None and self.current_epoch >= self.warmup_epochs:
            self._recover()

    def _architecture_step(self, batch: ImageBatch) -> None:
        images, labels = batch
        step = self.signal.step(
            self.architecture, self.network, images, lambda logits: functional.cross_entropy(logits, labels), self._rng
        )
        self.arch_loss.update(step.loss, len(labels))
        # every rank saw other images; the mean keeps b, hence the support, the same on all of them
        self.architecture.b.grad = self.trainer.strategy.reduce(step.gradient, reduce_op="mean")
        # not through Lightning's wrapper: it would count this as a global step, and every x-axis would run double
        self.trainer.optimizers[1].step()
        self.architecture.b.grad = None

    def _weights_step(self, batch: ImageBatch, support: Support) -> None:
        images, labels = batch
        logits = self.network(images, support, self._weights_for(support))
        loss = functional.cross_entropy(logits, labels)
        self.step_weights(loss, support, self.gradient_clip)
        self.train_loss.update(loss.detach(), len(labels))
        self.train_accuracy.update(logits.detach(), labels)

    def _weights_for(self, support: Support) -> Tensor:
        """Recovered supports enter with their architecture weights, drawn ones with equal weights of norm 1."""
        if support == self.support:
            return self.architecture.weights().detach()
        s = self.space.inputs_per_node
        return torch.full((len(support), s), s**-0.5, device=self.device)

    def _draw(self, batch_idx: int) -> Support:
        if self.current_epoch < self.warmup_epochs:
            return UniformSampling().draw(self.architecture, 0.0, self._rng)
        progress = self.search_progress(self.warmup_epochs, batch_idx)
        return self.sampling.draw(self.architecture, progress, self._rng)

    def _recover(self) -> None:
        old = self.support
        self.architecture.recover()
        self.note_recovery(old, self.architecture.recovery)
