"""Base of the searchers on a super-net: metrics, evaluation, checkpoints, and reports to callbacks."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sparsenas.errors import CheckpointError, ConfigError
from sparsenas.networks import SuperNet, seed_draws, share_statistics
from sparsenas.schedules import Stretch, remarks
from sparsenas.search.active import ActiveWeights
from sparsenas.search.agreement import check_agreement
from sparsenas.search.budget import Budget
from sparsenas.search.searcher import ImageBatch, RecoveryListener, RecoveryReport, Searcher
from sparsenas.spaces import SearchSpace, Support
from sparsenas.sparse_coding import Recovery, support_churn
from sparsenas.trainer import callbacks_of, is_dry_run, is_within_epoch
from sparsenas.training import ClassifierModule, WeightTraining, check_finite
from sparsenas.training.weights import WEIGHTS, check_optimizer

#: Values of ``trainer.precision`` that searches support.
PRECISIONS = ("32-true", "bf16-mixed")


class SearchModule(Searcher, ClassifierModule):
    """Base of the searchers on a super-net: manual optimization, evaluation and history of the architecture.

    Args:
        space: Search space.
        network: Super-net over the space.
        num_classes: Number of classes.
        training: Training of the weights.
        budget: Limits of what may be found.
        seed: Seeds all sampled supports.

    Attributes:
        batches: Training batches so far.
        recoveries: Recoveries so far; the initial one does not count.
    """

    #: Options of the training of weights that only some searchers make use of.
    knows: frozenset[str] = frozenset()

    def __init__(
        self,
        space: SearchSpace,
        network: SuperNet,
        num_classes: int,
        training: WeightTraining,
        budget: Budget,
        seed: int,
    ) -> None:
        if seed < 0:
            raise ConfigError(f"seed is {seed}; use a number not below 0")
        for option in ("drop_path", "auxiliary_weight"):
            if getattr(training, option) and option not in self.knows:
                raise ConfigError(
                    f"training.{option} is {getattr(training, option)}, which {type(self).__name__} does not use: set "
                    "it to 0"
                )
        if not training.by_epochs:
            raise ConfigError(
                f"training.steps is {training.steps} and training.seconds {training.seconds}, but the schedules of "
                f"{type(self).__name__} go over the epochs of the run: set both to null, and trainer.max_epochs"
            )
        check_optimizer(training.optimizer, "training.optimizer", WEIGHTS)  # without a closure
        super().__init__(num_classes, training)
        self.automatic_optimization = False
        self.seed = seed
        self.batches, self.recoveries = 0, 0
        self.visited: set[Support] = set()
        self.measured: dict[Support, float] = {}
        self._rng = np.random.default_rng(seed)
        self.space = space
        self.budget = budget
        # channels_last is about twice as fast for these convolutions on CPUs, and what tensor cores want
        self.network = network.to(memory_format=torch.channels_last)
        self.report: RecoveryReport | None = None
        self._active: ActiveWeights | None = None
        self._planned_epochs: int | None = None
        self._epoch_state: dict[str, Any] | None = None

    @property
    def shares_weights(self) -> bool:
        """True while the weights are those of many architectures, and can compare some of them."""
        return True

    def logits(self, images: Tensor) -> Tensor:
        """Logits of the architecture found so far, with shared weights."""
        raise NotImplementedError(f"{type(self).__name__} must define logits")

    def shared_logits(self, images: Tensor, support: Support) -> Tensor:
        """Logits of any architecture with shared weights, entered as training batches enter it."""
        logits: Tensor = self.network(images, support)
        return logits

    def setup(self, stage: str) -> None:
        """Refuse precisions that spoil a search.

        Raises:
            ConfigError: For ``16-mixed``, where gradients would be clipped while still scaled, and for those that would
                turn the dictionary and the codes, which are float64, into something shorter.
        """
        if self.trainer.precision not in PRECISIONS:
            raise ConfigError(
                f"trainer.precision is {self.trainer.precision}; searches support {', '.join(PRECISIONS)}"
            )
        super().setup(stage)

    def on_train_start(self) -> None:
        """Check that the search has an end, and how processes are kept together.

        Raises:
            ConfigError: If the strategy cannot train a network of which only a part runs, or the search has no end.
        """
        # another run of the same module has optimizers of its own, and must not add to the gradients of this one
        self._active = None
        self.network.zero_grad()
        if self._epoch_state is not None:
            self.restore_epoch(self._epoch_state)
            self._epoch_state = None
        if not (self.trainer.max_epochs or 0) > 0:
            raise ConfigError("trainer.max_epochs is not set; the schedules of a search go over its epochs: set it")
        for remark in remarks(self.trainer, self.stretches()):
            self.print(remark)
        wrapped = self.trainer.model
        if isinstance(wrapped, DistributedDataParallel) and not wrapped.find_unused_parameters:
            raise ConfigError(
                "trainer.strategy expects every parameter in every step, but a search runs the supported operations "
                "only; use ddp_find_unused_parameters_true"
            )
        if self._planned_epochs not in (None, self.trainer.max_epochs):
            self.print(
                f"the checkpoint is of a run of {self._planned_epochs} epochs, this one has {self.trainer.max_epochs}: "
                "schedules that go by the length of the run follow the new one from here on"
            )

    def stretches(self) -> list[Stretch]:
        """Every schedule of a learning rate, and the epochs that it goes over."""
        return [Stretch("training.schedule", self.weight_training.schedule, self.trainer.max_epochs or 0)]

    def on_train_epoch_start(self) -> None:
        """Draws depend on (seed, epoch) only, so a resumed search repeats those of an uninterrupted one."""
        self._rng = np.random.default_rng((self.seed, self.current_epoch))
        self._steps.begin_epoch()
        self._adversarial.begin_epoch()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed the draws of the network, and keep its statistics, in case the step is left out."""
        self._steps.keep(self.network)
        seed_draws(self.seed, self.current_epoch, batch_idx, self.global_rank, self.device)

    def check_warmup(self, epochs: int) -> None:
        """Check that a warm-up of so many epochs leaves some for the search.

        Raises:
            ConfigError: If it does not.
        """
        if epochs >= (self.trainer.max_epochs or 0) and not is_dry_run(self.trainer):
            raise ConfigError(
                f"warmup_epochs is {epochs} and trainer.max_epochs {self.trainer.max_epochs}: no epoch is left for the "
                "search, which would end with the network it began with"
            )

    def search_progress(self, warmup_epochs: int, batch_idx: int) -> float:
        """Share of the epochs after the warm-up that is done, in [0, 1]."""
        epochs = max((self.trainer.max_epochs or 1) - warmup_epochs, 1)
        done = self.current_epoch - warmup_epochs + batch_idx / self.trainer.num_training_batches
        return min(max(done / epochs, 0.0), 1.0)

    def step_weights(
        self,
        loss: Tensor | Iterable[Tensor],
        support: Support,
        withheld: Iterable[nn.Parameter] = (),
    ) -> bool:
        """Backward pass, and a step of the weights that ran; all others, momentum included, stay as they are.

        Args:
            loss: Loss of the batch, 0-d; or several, taken one by one, whose gradients add up to one step.
            support: Support that ran, in all losses together.
            withheld: Weights that ran and do not move. Not by ``requires_grad``: processes agree on the gradients of
                what required one when they started.

        Returns:
            False if the step was left out; see ``training.on_nonfinite``.
        """
        optimizers = self.optimizers()
        optimizer = optimizers[0] if isinstance(optimizers, list) else optimizers
        if self._active is None:
            self._active = ActiveWeights(self.network, optimizer.optimizer)
        self._active.zero_grad()
        for part in [loss] if isinstance(loss, Tensor) else loss:
            self.manual_backward(part)
        for parameter in withheld:
            parameter.grad = None
        clip = self.weight_training.gradient_clip
        with self._active.only(support):
            taken = self._steps.check(optimizer.optimizer)
            if clip > 0:
                self.clip_gradients(optimizer.optimizer, clip, "norm")
            optimizer.step()  # also without gradients: it counts the steps of the run
        return taken

    def log_epoch(self) -> None:
        """Log the metrics of training at the end of an epoch, and end a run that has diverged.

        Raises:
            DivergenceError: If losses or weights are no longer finite.
        """
        self.log_dict({"train/loss": self.train_loss, "train/acc": self.train_accuracy})
        if self._steps.active:
            self.log("train/skipped_steps", float(self._steps.skipped))
        self.end_if_diverged("train/loss", found=self._steps.found())

    def on_validation_epoch_start(self) -> None:
        """Let every process validate with the running statistics of the first one, which checkpoints hold.

        Lightning does not pass them on where it leaves optimization to the module.
        """
        if self.trainer.world_size > 1:
            share_statistics(self.network, self.global_rank == 0, self.trainer.strategy.reduce)

    def on_validation_epoch_end(self) -> None:
        """End a run that has diverged, before a checkpoint of this validation is written."""
        self.end_if_diverged("val/loss")

    def on_test_epoch_end(self) -> None:
        """Say if accuracies are those of a network that computes no numbers."""
        self.end_if_diverged("test/loss")

    def end_if_diverged(self, *metrics: str, found: Sequence[str] = ()) -> None:
        """Check that metrics and weights are finite; see :func:`check_finite`."""
        check_finite(self, self.network, self.weight_training, *metrics, found=found)

    def restart_weights(self, fresh: Callable[[], SuperNet], seed: int) -> None:
        """Give the network the weights of a new one, and its optimizer an empty memory.

        Args:
            fresh: Builds a super-net like the search's.
            seed: Seed of the weights, and all they depend on: a resumed run repeats them.
        """
        with isolate_rng():
            torch.manual_seed(seed)
            self.network.load_state_dict(fresh().state_dict())
        self.trainer.optimizers[0].state.clear()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Counters and the architectures visited and measured go beside the tensors; within an epoch, its draws too."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["search"] = {
            "batches": self.batches,
            "recoveries": self.recoveries,
            "visited": sorted(self.visited),
            "measured": list(self.measured.items()),
            "epochs": self.trainer.max_epochs,
        }
        if is_within_epoch(self.trainer):
            checkpoint["search"]["epoch_state"] = self.epoch_state()

    def epoch_state(self) -> dict[str, Any]:
        """Collect what the search knows only until the end of the epoch, as plain values and tensors."""
        return {"draws": self._rng.bit_generator.state, "steps": self._steps.counts}

    def restore_epoch(self, state: dict[str, Any]) -> None:
        """Go on within an epoch, from what :meth:`epoch_state` gave; the network is on its device."""
        self._rng.bit_generator.state, self._steps.counts = state["draws"], state["steps"]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take back what :meth:`on_save_checkpoint` kept.

        Raises:
            CheckpointError: If the checkpoint is not one of a search.
        """
        state = checkpoint.get("search")
        if state is None:
            raise CheckpointError(f"the checkpoint is not one of a search; give one that {type(self).__name__} wrote")
        self.batches, self.recoveries = state["batches"], state["recoveries"]
        self.visited, self.measured = set(state["visited"]), dict(state["measured"])
        self._planned_epochs, self._epoch_state = state["epochs"], state.get("epoch_state")
        super().on_load_checkpoint(checkpoint)

    def validation_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        """Log the metrics of the architecture found so far, with shared weights; gives the logits."""
        return self.evaluate(self.logits(batch[0]), batch[1], "val")

    def test_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        """See :meth:`validation_step`; stand-alone accuracy needs a training of its own."""
        return self.evaluate(self.logits(batch[0]), batch[1], "test")

    def predict_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        """Class probabilities with shared weights, shape ``(B, classes)``."""
        return self.probabilities(self.logits(batch[0]))

    def note_recovery(self, old: Support | None, recovery: Recovery | None = None) -> None:
        """Count a recovery and report it to every :class:`RecoveryListener` of the trainer.

        Args:
            old: Support before the recovery; ``None`` for the initial one, which does not count.
            recovery: Recovered code, on the CPU; ``None`` if the support does not come from a code.
        """
        check_agreement(self.trainer, self.support)
        self.recoveries += old is not None
        self.visited.add(self.support)
        report = RecoveryReport(
            count=self.recoveries,
            epoch=self.current_epoch,
            batch=self.batches,
            support=self.support,
            genotype=self.genotype,
            churn=0.0 if old is None else support_churn(old, self.support),
            visited=len(self.visited),
            code=recovery.code if recovery else None,
            certificate=recovery.certificate if recovery else None,
        )
        self.tell_listeners(report)

    def tell_listeners(self, report: RecoveryReport) -> None:
        """Hand a report to every :class:`RecoveryListener` of the trainer."""
        self.report = report
        for listener in callbacks_of(self.trainer, RecoveryListener):
            listener.on_recovery(self.trainer, self, report)

    def progress(self) -> dict[str, str | int | float]:
        """Entries of a progress bar beside the metrics."""
        return {} if self.report is None else {"churn": self.report.churn, "visited": self.report.visited}
