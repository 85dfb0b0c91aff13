"""Figures of a classifier: of every image, every class and in all.

An image has one label, or any number of labels. The form of the labels tells which: ``(N,)`` int64 holds the class of
each image; ``(N, K)`` float32 holds 1 for each label that an image has, and 0 for the others.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

#: Stands between the names of an image's labels.
SEPARATOR = ";"
#: Bins of equal width, of the probability of the most probable class, over which the calibration error is taken.
BINS = 15
#: Range of temperatures: logits of a network that knows nothing, or everything, have none that is best.
COLDEST, HOTTEST = 0.05, 20.0


def probabilities(logits: Tensor, multilabel: bool) -> Tensor:
    """Compute the probability of each class, or of each label by itself, shape ``(N, K)``."""
    return logits.sigmoid() if multilabel else logits.softmax(1)


def right(logits: Tensor, labels: Tensor) -> Tensor:
    """Say of which images the class is right, or every label; shape ``(N,)``, bool.

    A label is given to an image if its probability is above one half.
    """
    if labels.ndim == 1:
        return logits.argmax(1) == labels
    return ((logits > 0) == (labels > 0.5)).all(1)


def guessing(labels: Tensor, classes: int) -> float:
    """Compute the accuracy of a network that has learned nothing of the images.

    Of images with one label, that is one in so many classes. With several, it knows how frequent each label is, and
    gives all images those that most of them have.
    """
    if labels.ndim == 1:
        return 1 / classes
    shares = labels.mean(0)
    return float(right((shares - 0.5).expand_as(labels), labels).float().mean())


def log_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute how improbable the labels of each image are, in nats, shape ``(N,)``.

    That is the cross-entropy of its class, or the sum of the binary cross-entropies of all labels. With the sum, the
    gradient of a logit is probability minus truth in both cases, so learning rates mean the same.
    """
    if labels.ndim == 1:
        return functional.cross_entropy(logits, labels, reduction="none")
    return functional.binary_cross_entropy_with_logits(logits, labels, reduction="none").sum(1)


def average_precision(scores: Tensor, labels: Tensor) -> Tensor:
    """Compute the average precision of each label, shape ``(K,)``, on the CPU; NaN for a label that no image has.

    Args:
        scores: Logits or probabilities, shape ``(N, K)``.
        labels: Shape ``(N, K)``.

    Source: ``average_precision_score`` of scikit-learn has the same definition, without interpolation.
    """
    from torchmetrics.functional.classification import binary_average_precision  # who reads an export needs none

    scores, labels = scores.cpu(), labels.cpu()  # there is no way without reading values
    found = torch.full((scores.shape[1],), torch.nan)
    for label in torch.nonzero(labels.sum(0) > 0)[:, 0].tolist():  # of one without images, torchmetrics would warn
        # ranks order images as scores do, and are no logits that torchmetrics would squash
        ranks = torch.unique(scores[:, label], return_inverse=True)[1].float() / len(scores)
        found[label] = binary_average_precision(ranks, labels[:, label].long())
    return found


def mean_precision(found: Tensor) -> float | None:
    """Return the mean of :func:`average_precision`; ``None`` where no image has a label."""
    return None if found.isnan().all() else float(found.nanmean())


@dataclass(frozen=True)
class ClassReport:
    """Figures of a classifier on labelled images.

    A class that no image has, or that no image was taken for, has a recall or a precision of 0, and counts in no mean.

    Attributes:
        confusion: Images by true class (row) and predicted class (column), shape ``(K, K)``, int64; ``None`` of images
            with several labels.
        precision: Of the images taken for a class, the share that is of it; shape ``(K,)``.
        recall: Of the images of a class, the share that is taken for it; shape ``(K,)``.
        f1: Harmonic mean of both; shape ``(K,)``.
        support: Images of each class; shape ``(K,)``, int64.
        right: Number of images that are right, see :func:`right`.
        images: Number of images.
        balanced_accuracy: Mean recall of the classes that have images. Of images with several labels: the mean of
            sensitivity and specificity, over the labels that some images have and some have not; NaN without any.
        macro_f1: Mean F1 of the classes that have images; NaN without any.
        calibration_error: Expected calibration error: how far the probability of the predicted class is from the share
            that is right, on average; in [0, 1]. Of images with several labels: that of every label.
        loss: Mean of :func:`log_loss`, in nats.
        average_precision: See :func:`average_precision`; ``None`` of images with one label.
    """

    confusion: Tensor | None
    precision: Tensor
    recall: Tensor
    f1: Tensor
    support: Tensor
    right: int
    images: int
    balanced_accuracy: float
    macro_f1: float
    calibration_error: float
    loss: float
    average_precision: Tensor | None = None

    @property
    def accuracy(self) -> float:
        """Share of images that are right."""
        return self.right / self.images

    @property
    def mean_average_precision(self) -> float | None:
        """Mean of the average precision (mAP) over the labels that images have.

        It is ``None`` of images with one label each, and where no image has a label.
        """
        return None if self.average_precision is None else mean_precision(self.average_precision)


