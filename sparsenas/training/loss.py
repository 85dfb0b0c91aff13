"""The loss of a training: cross-entropy, with label smoothing and weights of classes."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from sparsenas.classification import log_loss
from sparsenas.errors import ConfigError
from sparsenas.training.weights import ClassWeights, WeightTraining


class ClassificationLoss:
    r"""Cross-entropy :math:`\ell_i` of images, each with the weight of its class.

    .. math:: \frac{1}{B} \sum_{i=1}^B w_{y_i} \ell_i

    Of images with several labels, :math:`\ell_i` is the sum of the binary cross-entropies of all labels, each with the
    weight of its presence or absence. Label smoothing moves each label towards one half, then.

    Args:
        training: Options of the training.
        multilabel: Images have any number of labels.

    Attributes:
        weights: Weight of each class, shape ``(classes,)``; with several labels, of the absence and of the presence of
            each, shape ``(2, classes)``; ``None`` for equal ones.

    Differs: the weighted ``cross_entropy`` of torch divides by the sum of the weights. Then an image would count more
        in a batch without rare classes, and gradients of batches and processes would not add up to those of all images.
    """

    def __init__(self, training: WeightTraining, multilabel: bool = False) -> None:
        self.smoothing = training.label_smoothing
        self.multilabel = multilabel
        self.weights: Tensor | None = None

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss that a training makes small, 0-d.

        Args:
            logits: Shape ``(B, classes)``.
            labels: Shape ``(B,)``, or shares of classes, shape ``(B, classes)``.
        """
        return self._each(logits, labels, self.smoothing).mean()

    def unsmoothed(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss without smoothing, by which searches compare architectures, 0-d."""
        return self.each(logits, labels).mean()

    def each(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the unsmoothed loss of each image, shape ``(B,)``."""
        return self._each(logits, labels, 0.0)

    def plain(self, logits: Tensor, labels: Tensor, loss: Tensor) -> Tensor:
        """Compute what is logged: the mean cross-entropy without smoothing or weights, as a validation logs it; 0-d.

        Args:
            logits: Shape ``(B, classes)``.
            labels: As above.
            loss: The loss of these, which may be the same.
        """
        if self.weights is None and not self.smoothing:
            return loss.detach()
        logits = logits.detach()
        return (log_loss(logits, labels) if self.multilabel else functional.cross_entropy(logits, labels)).mean()

    def _each(self, logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """Loss of each image, shape ``(B,)``."""
        if self.weights is not None:
            self.weights = self.weights.to(logits.device)  # copies once, with the first batch
        if self.multilabel:
            return self._of_labels(logits, labels * (1 - smoothing) + smoothing / 2)
        weight: Tensor | None = None
        if self.weights is not None and labels.ndim == 1:
            weight = self.weights[labels]
        elif self.weights is not None:  # an image of several classes has the weights of all, by their shares
            shares = labels * self.weights
            weight = shares.sum(1)
            labels = shares / weight[:, None]
        losses = functional.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
        return losses if weight is None else weight * losses

    def _of_labels(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.weights is None:
            return log_loss(logits, labels)
        absent, present = self.weights
        losses: Tensor = present * labels * functional.softplus(-logits)
        losses = losses + absent * (1 - labels) * functional.softplus(logits)
        return losses.sum(1)


def class_weights(wanted: ClassWeights, data: Any) -> Tensor | None:
    """Compute the weight of each class, such that the mean weight of the training images is 1.

    So only ratios count, and the learning rate means what it did. Of images with several labels, that holds for each
    label by itself, between images that have it and those that have not; the weight of a class is the ratio of both,
    which ``auto`` makes such that both count alike.

    Args:
        wanted: ``training.class_weights``.
        data: Data module.

    Returns:
        See :class:`ClassificationLoss`; ``None`` for equal weights.

    Raises:
        ConfigError: If a class is unknown, or the data module does not count its images.
    """
    if wanted == "none":
        return None
    parts: Any = getattr(data, "parts", None)
    if not hasattr(parts, "class_counts"):
        raise ConfigError(
            "training.class_weights counts the training images of a data module of sparsenas.data: give "
            "trainer.fit(..., datamodule=...), or set it to none"
        )
    counts = torch.as_tensor(parts.class_counts, dtype=torch.float64).clamp(min=1)
    multilabel = bool(getattr(data, "multilabel", False))
    others = (len(parts.split.train) - counts).clamp(min=1) if multilabel else counts
    if isinstance(wanted, str):
        weights = others / counts if multilabel else 1 / counts
    else:
        names = list(map(str, data.class_names))
        given = {str(name): float(weight) for name, weight in wanted.items()}
        if unknown := [name for name in given if name not in names]:
            raise ConfigError(
                f"training.class_weights: there is no class {unknown[0]!r}; the classes are {', '.join(names)}"
            )
        weights = torch.tensor([given.get(name, 1.0) for name in names], dtype=torch.float64)
    if multilabel:
        absent = (counts + others) / (weights * counts + others)
        return torch.stack([absent, weights * absent]).float()
    return (weights * counts.sum() / (weights * counts).sum()).float()
