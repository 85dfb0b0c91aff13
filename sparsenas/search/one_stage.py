"""One-stage search: architecture and trained weights from a single run of the target network."""

from collections.abc import Iterable
from contextlib import nullcontext
from functools import partial
from typing import Any, Literal

import torch
from pytorch_lightning.cli import OptimizerCallable
from torch import Tensor
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR

from sparsenas.complexity import candidate_costs
from sparsenas.errors import CheckpointError, ConfigError
from sparsenas.networks import (
    DerivedNet,
    NormOptions,
    StemName,
    SuperNet,
    batch_statistics,
    check_foldable,
    fold,
    seed_drop_path,
)
from sparsenas.schedules import Decay
from sparsenas.search.architecture import CompressedArchitecture
from sparsenas.search.base import ImageBatch, SearchModule, one_stream
from sparsenas.search.exploration import Exploration
from sparsenas.search.measuring import LEAST, Conclusion, Measuring, MeasuringRun
from sparsenas.search.phases import Phases
from sparsenas.search.recovery import SparseRecovery
from sparsenas.search.sampling import NearbySampling, Sampling
from sparsenas.search.settling import AffineParameters, Settler, SettlingRule, StableSupport
from sparsenas.spaces import DartsSpace, SearchSpace, Support
from sparsenas.sparse_coding import Constraints, ExactSolver

#: Every operation learns gamma and beta, keeps statistics, and ends in a batch-norm that can take up its weight.
NORMS = NormOptions(affine=True, track=True, append="pools_and_skips")