def class_report(logits: Tensor, labels: Tensor) -> ClassReport:
    """Compute the figures of a classifier.

    Args:
        logits: Shape ``(N, K)``.
        labels: Shape ``(N,)``, int64; or ``(N, K)``, float32.

    Source: Guo et al., On Calibration of Modern Neural Networks (ICML 2017), for the calibration error.
    """
    from torchmetrics.functional import classification  # as above

    logits, images, multilabel = logits.float(), len(logits), labels.ndim == 2
    classes, said = logits.shape[1], probabilities(logits, multilabel)
    if multilabel:
        confusion = None
        found, truth = logits > 0, labels > 0.5
        hits, support, taken = (found & truth).sum(0).double(), truth.sum(0), found.sum(0)
        error = classification.binary_calibration_error(said.flatten(), truth.long().flatten(), n_bins=BINS, norm="l1")
    else:
        confusion = classification.multiclass_confusion_matrix(logits.argmax(1), labels, classes)
        hits, support, taken = confusion.diagonal().double(), confusion.sum(1), confusion.sum(0)
        error = classification.multiclass_calibration_error(said, labels, classes, n_bins=BINS, norm="l1")
    recall = hits / support.clamp(min=1)
    precision = hits / taken.clamp(min=1)
    f1 = 2 * hits / (support + taken).clamp(min=1)
    there = support > 0
    balanced = recall[there]
    if multilabel:
        specificity = 1 - (taken - hits) / (images - support).clamp(min=1)
        balanced = ((recall + specificity) / 2)[there & (support < images)]
    return ClassReport(
        confusion,
        precision,
        recall,
        f1,
        support,
        right=int(right(logits, labels).sum()),
        images=images,
        balanced_accuracy=float(balanced.mean()),
        macro_f1=float(f1[there].mean()),
        calibration_error=float(error),
        loss=float(log_loss(logits, labels).mean()),
        average_precision=average_precision(logits, labels) if multilabel else None,
    )


def best_temperature(logits: Tensor, labels: Tensor) -> float:
    """Find the temperature ``T`` for which ``logits / T`` have the least :func:`log_loss`.

    It changes no predicted class. The loss is convex in ``1 / T``, so halving the range finds the only minimum.

    Args:
        logits: Of images that trained nothing, shape ``(N, K)``.
        labels: Shape ``(N,)``, int64; or ``(N, K)``, float32.

    Returns:
        The temperature, in [:data:`COLDEST`, :data:`HOTTEST`]; above 1 for a network that is too sure.

    Source: Guo et al. (2017), section 4.2.
    """
    logits, multilabel = logits.double(), labels.ndim == 2
    truth = labels if multilabel else functional.one_hot(labels, logits.shape[1])
    mean = (truth * logits).sum(1).mean()
    low, high = 1 / HOTTEST, 1 / COLDEST
    for _ in range(60):
        middle = (low + high) / 2
        said = probabilities(middle * logits, multilabel)
        slope = (said * logits).sum(1).mean() - mean  # of the loss, by the inverse temperature
        low, high = (low, middle) if slope > 0 else (middle, high)
    return 2 / (low + high)


def most_confident_mistakes(logits: Tensor, labels: Tensor, most: int = 16) -> Tensor:
    """Find the images that a classifier takes for another class, or of which a label is wrong, the surest one first.

    Returns:
        Their positions, shape ``(M,)`` with at most ``most`` of them, int64; equally sure ones in their order.
    """
    said = probabilities(logits.float(), labels.ndim == 2)
    if labels.ndim == 1:
        sure, found = said.max(1)
        wrong = found != labels
    else:
        sure = (said - labels).abs().max(1).values  # the probability that is farthest from the truth
        wrong = ~right(logits, labels)
    places = torch.nonzero(wrong)[:, 0]
    return places[sure[places].argsort(descending=True, stable=True)][:most]
