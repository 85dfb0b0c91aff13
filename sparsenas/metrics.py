"""Metrics of training and evaluation that never read a value: that would wait for the device in every batch."""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy


class MeanLoss(Metric):
    """Mean of losses, weighted by images; NaN if one of them is.

    Unlike torchmetrics' ``MeanMetric`` (1.9), it neither looks for NaN nor ignores the weights.
    """

    full_state_update = False
    total: Tensor
    images: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, loss: Tensor, images: int) -> None:
        """Add the mean loss of a batch, 0-d, and its number of images."""
        self.total += loss.detach() * images
        self.images += images

    def compute(self) -> Tensor:
        """Return the mean, 0-d."""
        return self.total / self.images


def accuracy(num_classes: int) -> MulticlassAccuracy:
    """Return the metric of top-1 accuracy; labels are checked when the data are read."""
    return MulticlassAccuracy(num_classes, average="micro", validate_args=False)
