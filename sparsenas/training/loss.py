"""The loss of a training: cross-entropy, with label smoothing and weights of classes."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from sparsenas.errors import ConfigError
from sparsenas.training.weights import ClassWeights, WeightTraining


class ClassificationLoss:
    r"""Cross-entropy :math:`\ell_i` of images, each with the weight of its class.

    .. math:: \frac{1}{B} \sum_{i=1}^B w_{y_i} \ell_i

    Args:
        training: Options of the training.

    Attributes:
        weights: Weight of each class, shape ``(classes,)``; ``None`` for equal ones.

    Differs: the weighted ``cross_entropy`` of torch divides by the sum of the weights. Then an image would count more
        in a batch without rare classes, and gradients of batches and processes would not add up to those of all images.
    """

    def __init__(self, training: WeightTraining) -> None:
        self.smoothing = training.label_smoothing
        self.weights: Tensor | None = None

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss that a training makes small, 0-d.

        Args:
            logits: Shape ``(B, classes)``.
            labels: Shape ``(B,)``, or shares of classes, shape ``(B, classes)``.
        """
        if self.weights is None:
            return functional.cross_entropy(logits, labels, label_smoothing=self.smoothing)
        return self._weighted(logits, labels, self.smoothing).mean()

    def unsmoothed(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss without smoothing, by which searches compare architectures, 0-d."""
        return functional.cross_entropy(logits, labels) if self.weights is None else self.each(logits, labels).mean()

    def each(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the unsmoothed loss of each image, shape ``(B,)``."""
        if self.weights is None:
            return functional.cross_entropy(logits, labels, reduction="none")
        return self._weighted(logits, labels, 0.0)

    def plain(self, logits: Tensor, labels: Tensor, loss: Tensor) -> Tensor:
        """Compute what is logged: the mean cross-entropy without smoothing or weights, as a validation logs it; 0-d.

        Args:
            logits: Shape ``(B, classes)``.
            labels: As above.
            loss: The loss of these, which may be the same.
        """
        if self.weights is None and not self.smoothing:
            return loss.detach()
        return functional.cross_entropy(logits.detach(), labels)

    def _weighted(self, logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """Loss of each image times its weight; an image of several classes has the weights of all, by their shares."""
        assert self.weights is not None
        self.weights = self.weights.to(logits.device)  # copies once, with the first batch
        if labels.ndim == 1:
            weight = self.weights[labels]
        else:
            shares = labels * self.weights
            weight = shares.sum(1)
            labels = shares / weight[:, None]
        return weight * functional.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)


def class_weights(wanted: ClassWeights, data: Any) -> Tensor | None:
    """Compute the weight of each class, such that the mean weight of the training images is 1.

    So only ratios count, and the learning rate means what it did.

    Args:
        wanted: ``training.class_weights``.
        data: Data module.

    Returns:
        Shape ``(classes,)``; ``None`` for equal weights.

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
    if isinstance(wanted, str):
        weights = 1 / counts
    else:
        names = list(map(str, data.class_names))
        given = {str(name): float(weight) for name, weight in wanted.items()}
        if unknown := [name for name in given if name not in names]:
            raise ConfigError(
                f"training.class_weights: there is no class {unknown[0]!r}; the classes are {', '.join(names)}"
            )
        weights = torch.tensor([given.get(name, 1.0) for name in names], dtype=torch.float64)
    return (weights * counts.sum() / (weights * counts).sum()).float()
