"""What all modules that train a classifier share: the metrics of its training and of its evaluation."""

from typing import Literal

from torch import Tensor
from torch.nn import functional

from sparsenas.checkpoints import CheckpointedModule
from sparsenas.metrics import EVALUATED, MeanLoss, accuracy, evaluation_metrics
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
        train_loss: Mean loss of the training batches of an epoch.
        train_accuracy: Their accuracy.
        evaluation: Metrics of a validation or a test, by name.
    """

    #: Metrics that only some modules log.
    logs_also: tuple[str, ...] = ()

    def __init__(self, num_classes: int, training: WeightTraining) -> None:
        super().__init__()
        self.weight_training = training
        self._steps = SkippedSteps(training)
        self.train_loss, self.train_accuracy = MeanLoss(self._steps.active), accuracy(num_classes)
        self.evaluation = evaluation_metrics(num_classes)

    @property
    def logs(self) -> tuple[str, ...]:
        """Names of the metrics that a fit logs."""
        evaluated = (f"val/{name}" for name in EVALUATED)
        return (*logged(self.weight_training), *evaluated, *self.logs_also)

    def training_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss of a training batch, and let ``train_loss`` and ``train_accuracy`` take note of it.

        Args:
            logits: Shape ``(B, classes)``.
            labels: Shape ``(B,)``.

        Returns:
            The loss by the options of the training, 0-d.
        """
        loss = self.weight_training.loss(logits, labels)
        self.train_loss.update(loss.detach(), len(labels))
        self.train_accuracy.update(logits.detach(), labels)
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
