"""Training of any network: steps, schedule, evaluation."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from sparsenas.errors import CheckpointError, ConfigError
from sparsenas.schedules import Stretch, remarks
from sparsenas.trainer import is_dry_run, is_within_epoch, stopped_early
from sparsenas.training.classifier import ClassifierModule
from sparsenas.training.continuation import planned_length, rejoin_schedule
from sparsenas.training.divergence import check_finite
from sparsenas.training.pace import Pace, Work, count_workers, share_of
from sparsenas.training.recalibration import Recalibration
from sparsenas.training.weights import WeightTraining


def one_stream(batch: Any) -> tuple[Tensor, Tensor]:
    """Take the only stream of training images.

    Raises:
        ConfigError: If the data module splits the training images in two.
    """
    if not isinstance(batch, (tuple, list)):
        raise ConfigError("one network trains on all training images: set data.arch_fraction to 0")
    images, labels = batch
    return images, labels


class NetworkTraining(ClassifierModule):
    """Training of a network, wherever its architecture comes from.

    Args:
        image_shape: ``(C, H, W)`` of the images.
        num_classes: Number of classes.
        training: Training of the network; a subclass may use options that others do not.
        seed: Seeds what subclasses draw, anew at every epoch, so that a resumed run repeats an uninterrupted one.

    Attributes:
        network: The network; ``None`` until somebody sets it.

    Raises:
        ConfigError: If the seed is negative.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], num_classes: int, training: WeightTraining, seed: int
    ) -> None:
        if seed < 0:
            raise ConfigError(f"seed is {seed}; use a number not below 0")
        super().__init__(num_classes, training)
        self.image_shape, self.seed = image_shape, seed
        self.network: nn.Module | None = None
        self._pace: Pace | None = None
        self._before, self._agreed, self._over = Work(), 0.0, False
        self._planned: float | None = None
        self._recalibration = Recalibration()

    @property
    def built(self) -> nn.Module:
        """The network.

        Raises:
            CheckpointError: If there is none yet.
        """
        if self.network is None:
            raise CheckpointError("no network has been found yet; let the run go on")
        return self.network

    @property
    def finished(self) -> bool:
        """True after the last epoch, step or second, or if early stopping has ended the training."""
        if self.network is not None and stopped_early(self.trainer):
            return True
        if self.network is None or not self.weight_training.by_epochs:
            return self.network is not None and self._over
        return 0 < (self.trainer.max_epochs or 0) <= self.trainer.current_epoch

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(B, classes)``."""
        logits: Tensor = self.built(images)
        return logits

    def deployable(self) -> nn.Module:
        """Copy the trained network for use, in evaluation mode.

        Its logits are those of :meth:`forward` in this mode.

        Raises:
            CheckpointError: If there is no network yet.
        """
        return copy.deepcopy(self.built).eval()

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Make the optimizer of the network."""
        return self.weight_training.optimizer(self.built.parameters())

    def configure_optimizers(self) -> Any:
        """Make the optimizer, and its schedule by epoch."""
        options, optimizer = self.weight_training, self.make_optimizer()
        if options.by_epochs:
            return [optimizer], [options.schedule.scheduler(optimizer, self.trainer.max_epochs or 0)]
        by_step = LambdaLR(optimizer, lambda _: options.schedule.at(self.progress))
        return [optimizer], [{"scheduler": by_step, "interval": "step"}]

    @property
    def progress(self) -> float:
        """Share of the training that is done, the same on all processes."""
        if self.weight_training.by_epochs:
            return self.current_epoch / max(self.trainer.max_epochs or 1, 1)
        if self._pace is None:  # the first learning rate is that of what was done before
            return share_of(self.weight_training, self._before)
        return self._pace.progress(self.trainer.global_step) if self.trainer.world_size == 1 else self._agreed

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by ``training.gradient_clip``; an option of the trainer wins."""
        if gradient_clip_val is None and self.weight_training.gradient_clip > 0:
            gradient_clip_val = self.weight_training.gradient_clip
        self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_fit_start(self) -> None:
        """Check that the end of schedules is known.

        Raises:
            ConfigError: If it is not.
        """
        if not self.weight_training.by_epochs:
            if self.trainer.max_epochs != 0 and not is_dry_run(self.trainer):
                self.trainer.fit_loop.max_epochs = -1  # a run has one length
            return
        if self.trainer.max_epochs is None or self.trainer.max_epochs < 0:
            raise ConfigError("trainer.max_epochs is not set; schedule and drop-path go over its epochs: set it")

    def on_train_start(self) -> None:
        """Start the clock; say where the learning rate does not go as its schedule promises."""
        self._recalibration = Recalibration()  # of this run, whose images may be others
        if not self.weight_training.by_epochs:
            workers = count_workers(self.trainer.train_dataloader)
            self._pace = Pace(self.weight_training, self.device, workers, self._before)
            self._agree()
        if said := rejoin_schedule(self.trainer, self.weight_training, self._planned):
            self.print(said)
        if not self.weight_training.by_epochs:
            self._end_if_over()  # resumed once more; nothing is left to do
            return
        stretch = Stretch("training.schedule", self.weight_training.schedule, self.trainer.max_epochs or 0)
        for remark in remarks(self.trainer, [stretch]):
            self.print(remark)

    def on_train_epoch_start(self) -> None:
        """Count the steps of this epoch anew."""
        self._steps.begin_epoch()
        self._adversarial.begin_epoch()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Keep the statistics of the network, in case the step is left out."""
        self._steps.keep(self.built)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Leave the step out if its gradients are not finite; with ``16-mixed`` the scaler does."""
        if self.trainer.precision != "16-mixed":
            self._steps.check(optimizer)

    def lr_scheduler_step(self, scheduler: Any, metric: Any | None) -> None:
        """Go on in the schedule; end a training of steps or seconds, before callbacks hear of the end of the batch."""
        self._agree()
        super().lr_scheduler_step(scheduler, metric)
        self._end_if_over()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Take note of the images."""
        self._recalibration.note(self.trainer, one_stream(batch)[0])

    def train_for(self, seconds: float) -> None:
        """Set what is left to train, for callbacks."""
        self.weight_training = replace(self.weight_training, steps=None, seconds=self._before.seconds + seconds)

    def recalibrate(self) -> None:
        """Replace running statistics of young batch-norms; for callbacks that evaluate after a training batch."""
        self._recalibration.run(self, self.built, trained=True)

    def on_train_epoch_end(self) -> None:
        """Recalibrate batch-norms unless a validation has just done so; end a run that has diverged."""
        self._recalibration.run(self, self.built)
        if self._steps.active:
            self.log("train/skipped_steps", float(self._steps.skipped))
        self._check_finite("train/loss", found=self._steps.found())

    def on_validation_epoch_start(self) -> None:
        """Recalibrate batch-norms: after callbacks, one of which may have put averaged weights in place."""
        self._recalibration.run(self, self.built)

    def on_validation_epoch_end(self) -> None:
        """End a run that has diverged, before a checkpoint of this validation is written."""
        self._check_finite("val/loss")

    def on_test_epoch_end(self) -> None:
        """Say if accuracies are those of a network that computes no numbers."""
        self._check_finite("test/loss")

    def on_predict_start(self) -> None:
        """See :meth:`on_test_epoch_end`."""
        self._check_finite()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep weights that are no numbers out of checkpoints, also of those that are written amid an epoch."""
        self._check_finite()
        super().on_save_checkpoint(checkpoint)
        checkpoint["planned_length"] = planned_length(self.trainer, self.weight_training)
        if self._pace is not None:
            checkpoint["seconds_trained"] = self._pace.seconds
        if is_within_epoch(self.trainer):
            checkpoint["epoch_state"] = {"steps": self._steps.counts}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the clock of the training."""
        super().on_load_checkpoint(checkpoint)
        self._planned = checkpoint.get("planned_length")
        self._before = self._before._replace(seconds=float(checkpoint.get("seconds_trained", 0.0)))
        if self.network is not None and (state := checkpoint.get("epoch_state")):  # of an epoch that began before
            self._steps.counts = state["steps"]

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Cross-entropy."""
        images, labels = self.under_attack(one_stream(batch), self.built, self)
        return self.logged_loss(self(images), labels)

    def logged_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss of a training batch, and log it; see :meth:`training_loss`."""
        loss = self.training_loss(logits, labels)
        self.log_dict({"train/loss": self.train_loss, "train/acc": self.train_accuracy}, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Log the metrics; gives the logits."""
        return self.evaluate(self(batch[0]), batch[1], "val")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """See :meth:`validation_step`."""
        return self.evaluate(self(batch[0]), batch[1], "test")

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Class probabilities, shape ``(B, classes)``."""
        return self.probabilities(self(batch[0]))

    def _agree(self) -> None:
        """Let the first process say how far the training is; only here do all ask together."""
        if self._pace is not None and self.trainer.world_size > 1:
            self._agreed = self.trainer.strategy.broadcast(self._pace.progress(self.trainer.global_step))

    def _end_if_over(self) -> None:
        if not self.weight_training.by_epochs and self.progress >= 1.0:
            self._over = self.trainer.should_stop = True
            self.trainer.check_val_every_n_epoch = 1  # the last weights are validated, whatever the epoch

    def _check_finite(self, *metrics: str, found: Sequence[str] = ()) -> None:
        if self.network is not None:
            check_finite(self, self.network, self.weight_training, *metrics, found=found)
