"""Metrics of training and evaluation that never look at a value: that would wait for the device in every batch."""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy


class MeanLoss(Metric):
    """Mean of losses, weighted by images; not a number once one of them is not.

    Not torchmetrics' ``MeanMetric`` (1.9), which looks for values that are not numbers or, told not to by
    ``nan_strategy="disable"``, ignores the weights.
    """

    full_state_update = False
    total: Tensor
    images: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, loss: Tensor, images: int) -> None:
        """Take in the mean loss of a batch, 0-d, and its number of images."""
        self.total += loss.detach() * images
        self.images += images

    def compute(self) -> Tensor:
        """The mean, 0-d."""
        return self.total / self.images


def accuracy(num_classes: int) -> MulticlassAccuracy:
    """Share of images whose largest logit is that of their class; labels are checked when the data are read."""
    return MulticlassAccuracy(num_classes, average="micro", validate_args=False)
