"""Figures of a classifier: of every image, every class and in all."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_confusion_matrix

#: Bins of equal width, of the probability of the most probable class, over which the calibration error is taken.
BINS = 15
#: Range of temperatures: logits of a network that knows nothing, or everything, have none that is best.
COLDEST, HOTTEST = 0.05, 20.0


@dataclass(frozen=True)
class ClassReport:
    """Figures of a classifier on labelled images.

    A class that no image has, or that no image was taken for, has a recall or a precision of 0, and counts in no mean.

    Attributes:
        confusion: Images by true class (row) and predicted class (column), shape ``(K, K)``, int64.
        precision: Of the images taken for a class, the share that is of it; shape ``(K,)``.
        recall: Of the images of a class, the share that is taken for it; shape ``(K,)``.
        f1: Harmonic mean of both; shape ``(K,)``.
        support: Images of each class; shape ``(K,)``, int64.
        accuracy: Share of images that are right.
        balanced_accuracy: Mean recall of the classes that have images.
        macro_f1: Mean F1 of these classes.
        calibration_error: Expected calibration error: how far the probability of the predicted class is from the share
            that is right, on average; in [0, 1].
        loss: Mean cross-entropy, in nats.
    """

    confusion: Tensor
    precision: Tensor
    recall: Tensor
    f1: Tensor
    support: Tensor
    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    calibration_error: float
    loss: float


def class_report(logits: Tensor, labels: Tensor) -> ClassReport:
    """Compute the figures of a classifier.

    Args:
        logits: Shape ``(N, K)``.
        labels: Shape ``(N,)``, int64.

    Source: Guo et al., On Calibration of Modern Neural Networks (ICML 2017), for the calibration error.
    """
    logits = logits.float()
    classes = logits.shape[1]
    confusion = multiclass_confusion_matrix(logits.argmax(1), labels, classes)
    right, support, taken = confusion.diagonal().double(), confusion.sum(1), confusion.sum(0)
    recall = right / support.clamp(min=1)
    precision = right / taken.clamp(min=1)
    f1 = 2 * right / (support + taken).clamp(min=1)
    there = support > 0
    probabilities = logits.softmax(1)
    return ClassReport(
        confusion,
        precision,
        recall,
        f1,
        support,
        accuracy=float(right.sum() / support.sum()),
        balanced_accuracy=float(recall[there].mean()),
        macro_f1=float(f1[there].mean()),
        calibration_error=float(multiclass_calibration_error(probabilities, labels, classes, n_bins=BINS, norm="l1")),
        loss=float(functional.cross_entropy(logits, labels)),
    )


def best_temperature(logits: Tensor, labels: Tensor) -> float:
    """Find the temperature ``T`` for which ``softmax(logits / T)`` has the least cross-entropy.

    It changes no predicted class. The loss is convex in ``1 / T``, so halving the range finds the only minimum.

    Args:
        logits: Of images that trained nothing, shape ``(N, K)``.
        labels: Shape ``(N,)``, int64.

    Returns:
        The temperature, in [:data:`COLDEST`, :data:`HOTTEST`]; above 1 for a network that is too sure.

    Source: Guo et al. (2017), section 4.2.
    """
    logits = logits.double()
    mean = logits.gather(1, labels[:, None]).mean()
    low, high = 1 / HOTTEST, 1 / COLDEST
    for _ in range(60):
        middle = (low + high) / 2
        slope = ((middle * logits).softmax(1) * logits).sum(1).mean() - mean  # of the loss, by the inverse temperature
        low, high = (low, middle) if slope > 0 else (middle, high)
    return 2 / (low + high)


def most_confident_mistakes(logits: Tensor, labels: Tensor, most: int = 16) -> Tensor:
    """Find the images that a classifier takes for another class, the most probable one first.

    Returns:
        Their positions, shape ``(M,)`` with at most ``most`` of them, int64; equally sure ones in their order.
    """
    probability, found = logits.float().softmax(1).max(1)
    wrong = torch.nonzero(found != labels)[:, 0]
    return wrong[probability[wrong].argsort(descending=True, stable=True)][:most]
