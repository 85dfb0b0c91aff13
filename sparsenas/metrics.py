"""Metrics of training and evaluation that never read a value: that would wait for the device in every batch."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from sparsenas.classification import BINS

#: Metrics of an evaluation.
EVALUATED = ("loss", "acc", "macro_f1", "balanced_acc", "calibration_error")
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


class _ByClass(Metric):
    """Base of figures by class, see :class:`~sparsenas.classification.ClassReport`; their counts are the same.

    The metrics of torchmetrics (1.9) count by ``bincount``, for which a GPU is waited for in every batch.

    Args:
        num_classes: ``K``.

    Attributes:
        right: Images of each class that are taken for it, shape ``(K,)``, int64.
        support: Images of each class, likewise.
        taken: Images that are taken for each class, likewise.
    """

    full_state_update = False
    right: Tensor
    support: Tensor
    taken: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        for state in ("right", "support", "taken"):
            self.add_state(state, torch.zeros(num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count the images of a batch, by logits ``(B, K)`` and labels ``(B,)``."""
        found = preds.argmax(1)
        ones = torch.ones_like(target)
        self.right.index_add_(0, target, (found == target).long())
        self.support.index_add_(0, target, ones)
        self.taken.index_add_(0, found, ones)

    def _mean(self, values: Tensor) -> Tensor:
        """Mean over the classes that have images."""
        there = self.support > 0
        return (values * there).sum() / there.sum()


class Accuracy(_ByClass):
    """Share of images that are right."""

    def compute(self) -> Tensor:
        """Return the share, 0-d."""
        return self.right.sum() / self.support.sum()


class BalancedAccuracy(_ByClass):
    """Mean recall of the classes that have images."""

    def compute(self) -> Tensor:
        """Return the mean, 0-d."""
        return self._mean(self.right / self.support.clamp(min=1))


class MacroF1(_ByClass):
    """Mean F1 of the classes that have images."""

    def compute(self) -> Tensor:
        """Return the mean, 0-d."""
        return self._mean(2 * self.right / (self.support + self.taken).clamp(min=1))


class CalibrationError(Metric):
    """Expected calibration error, over :data:`~sparsenas.classification.BINS` bins.

    Unlike ``MulticlassCalibrationError`` of torchmetrics (1.9), it keeps sums by bin instead of all probabilities.

    Source: Guo et al., On Calibration of Modern Neural Networks (ICML 2017).
    """

    full_state_update = False
    gaps: Tensor
    images: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("gaps", torch.zeros(BINS + 1), dist_reduce_fx="sum")  # a probability of 1 has a bin of its own
        self.add_state("images", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add up, by bin, how far probabilities are above what is right, by logits ``(B, K)`` and labels ``(B,)``."""
        probability, found = preds.float().softmax(1).max(1)
        borders = torch.linspace(0, 1, BINS + 1, device=preds.device)
        bins = (torch.bucketize(probability, borders, right=True) - 1).clamp(max=BINS)
        self.gaps.index_add_(0, bins, probability - (found == target).float())
        self.images += len(target)

    def compute(self) -> Tensor:
        """Return the error, 0-d."""
        return self.gaps.abs().sum() / self.images


def evaluation_metrics(num_classes: int) -> MetricCollection:
    """Return :data:`EVALUATED`, updated by ``preds`` (logits), ``target``, ``loss`` and ``images`` of a batch."""
    metrics: dict[str, Metric] = {
        "loss": MeanLoss(),
        "acc": Accuracy(num_classes),
        "macro_f1": MacroF1(num_classes),
        "balanced_acc": BalancedAccuracy(num_classes),
        "calibration_error": CalibrationError(),
    }
    # given, as finding them would compare values
    groups = [["loss"], ["acc", "macro_f1", "balanced_acc"], ["calibration_error"]]
    return MetricCollection(metrics, compute_groups=groups)  # type: ignore[arg-type]  # its dictionaries are invariant
