"""One-stage search: architecture and trained weights from a single run of the target network."""

from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from sparsenas.complexity import candidate_costs
from sparsenas.errors import CheckpointError, ConfigError
from sparsenas.networks import (
    DerivedNet,
    NetworkConfig,
    NormOptions,
    SuperNet,
    batch_statistics,
    check_foldable,
    fold,
    forget_statistics,
)
from sparsenas.schedules import Schedule, remarks
from sparsenas.search.budget import Budget
from sparsenas.search.ista_nas.architecture import CompressedArchitecture
from sparsenas.search.ista_nas.exploration import Exploration, Explorer
from sparsenas.search.ista_nas.phased import PhasedSearch
from sparsenas.search.ista_nas.phases import Phases
from sparsenas.search.ista_nas.recovery import SparseRecovery
from sparsenas.search.ista_nas.settling import AffineParameters, Settler, SettlingRule, StableSupport
from sparsenas.search.objectives import figures_of, make_meter
from sparsenas.search.optimizers import ArchitectureTraining, descent
from sparsenas.spaces import DartsSpace, SearchSpace, Support
from sparsenas.sparse_coding import Constraints, ExactSolver
from sparsenas.trainer import is_dry_run
from sparsenas.training import Recalibration, WeightTraining, keep_plain_hyperparameters, one_stream

#: Every operation learns gamma and beta, keeps statistics, and ends in a batch-norm that can take up its weight.
NORMS = NormOptions(affine=True, track=True, append="pools_and_skips")


