"""Base of all modules that train a classifier: its loss, and the metrics of training and evaluation."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sparsenas.checkpoints import CheckpointedModule
from sparsenas.classification import log_loss, probabilities
from sparsenas.metrics import EVALUATED, EVALUATED_LABELS, Accuracy, MeanLoss, evaluation_metrics
from sparsenas.training.adversarial import AdversarialImages
from sparsenas.training.loss import ClassificationLoss, class_weights
from sparsenas.training.skipping import SkippedSteps, logged
from sparsenas.training.weights import WeightTraining

#: Metrics of an evaluation that a progress bar shows.
SHOWN = ("loss", "acc", "map")


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
        self.num_classes = num_classes
        self.weight_training = training
        self.loss = ClassificationLoss(training)
        self._steps = SkippedSteps(training)
        self._adversarial = AdversarialImages(training.adversary)
        self.train_loss, self.train_accuracy = MeanLoss(self._steps.active), Accuracy()
        self.evaluation = evaluation_metrics(num_classes)

    @property
    def multilabel(self) -> bool:
        """True if images have any number of labels; the data module says so."""
        return self.loss.multilabel

    @property
    def data_module(self) -> Any:
        """The data module of the trainer; ``None`` without one."""
        return getattr(self.trainer, "datamodule", None)  # set on the trainer, but not declared there

    def logs(self, multilabel: bool) -> tuple[str, ...]:
        """Name the metrics that a fit logs, of images with one label or several."""
        evaluated = (f"val/{name}" for name in (EVALUATED_LABELS if multilabel else EVALUATED))
        return (*logged(self.weight_training), *evaluated, *self.logs_also)

    def setup(self, stage: str) -> None:
        """Choose loss and metrics by the images."""
        super().setup(stage)
        self.prepare_loss(weigh=stage == "fit")

    def prepare_loss(self, weigh: bool = True) -> None:
        """Choose loss and metrics by the labels of the images, and compute the weights of classes.

        Args:
            weigh: False leaves the weights out, which only a training needs.

        Raises:
            ConfigError: If a class is unknown, or the data module does not count its images.
        """
        data = self.data_module
        if data is not None:
            self._take_labels(bool(getattr(data, "multilabel", False)))
        if weigh:
            self.loss.weights = class_weights(self.weight_training.class_weights, data)

    def _take_labels(self, multilabel: bool) -> None:
        if multilabel != self.loss.multilabel:
            self.loss.multilabel = multilabel
            self.evaluation = evaluation_metrics(self.num_classes, multilabel)
            self.evaluation.to(self.device)

    def on_validation_start(self) -> None:
        """Begin anew: a checkpoint of a validation within an epoch holds what that one has gathered."""
        super().on_validation_start()
        self.evaluation.reset()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the weights of classes, and whether images have several labels."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["multilabel"] = self.multilabel
        if self.loss.weights is not None:
            checkpoint["class_weights"] = self.loss.weights.tolist()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the weights of classes that the run had, whatever images have arrived."""
        super().on_load_checkpoint(checkpoint)
        self._take_labels(checkpoint.get("multilabel", False))  # earlier versions knew one label only
        own, kept = self.loss.weights, checkpoint.get("class_weights")
        if own is not None and kept is not None:
            self.loss.weights = torch.tensor(kept)
            if not torch.allclose(self.loss.weights, own.cpu()):
                self.print("training.class_weights: those of the checkpoint are used")

    def under_attack(
        self,
        batch: tuple[Tensor, Tensor],
        network: nn.Module,
        logits: Callable[[Tensor], Tensor],
        adversarial: AdversarialImages | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Make the images of a step by the adversary of the training; the same if there is none.

        Args:
            batch: Images and labels.
            network: Whose batch-norms the attack runs through.
            logits: Logits of changed images, as the step computes them.
            adversarial: Another adversary, which raises the loss without smoothing, as those of an architecture do.
        """
        criterion = self.loss if adversarial is None else self.loss.unsmoothed
        adversarial = adversarial or self._adversarial
        if adversarial.adversary is None:
            return batch
        return adversarial.of(
            batch, network, lambda images, labels: criterion(logits(images), labels), self.data_module
        )

    def on_after_backward(self) -> None:
        """Let free adversarial training learn from the gradient of its images."""
        self._adversarial.learn()

    def training_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss of a training batch, and let ``train_loss`` and ``train_accuracy`` take note of it.

        Args:
            logits: Shape ``(B, classes)``.
            labels: Shape ``(B,)``; or shares of classes of mixed images, ``(B, classes)``, of which the largest one
                counts for the accuracy; or of several labels, each of which counts if its share is above one half.

        Returns:
            The loss by the options of the training, 0-d; what is logged has neither smoothing nor weights.
        """
        loss = self.loss(logits, labels)
        self.train_loss.update(self.loss.plain(logits, labels, loss), len(labels))
        self.train_accuracy.update(logits.detach(), labels if labels.ndim == 1 or self.multilabel else labels.argmax(1))
        return loss

    def evaluate(self, logits: Tensor, labels: Tensor, stage: Literal["val", "test"]) -> Tensor:
        """Log the metrics of a batch of a validation or a test.

        Args:
            logits: Shape ``(B, classes)``.
            labels: Shape ``(B,)``; or ``(B, classes)`` of several labels.
            stage: Begins the names of the metrics.

        Returns:
            The logits, without gradients, for callbacks.
        """
        logits = logits.detach()
        loss = log_loss(logits, labels).mean()
        self.evaluation.update(preds=logits, target=labels, loss=loss, images=len(labels))
        metrics = dict(self.evaluation.items(keep_base=True, copy_state=False))  # in another order
        for name in (name for name in EVALUATED_LABELS if name in metrics):
            self.log(f"{stage}/{name}", metrics[name], on_step=False, on_epoch=True, prog_bar=name in SHOWN)
        return logits

    def probabilities(self, logits: Tensor) -> Tensor:
        """Compute the probability of each class, or of each label by itself, shape ``(B, classes)``."""
        return probabilities(logits, self.multilabel)
