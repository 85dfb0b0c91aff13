"""Metrics of training and evaluation that never look at a value: that would wait for the device in every batch."""

from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy


def mean_loss() -> MeanMetric:
    """Mean of losses, weighted by images; not a number once one of them is not."""
    return MeanMetric(nan_strategy="disable")


def accuracy(num_classes: int) -> MulticlassAccuracy:
    """Share of images whose largest logit is that of their class; labels are checked when the data are read."""
    return MulticlassAccuracy(num_classes, average="micro", validate_args=False)
