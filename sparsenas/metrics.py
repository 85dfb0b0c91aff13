"""Metrics of training and evaluation that never read a value: that would wait for the device in every batch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection
from torchmetrics.utilities import dim_zero_cat

from sparsenas.classification import BINS, average_precision, probabilities, right

#: Metrics of an evaluation; of images with several labels, also the mean average precision.
EVALUATED = ("loss", "acc", "macro_f1", "balanced_acc", "calibration_error")
EVALUATED_LABELS = (*EVALUATED, "map")
#: Names under which metrics lie in checkpoints of earlier versions, by those of today.
_EARLIER = {"losses.train_loss": "train_loss", "accuracies.train_acc": "train_accuracy"}


class _Exact(Metric):
    """A metric that keeps the types of its states: with ``bf16-true``, 257 images would count as 256."""

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = ()) -> nn.Module:
        return super()._apply(lambda state: fn(state).to(state.dtype), exclude_state)


class MeanLoss(_Exact):
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
        if not isinstance(metric, Metric) or kept["states"].keys() != metric.metric_state.keys():
            continue  # of an earlier version: it counts the rest of the epoch
        metric.reset()
        metric._update_count = kept["updates"]  # torchmetrics would call it empty
        for state, value in kept["states"].items() if first else ():
            copies = [part.clone().to(metric.device) for part in (value if isinstance(value, list) else [value])]
            setattr(metric, state, copies if isinstance(value, list) else copies[0])


class Accuracy(_Exact):
    """Share of images of which the class is right, or every label; see :func:`~sparsenas.classification.right`."""

    full_state_update = False
    correct: Tensor
    images: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("correct", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count the images of a batch, by logits ``(B, K)`` and labels ``(B,)`` or ``(B, K)``."""
        self.correct += right(preds, target).sum()
        self.images += len(target)

    def compute(self) -> Tensor:
        """Return the share, 0-d."""
        return self.correct / self.images


class _ByClass(_Exact):
    """Base of figures by class, see :class:`~sparsenas.classification.ClassReport`; their counts are the same.

    The metrics of torchmetrics (1.9) count by ``bincount``, for which a GPU is waited for in every batch.

    Args:
        num_classes: ``K``.
        multilabel: Images have any number of labels.

    Attributes:
        hits: Images of each class that are taken for it, shape ``(K,)``, int64.
        support: Images of each class, likewise.
        taken: Images that are taken for each class, likewise.
        images: Number of images, 0-d, int64.
    """

    full_state_update = False
    hits: Tensor
    support: Tensor
    taken: Tensor
    images: Tensor

    def __init__(self, num_classes: int, multilabel: bool = False) -> None:
        super().__init__()
        self.multilabel = multilabel
        for state in ("hits", "support", "taken"):
            self.add_state(state, torch.zeros(num_classes, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count the images of a batch, by logits ``(B, K)`` and labels ``(B,)`` or ``(B, K)``."""
        self.images += len(target)
        if self.multilabel:
            found, truth = preds > 0, target > 0.5
            self.hits += (found & truth).sum(0)
            self.support += truth.sum(0)
            self.taken += found.sum(0)
            return
        found = preds.argmax(1)
        ones = torch.ones_like(target)
        self.hits.index_add_(0, target, (found == target).long())
        self.support.index_add_(0, target, ones)
        self.taken.index_add_(0, found, ones)


class BalancedAccuracy(_ByClass):
    """Mean recall, or mean of sensitivity and specificity; see :class:`~sparsenas.classification.ClassReport`."""

    def compute(self) -> Tensor:
        """Return the mean, 0-d."""
        recall, there = self.hits / self.support.clamp(min=1), self.support > 0
        if not self.multilabel:
            return _mean(recall, there)
        others = self.images - self.support
        specificity = 1 - (self.taken - self.hits) / others.clamp(min=1)
        return _mean((recall + specificity) / 2, there & (others > 0))


class MacroF1(_ByClass):
    """Mean F1 of the classes that have images."""

    def compute(self) -> Tensor:
        """Return the mean, 0-d."""
        return _mean(2 * self.hits / (self.support + self.taken).clamp(min=1), self.support > 0)


def _mean(values: Tensor, there: Tensor) -> Tensor:
    """Mean of some values, 0-d."""
    return (values * there).sum() / there.sum()


class MeanAveragePrecision(Metric):
    """Mean average precision of labels, see :func:`~sparsenas.classification.average_precision`.

    It keeps all logits: the order of images is known at the end only.
    """

    full_state_update = False
    logits: list[Tensor]
    labels: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("logits", [], dist_reduce_fx="cat")
        self.add_state("labels", [], dist_reduce_fx="cat")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Keep logits and labels of a batch, both ``(B, K)``."""
        self.logits.append(preds.float())
        self.labels.append(target)

    def compute(self) -> Tensor:
        """Return the mean over the labels that images have, 0-d."""
        found = average_precision(dim_zero_cat(self.logits), dim_zero_cat(self.labels))
        return found.nanmean().to(self.device)


class CalibrationError(_Exact):
    """Expected calibration error, over :data:`~sparsenas.classification.BINS` bins.

    Unlike the metrics of torchmetrics (1.9), it keeps sums by bin instead of all probabilities.

    Args:
        multilabel: Images have any number of labels.

    Source: Guo et al., On Calibration of Modern Neural Networks (ICML 2017).
    """

    full_state_update = False
    gaps: Tensor
    images: Tensor

    def __init__(self, multilabel: bool = False) -> None:
        super().__init__()
        self.multilabel = multilabel
        self.add_state("gaps", torch.zeros(BINS + 1), dist_reduce_fx="sum")  # a probability of 1 has a bin of its own
        self.add_state("images", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add up, by bin, how far probabilities are above what is right; see :meth:`_ByClass.update`."""
        said = probabilities(preds.float(), self.multilabel)
        if self.multilabel:
            probability, truth = said.flatten(), target.flatten().float()
        else:
            probability, found = said.max(1)
            truth = (found == target).float()
        borders = torch.linspace(0, 1, BINS + 1, device=preds.device, dtype=probability.dtype)
        bins = (torch.bucketize(probability, borders, right=True) - 1).clamp(max=BINS)
        self.gaps.index_add_(0, bins, probability - truth)
        self.images += len(truth)

    def compute(self) -> Tensor:
        """Return the error, 0-d."""
        return self.gaps.abs().sum() / self.images


def evaluation_metrics(num_classes: int, multilabel: bool = False) -> MetricCollection:
    """Return :data:`EVALUATED`, updated by ``preds`` (logits), ``target``, ``loss`` and ``images`` of a batch.

    Args:
        num_classes: ``K``.
        multilabel: Images have any number of labels; gives :data:`EVALUATED_LABELS`.
    """
    metrics: dict[str, Metric] = {
        "loss": MeanLoss(),
        "acc": Accuracy(),
        "macro_f1": MacroF1(num_classes, multilabel),
        "balanced_acc": BalancedAccuracy(num_classes, multilabel),
        "calibration_error": CalibrationError(multilabel),
    }
    # given, as finding them would compare values
    groups = [["loss"], ["acc"], ["macro_f1", "balanced_acc"], ["calibration_error"]]
    if multilabel:
        metrics["map"] = MeanAveragePrecision()
        groups.append(["map"])
    return MetricCollection(metrics, compute_groups=groups)  # type: ignore[arg-type]  # its dictionaries are invariant