class OneStageSearch(SearchModule):
    r"""Search inside the target network, then go on training it: one run gives genotype and weights.

    **Search phase.** Every batch takes one forward and one backward pass, at the recovered support or at a drawn one,
    and moves the weights of its operations as well as ``b``. On its schedule the recovery turns ``b`` into a sparse
    code. A block whose support and code have stopped moving *settles*: its ``b`` freezes, and gamma and beta of its
    operations, which stood at (1, 0), begin to train; before, they and the architecture weights would be two names for
    one thing. The phase ends when all blocks have settled, or after ``search_epochs``, when the others keep what they
    have.

    With ``measuring``, the search phase measures untrained networks of the target's size instead, as
    :class:`~sparsenas.search.MeasuredSearch` does, one for each batch; it trains nothing, and ends with the last one.

    **Training phase.** The architecture is fixed. Learning rate and drop-path have schedules of their own; architecture
    weights are constants, which :meth:`deployable` folds into the batch-norms.

    Args:
        image_shape: ``(C, H, W)`` of the images; the command line takes it from the data.
        num_classes: Number of classes; the command line takes it from the data.
        space: Search space.
        channels: Channels of the network's first cell.
        cells: Cells of the network.
        stem: Kind of stem.
        auxiliary_weight: Weight of the auxiliary classifier's loss, in both phases; 0 builds none.
        drop_path: Drop-path probability that the training phase grows towards: its epoch ``k`` of ``E`` has ``k / E``.
        label_smoothing: Label smoothing of the training loss.
        recovery: Which solver, dictionary and constraints recover the code, and how often.
        sampling: Which support a batch of the search phase runs. Drawn candidates enter with equal weights, so that
            batches compare them; ``RecoveredSampling`` is the official choice, which compares nothing. Draws leave
            out forbidden primitives, but know nothing of caps and budgets.
        signal: What moves ``b``. ``gradient``: that of the loss, through the weights of the support that ran. ``loss``:
            the loss itself. All candidates that ran, with equal weights, answer for how their batch went against the
            batches before, :math:`b \leftarrow b - \eta\, \frac{L - \bar L}{\sigma} A_S 1`; over uniform draws this
            regresses the loss on the candidates.
        settling: When a block settles.
        measuring: What the search phase measures; signal, sampling and settling have no part in it then. ``None`` for
            steps on ``b``.
        search_epochs: Longest search phase.
        train_epochs: Length of the training phase; ``None`` takes all epochs up to ``trainer.max_epochs``.
        warm_start: Whether the training phase goes on from the weights of the search phase. If not, it begins with new
            random weights, running statistics and state of every weight's optimizer: weights that served many
            architectures are no good start, and a short run cannot make up for them. What optimizers or averaging
            callbacks keep elsewhere stays.
        warmup_epochs: Epochs of uniform draws without steps on ``b`` at the beginning of the search phase.
        reject_params: Discard a recovery whose network would have so many parameters or more, and keep the code before
            it; only accepted ones count for settling. The official code's substitute for a budget, which
            ``recovery.max_params`` is.
        weight_optimizer: Makes the optimizer of the network weights; its learning rate is the peak of both phases.
        search_decay: Course of that learning rate over ``search_epochs``.
        train_decay: Course of it over the training phase.
        arch_optimizer: Makes the optimizer of ``b``.
        arch_decay: Course of its learning rate over ``search_epochs`` after warm-up; a decay lets supports settle.
        gradient_clip: Largest norm of the weights' gradient; 0 for no clipping.
        seed: Seeds the dictionary, ``b``, all sampled supports and drop-path.

    Raises:
        ConfigError: If options contradict each other or the images are too small.
        RecoveryError: If the recovery problem cannot be solved.

    Source: Yang et al., ISTA-NAS (NeurIPS 2020), one-stage.

    Differs: supports are also drawn, so that batches compare candidates; codes are non-negative; a block settles by its
        support and the relative change of its code. The official rules are options, together in
        ``search_one_stage_ista_nas_official``; the official code neither folds nor writes a checkpoint.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        space: SearchSpace = DartsSpace(),  # noqa: B008 - immutable
        channels: int = 36,
        cells: int = 20,
        stem: StemName = "cifar",
        auxiliary_weight: float = 0.4,
        drop_path: float = 0.2,
        label_smoothing: float = 0.0,
        recovery: SparseRecovery = SparseRecovery(ExactSolver(nonnegative=True), unit_weights=True),  # noqa: B008 - frozen
        sampling: Sampling = NearbySampling(),  # noqa: B008 - frozen
        signal: Literal["gradient", "loss"] = "gradient",
        settling: SettlingRule = StableSupport(),  # noqa: B008 - frozen
        measuring: Measuring | None = None,
        search_epochs: int = 120,
        train_epochs: int | None = None,
        warm_start: bool = True,
        warmup_epochs: int = 0,
        reject_params: float | None = None,
        weight_optimizer: OptimizerCallable = lambda p: torch.optim.SGD(p, lr=0.025, momentum=0.9, weight_decay=3e-4),
        search_decay: Decay = Decay(shape="constant"),  # noqa: B008 - frozen
        train_decay: Decay = Decay(),  # noqa: B008 - frozen
        arch_optimizer: OptimizerCallable = lambda p: torch.optim.SGD(p, lr=0.5),
        arch_decay: Decay = Decay(shape="linear"),  # noqa: B008 - frozen
        gradient_clip: float = 5.0,
        seed: int = 0,
    ) -> None:
        if min(auxiliary_weight, gradient_clip, seed) < 0 or not 0 <= label_smoothing < 1:
            raise ConfigError(
                f"auxiliary_weight={auxiliary_weight}, gradient_clip={gradient_clip}, seed={seed}, "
                f"label_smoothing={label_smoothing}; the first three are at least 0, the last lies in [0, 1)"
            )
        phases = Phases(search_epochs, train_epochs, warmup_epochs, search_decay, train_decay, arch_decay, drop_path)
        exploration = Exploration(sampling, signal)
        build = partial(SuperNet, space, image_shape, num_classes, channels, cells, stem, NORMS, auxiliary_weight > 0)
        network = build()
        super().__init__(space, network, num_classes, seed)
        self.save_hyperparameters()
        self.keep_plain_hyperparameters()
        check_foldable(network)
        if set(space.cell_types) - set(network.cell_types):
            raise ConfigError(f"cells is {cells}: such a network has no cell of some type to search; use at least 3")
        self._affine = AffineParameters(network)
        needs_costs = recovery.needs_costs or reject_params is not None or measuring is not None
        costs = candidate_costs(network) if needs_costs else None
        generator = torch.Generator().manual_seed(seed)
        self.architecture = CompressedArchitecture(space, recovery, generator, costs)
        self.settler = Settler(settling, len(space.blocks), reject_params, costs)
        self.measuring: MeasuringRun | None = None
        if measuring is not None and costs is not None:
            rules = recovery.constraints(space, costs)
            self.measuring = MeasuringRun(space, network, costs, measuring, rules, seed)
        self.rules = self.recovery = recovery
        self.exploration = exploration
        self.phases, self.warm_start = phases, warm_start
        self._build = build
        self.auxiliary_weight, self.label_smoothing = auxiliary_weight, label_smoothing
        self.weight_optimizer, self.arch_optimizer = weight_optimizer, arch_optimizer
        self.gradient_clip = gradient_clip
        self.search_end: int | None = None
        self.trained_epochs = 0
        self._fixed_weights: Tensor | None = None

    @property
    def searching(self) -> bool:
        """Whether the run is in its search phase."""
        return self.search_end is None

    @property
    def settled_epochs(self) -> list[int | None]:
        """Epoch, counted from 0, in which each block settled; ``None`` for those that did not by themselves."""
        return [None if epoch < 0 else epoch for epoch in self.settler.epoch.tolist()]

    @property
    def finished(self) -> bool:
        """Whether the last epoch of the training phase is over."""
        return self.search_end is not None and self.trained_epochs >= self._train_length()

    @property
    def drop_path_now(self) -> float:
        """Drop-path probability of the present epoch."""
        return self.phases.drop_path_rate(self.current_epoch, self.search_end, self._epochs)

    @property
    def support(self) -> Support:
        """Support of the code last recovered; while architectures are measured, the best one so far."""
        if self.searching and self.measuring is not None:
            return self.measuring.support
        return self.architecture.support

    @property
    def conclusion(self) -> Conclusion | None:
        """What was measured, and how sure the choice is; ``None`` before the end, or where nothing is measured."""
        return None if self.measuring is None else self.measuring.conclusion

    @property
    def shares_weights(self) -> bool:
        """See :meth:`SearchModule.shares_weights`."""
        return self.measuring is None and not self.trained_epochs

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(B, classes)`` of the architecture found so far."""
        return self.logits(images)

    def decide(self, constraints: Constraints | None = None) -> Support:
        """See :meth:`SearchModule.decide`: the recovered support."""
        if constraints is None:
            return self.support
        if self.measuring is not None:
            return self.measuring.conclude(constraints).support
        return self.architecture.support_under(constraints)

    def logits(self, images: Tensor) -> Tensor:
        """Logits of the architecture found so far.

        While other supports train too, running statistics are nobody's; batch statistics are used then, and until an
        epoch of the training phase has gathered others.
        """
        with nullcontext() if self.trained_epochs else batch_statistics(self.network):
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
            state = f" (settled: {self._count_settled()})" if self.measuring is None else ""
            raise CheckpointError(f"no epoch of the training phase is over{state}; let the run go on")
        return fold(self.network, self.support, self.architecture.weights()).eval()

    def configure_optimizers(self) -> Any:
        """One optimizer for the network weights, one for ``b``, each with the schedule of its phases."""
        weights = self.weight_optimizer(self.network.parameters())
        arch = self.arch_optimizer([self.architecture.b])
        return [weights, arch], [
            LambdaLR(weights, lambda epoch: self.phases.weight_rate(epoch, self.search_end, self._epochs)),
            LambdaLR(arch, lambda epoch: self.phases.arch_rate(epoch)),
        ]

    def on_train_start(self) -> None:
        """Check the lengths of the phases, and report what the search starts from.

        Raises:
            ConfigError: If ``trainer.max_epochs`` does not hold both phases.
        """
        super().on_train_start()
        if self.measuring is not None and self.searching:
            self.measuring.check_processes(self.trainer.world_size)
            self.measuring.check_length(self.trainer, self.phases.search_epochs, "search_epochs")
        if not getattr(self.trainer, "fast_dev_run", False):  # set on the trainer, but not declared there
            if self.measuring is None:
                self.phases.check(self._epochs)
                self._warn_of_patience()
            else:
                self.phases.check(self._epochs, self.measuring.epochs(int(self.trainer.num_training_batches)))
        if self.batches == 0:
            self.note_recovery(None, self.architecture.recovery if self.measuring is None else None)
        if self.finished:  # resumed once more; nothing is left to do
            self.trainer.should_stop = True

    def on_test_start(self) -> None:
        """Say what accuracies of an unfinished search are worth."""
        if not self.trained_epochs:
            whose = "shared by many architectures" if self.measuring is None else "untrained"
            self.print(
                f"no epoch of the training phase is over: weights are {whose}, and the statistics of each batch are "
                "used"
            )

    def on_predict_start(self) -> None:
        """See :meth:`on_test_start`."""
        self.on_test_start()

    def on_train_epoch_start(self) -> None:
        """Seed this epoch's draws; let the training phase begin."""
        super().on_train_epoch_start()
        if not (self.searching or self.trained_epochs or self.warm_start):
            self._restart()
        seed_drop_path(self.seed, self.current_epoch, self.global_rank)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """One forward and one backward pass for weights and, in the search phase, ``b``."""
        images, labels = one_stream(batch)
        self.batches += 1
        if self.searching and self.measuring is not None:
            self._measure(self.measuring, (images, labels))
            return
        support = self._draw(batch_idx)
        logits, auxiliary = self.network.run(
            images, self.network.wirings(support, self._weights_for(support)), self.drop_path_now
        )
        loss = self._loss(logits, labels)
        if self._moves_architecture and self.exploration.signal == "loss":
            mean = self.trainer.strategy.reduce(loss.detach().clone(), reduce_op="mean")
            loss = loss + self.exploration.charge(self.architecture, support, mean)
        self.train_loss.update(loss.detach(), len(labels))
        self.train_accuracy.update(logits.detach(), labels)
        if auxiliary is not None:
            loss = loss + self.auxiliary_weight * self._loss(auxiliary, labels)
        self._step(loss, support)

    def on_train_epoch_end(self) -> None:
        """Log the epoch, recover if the schedule is by epoch, end a phase, step the schedules."""
        if self.train_loss.update_called:  # not while architectures are measured
            self.log_dict({"train/loss": self.train_loss, "train/acc": self.train_accuracy})
        self.log("search/phase", 1.0 if self.searching else 2.0)
        if not self.searching:
            self.trained_epochs += 1
        elif self.measuring is not None:
            last, enough = self.current_epoch + 1 >= self.phases.search_epochs, len(self.measuring.known) >= LEAST
            if self.conclusion is not None or (last and enough):  # there is enough but in a dry run
                self._adopt(self.measuring)
        elif self.current_epoch >= self.phases.warmup_epochs:
            if self.recovery.every_n_steps is None:
                self._recover()
            if all(self.architecture.settled_blocks) or self.current_epoch + 1 >= self.phases.search_epochs:
                self._end_search()
        if self.measuring is None:
            self.log("search/settled", float(sum(epoch is not None for epoch in self.settled_epochs)))
        weights, arch = self.lr_schedulers()  # type: ignore[misc]  # a list, as there are two
        weights.step()
        if self._moves_architecture:  # torch warns of a schedule whose optimizer has not stepped
            arch.step()
        if self.finished:
            self.trainer.should_stop = True

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The phase goes beside the counters."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["search"] |= {"search_end": self.search_end, "trained_epochs": self.trained_epochs}
        if self.measuring is not None:
            checkpoint["search"]["measuring"] = self.measuring.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take back what :meth:`on_save_checkpoint` kept."""
        super().on_load_checkpoint(checkpoint)
        state = checkpoint["search"]
        self.search_end, self.trained_epochs = state["search_end"], state["trained_epochs"]
        self._fixed_weights = None
        if self.measuring is not None:
            if "measuring" not in state:
                raise CheckpointError(
                    "the checkpoint is of a run without measurements; resume with the settings it was made with"
                )
            self.measuring.load(state["measuring"])

    def progress(self) -> dict[str, str | int | float]:
        """See :meth:`SearchModule.progress`; the training phase has no news of the search."""
        if not self.searching:
            return {}
        if self.measuring is not None:
            return super().progress() | self.measuring.progress()
        return super().progress() | {"settled": self._count_settled()}

    @property
    def _moves_architecture(self) -> bool:
        return self.searching and self.measuring is None and self.current_epoch >= self.phases.warmup_epochs

    def _measure(self, run: MeasuringRun, batch: ImageBatch) -> None:
        """Keep the batch, or measure the next architecture; after the last one, what is left of the epoch is idle."""
        if run.conclusion is None:
            old = self.support
            finished = run.take(batch, int(self.trainer.num_training_batches))
            self.visited.update(run.known)
            if finished:
                run.finish()
            if self.support != old:
                self.note_recovery(old)
        # of nothing, as no gradient is there; schedules and the checkpoint callback wait for a step
        self.optimizers()[0].step()  # type: ignore[index]  # a list, as there are two

    def _adopt(self, run: MeasuringRun) -> None:
        """Make what was found the architecture, and begin the training phase with the next epoch."""
        old, conclusion = self.support, run.finish()
        self.measured = dict(run.scores())
        self.print(f"epoch {self.current_epoch + 1}: found: {conclusion.verdict}")
        self.architecture.adopt(conclusion.support)
        self._end_search()
        if self.support != old:
            self.note_recovery(old)

    def _draw(self, batch_idx: int) -> Support:
        """Support of the next batch."""
        if not self.searching:
            return self.support
        now = self.current_epoch + batch_idx / self.trainer.num_training_batches
        progress = self.phases.progress(now) if self._moves_architecture else None
        return self.exploration.draw(self.architecture, progress, self._rng)

    def _weights_for(self, support: Support) -> Tensor:
        """Architecture weights of a support, shape ``(B, s)``; in the search phase with a path to ``b``."""
        if self.searching:
            return self.exploration.weights(self.architecture, support)
        if self._fixed_weights is None:
            self._fixed_weights = self.architecture.weights().detach()
        return self._fixed_weights

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)

    def _step(self, loss: Tensor, support: Support) -> None:
        """Step the weights and, in the search phase, ``b``; recover if it is time."""
        self.architecture.b.grad = None
        self.step_weights(loss, support, self.gradient_clip, self._affine.unsettled(support, self.architecture))
        if self._moves_architecture:
            # not through Lightning's wrapper: it would count this as a global step, and every x-axis would run double
            self.architecture.optimize(self.trainer.optimizers[1].step)
            if self.recovery.every_n_steps is not None and self.batches % self.recovery.every_n_steps == 0:
                self._recover()

    def _warn_of_patience(self) -> None:
        """A rule that cannot be met within the search phase would look like a search that does not settle."""
        epochs, every = self.phases.search_epochs - self.phases.warmup_epochs, self.recovery.every_n_steps
        recoveries = int(epochs if every is None else epochs * self.trainer.num_training_batches // every)
        if self.searching and recoveries < self.settler.rule.patience:
            self.print(
                f"no node can settle by itself: settling.patience is {self.settler.rule.patience}, but {recoveries} "
                "recoveries fit in search_epochs"
            )

    def _recover(self) -> None:
        old = self.support
        settled = self.settler.recover(self.architecture, self.current_epoch)
        if settled is None:
            return
        if settled:
            self.print(f"epoch {self.current_epoch + 1}: settled: {self._names(settled)} ({self._count_settled()})")
        self.note_recovery(old, self.architecture.recovery)

    def _end_search(self) -> None:
        """Freeze what has not settled, and begin the training phase with the next epoch."""
        epoch = self.current_epoch + 1
        if not all(self.architecture.settled_blocks) and self.recovery.every_n_steps is not None:
            self._recover()  # the last steps on b have not been looked at
        left = [index for index, settled in enumerate(self.architecture.settled_blocks) if not settled]
        if left:
            self.print(f"epoch {epoch}: search_epochs reached, frozen as is: {self._names(left)}")
            self.architecture.settle(~self.architecture.settled)
        if rejected := int(self.settler.rejected):
            self.print(f"epoch {epoch}: {rejected} recoveries had been discarded for their size")
        self.search_end = epoch
        follow = self._train_length() if self._epochs > epoch else 0
        self.print(f"epoch {epoch}: architecture fixed; {follow} epochs of training follow")

    def _restart(self) -> None:
        """Give the network the weights of a new one; they depend on the seed only, so a resumed run repeats them."""
        self.restart_weights(self._build, self.seed + 1)  # apart from the first ones, if those came from the same seed
        self.print(f"epoch {self.current_epoch + 1}: training starts from new weights")

    @property
    def _epochs(self) -> int:
        """Most epochs of the run; that there is a number is checked at its start."""
        return self.trainer.max_epochs or 0

    def _train_length(self) -> int:
        """Epochs of the training phase."""
        assert self.search_end is not None  # asked for in that phase only
        return self.phases.train_length(self.search_end, self._epochs)

    def _names(self, blocks: Iterable[int]) -> str:
        return "; ".join(str(self.space.blocks[index]) for index in blocks)

    def _count_settled(self) -> str:
        return f"{sum(self.architecture.settled_blocks)} of {len(self.space.blocks)}"
