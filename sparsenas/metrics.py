"""Metrics of training and evaluation that never read a value: that would wait for the device in every batch."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

#: Metrics of an evaluation.
EVALUATED = ("loss", "acc")
#: Names under which metrics lie in checkpoints of earlier versions, by those of today.
_EARLIER = {"losses.train_loss": "train_loss", "accuracies.train_acc": "train_accuracy"}


class MeanLoss(Metric):
    """Mean of losses, weighted by images; NaN if one of them is, unless such batches are left out.

    Unlike torchmetrics' ``MeanMetric`` (1.9), it neither looks for NaN nor ignores the weights.

    Args:
        finite_only: Leave out batches whose loss is not finite.
    """

    full_state_update = False
    total: Tensor
    images: Tensor

    def __init__(self, finite_only: bool = False) -> None:
        super().__init__()
        self._finite_only = finite_only
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, loss: Tensor, images: int) -> None:
        """Add the mean loss of a batch, 0-d, and its number of images."""
        loss = loss.detach()
        if self._finite_only:
            counts = loss.isfinite()
            self.total += torch.where(counts, loss, 0.0) * images
            self.images += counts * images
        else:
            self.total += loss * images
            self.images += images

    def compute(self) -> Tensor:
        """Return the mean, 0-d."""
        return self.total / self.images


def metric_states(module: nn.Module) -> dict[str, dict[str, Any]]:
    """Collect what the metrics of a module have gathered so far, over all processes, which must all call this.

    Returns:
        By the name of each metric: its states, and how many batches they are of. Metrics without any are left out.
    """
    states: dict[str, dict[str, Any]] = {}
    for name, metric in module.named_modules():
        if isinstance(metric, Metric) and metric.update_called:
            with metric.sync_context():
                states[name] = {"updates": metric.update_count, "states": dict(metric.metric_state)}
    return states


def restore_metrics(module: nn.Module, states: Mapping[str, Mapping[str, Any]], first: bool) -> None:
    """Let metrics go on from what :func:`metric_states` collected.

    Args:
        module: The module.
        states: What was collected.
        first: True in the first process, which takes all; the others begin anew, as states are added up at the end.
    """
    metrics = dict(module.named_modules())
    for name, kept in states.items():
        metric = metrics.get(_EARLIER.get(name, name))
        if not isinstance(metric, Metric):
            continue
        metric.reset()
        metric._update_count = kept["updates"]  # torchmetrics would call it empty
        for state, value in kept["states"].items() if first else ():
            setattr(metric, state, value.clone().to(metric.device))


def accuracy(num_classes: int) -> MulticlassAccuracy:
    """Return the metric of top-1 accuracy; labels are checked when the data are read."""
    return MulticlassAccuracy(num_classes, average="micro", validate_args=False)


def evaluation_metrics(num_classes: int) -> MetricCollection:
    """Return the metrics of an evaluation, updated by ``preds``, ``target``, ``loss`` and ``images`` of a batch."""
    groups = [["loss"], ["acc"]]  # given, as finding them would compare values
    return MetricCollection({"loss": MeanLoss(), "acc": accuracy(num_classes)}, compute_groups=groups)