class OneStageSearch(PhasedSearch):
    r"""Search inside the target network, then go on training it: one run gives genotype and weights.

    **Search phase.** Every batch takes one forward and one backward pass, at the recovered support or at a drawn one,
    and moves the weights of its operations as well as ``b``. On its schedule the recovery turns ``b`` into a sparse
    code. A block whose support and code have stopped moving *settles*: its ``b`` freezes, and gamma and beta of its
    operations, which stood at (1, 0), begin to train; before, they and the architecture weights would be two names for
    one thing. The phase ends when all blocks have settled, or after ``search_epochs``, when the others keep what they
    have.

    **Training phase.** The architecture is fixed. Learning rate and drop-path have schedules of their own; architecture
    weights are constants, which :meth:`deployable` folds into the batch-norms.

    Args:
        image_shape: ``(C, H, W)`` of the images; the command line takes it from the data.
        num_classes: Number of classes; the command line takes it from the data.
        space: Search space.
        network: Size of the target network; its norms are set by the method.
        training: Training of its weights; the schedule is that of the training phase.
        budget: Limits of what may be found.
        recovery: Solver, dictionary and schedule of the recovery.
        exploration: Supports of the batches of the search phase, and the signal that ``b`` gets.
        settling: Rule by which a block settles.
        phases: Lengths of the two phases.
        architecture: Steps on ``b``; its schedule runs over ``phases.search_epochs`` after warm-up.
        seed: Seeds the dictionary, ``b``, all sampled supports and drop-path.

    Raises:
        ConfigError: If options contradict each other or the images are too small.
        RecoveryError: If the recovery problem cannot be solved.

    Source: Yang et al., ISTA-NAS (NeurIPS 2020), one-stage.

    Differs: supports are also drawn, so that batches compare candidates; codes are non-negative; a block settles by its
        support and the relative change of its code. The official rules are options, together in
        ``search_one_stage_ista_nas_official``; the official code neither folds nor writes a checkpoint.
    """

    knows = frozenset({"drop_path", "auxiliary_weight"})
    logs_also: tuple[str, ...] = ("search/phase", "search/settled")

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        space: SearchSpace = DartsSpace(),
        network: NetworkConfig = NetworkConfig(channels=36, cells=20),
        training: WeightTraining = WeightTraining(drop_path=0.2, auxiliary_weight=0.4),
        budget: Budget = Budget(),
        recovery: SparseRecovery = SparseRecovery(ExactSolver(nonnegative=True), unit_weights=True),
        exploration: Exploration = Exploration(),
        settling: SettlingRule = StableSupport(),
        phases: Phases = Phases(),
        architecture: ArchitectureTraining = ArchitectureTraining(descent, Schedule("linear")),
        seed: int = 0,
    ) -> None:
        phases.check_schedules(training, architecture)
        if architecture.objectives is not None and architecture.objectives.attack is not None:
            raise ConfigError(
                "architecture.objectives.attack needs batches for the architecture alone, and one-stage search has "
                "none: leave it out; with training.adversary all batches are under attack"
            )
        if network.norms not in (None, NORMS):
            raise ConfigError(f"network.norms is {network.norms}, but folding needs {NORMS}: set it to null")
        auxiliary = training.auxiliary_weight > 0
        build = partial(SuperNet, space, image_shape, num_classes, auxiliary=auxiliary, **network.arguments(NORMS))
        supernet = build()
        super().__init__(space, supernet, num_classes, training, budget, seed)
        self.save_hyperparameters()
        keep_plain_hyperparameters(self)
        check_foldable(supernet)
        recovery.check_weights(supernet)
        if set(space.cell_types) - set(supernet.cell_types):
            raise ConfigError(
                f"network.cells is {network.cells}: such a network has no cell of some type to search; use at least 3"
            )
        self._affine = AffineParameters(supernet)
        generator = torch.Generator().manual_seed(seed)
        self.architecture = CompressedArchitecture(space, recovery, generator, budget.of_network(supernet))
        costs = None if recovery.reject_params is None else candidate_costs(supernet)
        self.settler = Settler(settling, len(space.blocks), recovery.reject_params, costs)
        self.recovery, self.phases, self.arch_training = recovery, phases, architecture
        self.explorer = Explorer(exploration)
        self._build = build
        self._recalibration = Recalibration()
        self._fixed_weights: Tensor | None = None
        self.meter = make_meter(architecture.objectives, supernet, budget)
        self.logs_also = (*self.logs_also, *figures_of(self.meter))

    @property
    def settled_epochs(self) -> list[int | None]:
        """Epoch, counted from 0, in which each block settled; ``None`` for those that did not by themselves."""
        return [None if epoch < 0 else epoch for epoch in self.settler.epoch.tolist()]

    @property
    def support(self) -> Support:
        """Support of the code last recovered."""
        return self.architecture.support

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(B, classes)`` of the architecture found so far."""
        return self.logits(images)

    def decide(self, constraints: Constraints | None = None) -> Support:
        """See :meth:`SearchModule.decide`: the recovered support."""
        return self.support if constraints is None else self.architecture.support_under(constraints)

    def logits(self, images: Tensor) -> Tensor:
        """Logits of the architecture found so far.

        While other supports train too, running statistics are nobody's; batch statistics are used then, and until the
        first evaluation of the training phase.
        """
        with nullcontext() if self.trained_epochs or self._recalibration.done else batch_statistics(self.network):
            logits: Tensor = self.network(images, self.support, self.architecture.weights())
        return logits

    def shared_logits(self, images: Tensor, support: Support) -> Tensor:
        """See :meth:`SearchModule.shared_logits`; what was found enters with its architecture weights."""
        own = support == self.architecture.support
        weights = self.architecture.weights() if own else self.architecture.probe(support)
        logits: Tensor = self.network(images, support, weights)
        return logits

    def deployable(self) -> DerivedNet:
        """The trained network for use: architecture weights folded, nothing inactive, evaluation mode.

        In evaluation mode its logits are those of :meth:`forward` up to rounding.

        Raises:
            CheckpointError: If no epoch of the training phase is over: weights and running statistics belong to many
                architectures then, or to none.
        """
        if not self.trained_epochs:
            settled = self.architecture.count_settled()
            raise CheckpointError(f"no epoch of the training phase is over (settled: {settled}); let the run go on")
        return fold(self.network, self.support, self.architecture.weights()).eval()

    def configure_optimizers(self) -> Any:
        """Make one optimizer for the network weights and one for ``b``, each with the schedule of its phases."""
        weights = self.weight_training.optimizer(self.network.parameters())
        arch = self.arch_training.optimizer([self.architecture.b])
        steps = self.phases.search_epochs - self.arch_training.warmup_epochs
        return [weights, arch], [
            LambdaLR(weights, self.weight_rate),
            self.arch_training.schedule.scheduler(arch, steps),
        ]

    def on_train_start(self) -> None:
        """Check the lengths of the phases, and report what the search starts from.

        Raises:
            ConfigError: If ``trainer.max_epochs`` does not hold both phases.
        """
        super().on_train_start()
        self._recalibration = Recalibration()  # of this run, whose images may be others
        if not is_dry_run(self.trainer):
            self.phases.check_length(self.trainer.max_epochs or 0)
            steps = self.trainer.num_training_batches
            recoveries = self.phases.recoveries(steps, self.recovery.every_n_steps, self.arch_training.warmup_epochs)
            if self.searching and recoveries < self.settler.rule.patience:
                self.print(
                    f"no node can settle by itself: settling.patience is {self.settler.rule.patience}, but "
                    f"{recoveries} recoveries fit in search_epochs"
                )
        if self.batches == 0:
            self.note_recovery(None, self.architecture.recovery)
        if self.finished:  # resumed once more; nothing is left to do
            self.trainer.should_stop = True

    def on_train_epoch_start(self) -> None:
        """Let the training phase begin."""
        super().on_train_epoch_start()
        if not (self.searching or self.trained_epochs):
            forget_statistics(self.network)  # those of many supports
            if not self.phases.warm_start:
                # apart from the first weights, if those came from the same seed
                self.restart_weights(self._build, self.seed + 1)
                self.print(f"epoch {self.current_epoch + 1}: training starts from new weights")

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Take note of the images that train what was found."""
        if not self.searching:
            self._recalibration.note(self.trainer, one_stream(batch)[0])

    def on_validation_epoch_start(self) -> None:
        """Recalibrate batch-norms in the training phase."""
        super().on_validation_epoch_start()
        if not self.searching:
            self._recalibration.run(self, self.network)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """One forward and one backward pass for weights and, in the search phase, ``b``."""
        self.batches += 1
        support = self._draw(batch_idx)
        weights = self._weights_for(support)

        def run(images: Tensor, weights: Tensor) -> tuple[Tensor, Tensor | None]:
            return self.network.run(images, self.network.wirings(support, weights), self.drop_path_now)

        images, labels = self.under_attack(
            one_stream(batch), self.network, lambda images: run(images, weights.detach())[0]
        )
        logits, auxiliary = run(images, weights)
        loss = self.training_loss(logits, labels)
        if self.moves_architecture and self.explorer.signal == "loss":
            mean = self.trainer.strategy.reduce(loss.detach().clone(), reduce_op="mean")
            loss = loss + self.explorer.charge(self.architecture, support, mean)
        if auxiliary is not None:
            loss = loss + self.weight_training.auxiliary_weight * self.loss(auxiliary, labels)
        self._step(loss, support)

    def on_train_epoch_end(self) -> None:
        """Log the epoch, recover if the schedule is by epoch, end a phase, step the schedules."""
        if not self.searching:
            self._recalibration.run(self, self.network)
        self.log_epoch()
        if self.moves_architecture:
            self.log_dict(figures_of(self.meter))
        self.log("search/phase", 1.0 if self.searching else 2.0)
        if not self.searching:
            self.trained_epochs += 1
        elif self.current_epoch >= self.arch_training.warmup_epochs:
            if self.recovery.every_n_steps is None:
                self._recover()
            if all(self.architecture.settled_blocks) or self.current_epoch + 1 >= self.phases.search_epochs:
                self._end_search()
        self.log("search/settled", float(sum(epoch is not None for epoch in self.settled_epochs)))
        weights, arch = self.lr_schedulers()  # type: ignore[misc]  # a list, as there are two
        weights.step()
        if self.moves_architecture:  # torch warns of a schedule whose optimizer has not stepped
            arch.step()
        if self.finished:
            self.trainer.should_stop = True

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """See :class:`PhasedSearch`; weights and images are those of the checkpoint, of this run."""
        super().on_load_checkpoint(checkpoint)
        self._fixed_weights, self._recalibration = None, Recalibration()

    def progress(self) -> dict[str, str | int | float]:
        """See :meth:`SearchModule.progress`; the training phase has no news of the search."""
        if not self.searching:
            return {}
        return super().progress() | {"settled": self.architecture.count_settled()}

    def _draw(self, batch_idx: int) -> Support:
        """Support of the next batch."""
        if not self.searching:
            return self.support
        now = self.current_epoch + batch_idx / self.trainer.num_training_batches
        warmup = self.arch_training.warmup_epochs
        progress = min((now - warmup) / (self.phases.search_epochs - warmup), 1.0) if self.moves_architecture else None
        return self.explorer.draw(self.architecture, progress, self._rng)

    def _weights_for(self, support: Support) -> Tensor:
        """Architecture weights of a support, shape ``(B, s)``; in the search phase with a path to ``b``."""
        if self.searching:
            return self.explorer.weights(self.architecture, support)
        if self._fixed_weights is None:
            self._fixed_weights = self.architecture.weights().detach()
        return self._fixed_weights

    def _step(self, loss: Tensor, support: Support) -> None:
        """Step the weights and, in the search phase, ``b``; recover if it is time."""
        self.architecture.zero_grad()
        taken = self.step_weights(loss, support, self._affine.unsettled(support, self.architecture))
        if self.moves_architecture:
            if taken:  # the gradients of both are of one loss
                if self.meter is not None and (gradient := self.architecture.b.grad) is not None:
                    moving = ~self.architecture.settled[:, None]  # the others keep what they have
                    rows = self.meter.cost_gradients(self.support, self.device)
                    cost = self.architecture.seen(rows, of_sizes=True) * moving
                    self.architecture.b.grad = self.meter.combine(gradient * moving, cost=lambda: cost)
                # not through Lightning's wrapper: it would count this as a global step, and x-axes would run double
                self.architecture.optimize(self.trainer.optimizers[1].step)
            if self.recovery.every_n_steps is not None and self.batches % self.recovery.every_n_steps == 0:
                self._recover()

    def _recover(self) -> None:
        old = self.support
        settled = self.settler.recover(self.architecture, self.current_epoch)
        if settled is None:
            return
        if settled:
            names, count = self.architecture.names(settled), self.architecture.count_settled()
            self.print(f"epoch {self.current_epoch + 1}: settled: {names} ({count})")
        self.note_recovery(old, self.architecture.recovery)

    def _end_search(self) -> None:
        """Freeze what has not settled, and begin the training phase with the next epoch."""
        epoch = self.current_epoch + 1
        if not all(self.architecture.settled_blocks) and self.recovery.every_n_steps is not None:
            self._recover()  # the last steps on b have not been looked at
        if left := [i for i, settled in enumerate(self.architecture.settled_blocks) if not settled]:
            self.print(f"epoch {epoch}: search_epochs reached, frozen as is: {self.architecture.names(left)}")
            self.architecture.settle(~self.architecture.settled)
        if rejected := int(self.settler.rejected):
            self.print(f"epoch {epoch}: {rejected} recoveries had been discarded for their size")
        planned, self.search_end = self.train_length(), epoch
        if self.train_length() != planned:  # it settled early, which the beginning of the run could not know
            for remark in remarks(self.trainer, self.stretches()):
                self.print(remark)
        follow = self.train_length() if (self.trainer.max_epochs or 0) > epoch else 0
        self.print(f"epoch {epoch}: architecture fixed; {follow} epochs of training follow")
