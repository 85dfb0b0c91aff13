"""What all modules that train a classifier share: its loss, and the metrics of training and evaluation."""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from sparsenas.checkpoints import CheckpointedModule
from sparsenas.metrics import EVALUATED, MeanLoss, accuracy, evaluation_metrics
from sparsenas.training.loss import ClassificationLoss, class_weights
from sparsenas.training.skipping import SkippedSteps, logged
from sparsenas.training.weights import WeightTraining

#: Metrics of an evaluation that a progress bar shows.
SHOWN = ("loss", "acc")


class ClassifierModule(CheckpointedModule):
    """Base of the modules that train a network or a super-net.

    Args:
        num_classes: Number of classes.
        training: Training of the weights.

    Attributes:
        loss: Loss of the training.
        train_loss: Mean cross-entropy of the training batches of an epoch.
        train_accuracy: Their accuracy.
        evaluation: Metrics of a validation or a test, by name.
    """

    #: Metrics that only some modules log.
    logs_also: tuple[str, ...] = ()

    def __init__(self, num_classes: int, training: WeightTraining) -> None:
        super().__init__()
        self.weight_training = training
        self.loss = ClassificationLoss(training)
        self._steps = SkippedSteps(training)
        self.train_loss, self.train_accuracy = MeanLoss(self._steps.active), accuracy(num_classes)
        self.evaluation = evaluation_metrics(num_classes)

    @property
    def logs(self) -> tuple[str, ...]:
        """Names of the metrics that a fit logs."""
        evaluated = (f"val/{name}" for name in EVALUATED)
        return (*logged(self.weight_training), *evaluated, *self.logs_also)

    def setup(self, stage: str) -> None:
        """Weigh the classes."""
        super().setup(stage)
        if stage == "fit":
            self.weigh_classes()

    def weigh_classes(self) -> None:
        """Compute the weights of classes from the training images.

        Raises:
            ConfigError: If one is unknown, or the data module does not count its images.
        """
        data = getattr(self.trainer, "datamodule", None)  # set on the trainer, but not declared there
        self.loss.weights = class_weights(self.weight_training.class_weights, data)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the weights of classes."""
        super().on_save_checkpoint(checkpoint)
        if self.loss.weights is not None:
            checkpoint["class_weights"] = self.loss.weights.tolist()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the weights of classes that the run had, whatever images have arrived."""
        super().on_load_checkpoint(checkpoint)
        own, kept = self.loss.weights, checkpoint.get("class_weights")
        if own is not None and kept is not None:
            self.loss.weights = torch.tensor(kept)
            if not torch.allclose(self.loss.weights, own.cpu()):
                self.print("training.class_weights: those of the checkpoint are used")

    def training_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss of a training batch, and let ``train_loss`` and ``train_accuracy`` take note of it.

        Args:
            logits: Shape ``(B, classes)``.
            labels: Shape ``(B,)``; or shares of classes of mixed images, ``(B, classes)``, of which the largest one
                counts for the accuracy.

        Returns:
            The loss by the options of the training, 0-d; what is logged has neither smoothing nor weights.
        """
        loss = self.loss(logits, labels)
        self.train_loss.update(self.loss.plain(logits, labels, loss), len(labels))
        self.train_accuracy.update(logits.detach(), labels if labels.ndim == 1 else labels.argmax(1))
        return loss

    def evaluate(self, logits: Tensor, labels: Tensor, stage: Literal["val", "test"]) -> Tensor:
        """Log the metrics of a batch of a validation or a test.

        Args:
            logits: Shape ``(B, classes)``.
            labels: Shape ``(B,)``.
            stage: Begins the names of the metrics.

        Returns:
            The logits, without gradients, for callbacks.
        """
        logits = logits.detach()
        loss = functional.cross_entropy(logits, labels)
        self.evaluation.update(preds=logits, target=labels, loss=loss, images=len(labels))
        metrics = dict(self.evaluation.items(keep_base=True, copy_state=False))  # in another order
        for name in EVALUATED:
            self.log(f"{stage}/{name}", metrics[name], on_step=False, on_epoch=True, prog_bar=name in SHOWN)
        return logits
