"""Images with several labels: their figures, metrics and loss, against scikit-learn and by their definitions."""

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    precision_recall_fscore_support,
)
from torch.nn import functional
from torchmetrics.functional.classification import binary_calibration_error

from sparsenas.classification import (
    average_precision,
    best_temperature,
    class_report,
    guessing,
    log_loss,
    most_confident_mistakes,
    probabilities,
)
from sparsenas.metrics import EVALUATED_LABELS, evaluation_metrics, metric_states, restore_metrics
from sparsenas.reporting import decisions, label_names, prediction_rows
from sparsenas.training import ClassificationLoss, WeightTraining
from sparsenas.training.loss import class_weights


@pytest.fixture
def drawn():
    """Logits and labels of 200 images; the last label is on no image."""
    generator = torch.Generator().manual_seed(0)
    labels = (torch.rand(200, 5, generator=generator) < torch.tensor([0.5, 0.3, 0.1, 0.05, 0.0])).float()
    logits = (2 * torch.randn(200, 5, generator=generator) + 3 * labels - 1).round(decimals=1)  # some are equal
    return logits, labels


def test_figures_equal_those_of_scikit_learn(drawn):
    logits, labels = drawn
    report, found, true = class_report(logits, labels), (logits > 0).numpy(), labels.numpy()
    assert report.confusion is None
    figures = precision_recall_fscore_support(true, found, zero_division=0.0)
    for own, other in zip((report.precision, report.recall, report.f1, report.support), figures, strict=True):
        assert np.allclose(own, other)
    assert report.macro_f1 == pytest.approx(figures[2][:4].mean())
    balanced = [balanced_accuracy_score(true[:, k], found[:, k]) for k in range(4)]
    assert report.balanced_accuracy == pytest.approx(np.mean(balanced))
    assert report.accuracy == pytest.approx(accuracy_score(true, found))
    precisions = [average_precision_score(true[:, k], logits[:, k]) for k in range(4)]
    assert report.average_precision[:4].tolist() == pytest.approx(precisions)
    assert report.average_precision[4].isnan()
    assert report.mean_average_precision == pytest.approx(np.mean(precisions))
    assert report.loss == pytest.approx(5 * float(functional.binary_cross_entropy_with_logits(logits, labels)))
    flat = probabilities(logits, True).flatten(), labels.long().flatten()
    assert report.calibration_error == pytest.approx(float(binary_calibration_error(*flat, n_bins=15)))


def test_metrics_in_batches_are_those_of_the_report(drawn):
    logits, labels = drawn
    metrics, report = evaluation_metrics(5, multilabel=True), class_report(logits, labels)
    for part, known in zip(logits.split(32), labels.split(32), strict=True):
        metrics.update(preds=part, target=known, loss=log_loss(part, known).mean(), images=len(known))
    found = {name: value.item() for name, value in metrics.compute().items()}
    assert found.keys() == set(EVALUATED_LABELS)
    names = {"acc": "accuracy", "balanced_acc": "balanced_accuracy", "map": "mean_average_precision"}
    assert found == pytest.approx({name: getattr(report, names.get(name, name)) for name in found}, abs=1e-6)


def test_metrics_go_on_from_what_was_kept(drawn):
    logits, labels = drawn
    first, rest, whole = (torch.nn.ModuleDict({"m": evaluation_metrics(5, multilabel=True)}) for _ in range(3))

    def update(metrics, part):
        loss = log_loss(logits[part], labels[part]).mean()
        metrics["m"].update(preds=logits[part], target=labels[part], loss=loss, images=len(labels[part]))

    update(first, slice(0, 90))
    restore_metrics(rest, metric_states(first), first=True)
    update(rest, slice(90, 200))
    update(whole, slice(0, 200))
    kept, expected = rest["m"].compute(), whole["m"].compute()
    assert {name: float(value) for name, value in kept.items()} == pytest.approx(
        {name: float(value) for name, value in expected.items()}, abs=1e-6
    )


def test_order_alone_decides_the_average_precision(drawn):
    logits, labels = drawn
    expected = average_precision(logits, labels)
    for changed in (logits.sigmoid(), 100 * logits.double() - 7):
        torch.testing.assert_close(average_precision(changed, labels), expected, equal_nan=True)


def test_no_other_temperature_has_a_lower_loss(drawn):
    logits, labels = drawn
    best = best_temperature(logits, labels)
    assert 0.1 < best < 10
    losses = [class_report(logits / t, labels).loss for t in (best, *torch.logspace(-1, 1, 50).tolist())]
    assert losses[0] <= min(losses) + 1e-6


def test_what_most_images_have_is_the_accuracy_of_guessing():
    labels = torch.tensor([[1.0, 0], [1, 0], [1, 1], [0, 0]])
    assert guessing(labels, 2) == 0.5
    assert guessing(torch.tensor([0, 1, 1]), 4) == 0.25


def test_mistakes_begin_with_the_label_that_is_farthest_from_the_truth():
    logits = torch.tensor([[3.0, -1.0], [-1.0, -1.0], [2.0, 2.0], [-4.0, 5.0]])
    labels = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 1.0]])
    assert most_confident_mistakes(logits, labels).tolist() == [3, 0, 1]


def test_names_of_labels_and_the_probability_of_exactly_these():
    said = torch.tensor([[0.9, 0.2, 0.8], [0.1, 0.4, 0.3]])
    names, sure = decisions(said, ["beach", "cat", "dog"], multilabel=True)
    assert names == ["beach;dog", ""]
    assert sure == pytest.approx([0.9 * 0.8 * 0.8, 0.9 * 0.6 * 0.7])
    labels = torch.tensor([[1.0, 1, 0], [0, 0, 0]])
    assert label_names(labels, ["beach", "cat", "dog"]) == ["beach;cat", ""]
    rows = list(prediction_rows(said, labels, ["beach", "cat", "dog"], ["1.jpg", "2.jpg"], True, True))
    assert rows[1][:3] == ("1.jpg", "beach;cat", "beach;dog")
    assert rows[2][:3] == ("2.jpg", "", "")


class Counted:
    """A data module that knows nothing but the labels of its images."""

    multilabel = True
    class_names = ("beach", "cat", "dog")

    def __init__(self, labels):
        self.parts = self.split = self
        self.train, self.class_counts = np.arange(len(labels)), labels.sum(0).long().numpy()


@pytest.fixture
def batch():
    """Logits and labels of a batch, every label on some images."""
    generator = torch.Generator().manual_seed(1)
    labels = (torch.rand(40, 3, generator=generator) < torch.tensor([0.5, 0.3, 0.1])).float()
    labels[0] = 1
    return torch.randn(40, 3, generator=generator), labels


def loss_of(wanted, labels, smoothing=0.0):
    loss = ClassificationLoss(WeightTraining(label_smoothing=smoothing, class_weights=wanted), multilabel=True)
    loss.weights = class_weights(wanted, Counted(labels))
    return loss


def test_the_gradient_of_a_logit_is_probability_minus_truth(batch):
    logits, labels = batch
    logits.requires_grad_()
    loss_of("none", labels)(logits, labels).backward()
    torch.testing.assert_close(len(labels) * logits.grad, logits.detach().sigmoid() - labels)


def test_automatic_weights_let_presence_and_absence_count_alike(batch):
    labels = batch[1]
    absent, present = class_weights("auto", Counted(labels))
    counts = labels.sum(0)
    torch.testing.assert_close(present * counts, absent * (len(labels) - counts))
    torch.testing.assert_close((present * labels + absent * (1 - labels)).mean(0), torch.ones(3))


def test_a_weight_is_the_ratio_of_presence_to_absence_as_in_torch(batch):
    logits, labels = batch
    loss = loss_of({"dog": 5.0}, labels)
    absent, present = loss.weights
    torch.testing.assert_close(present / absent, torch.tensor([1.0, 1.0, 5.0]))
    expected = functional.binary_cross_entropy_with_logits(
        logits, labels, weight=absent, pos_weight=present / absent, reduction="none"
    )
    torch.testing.assert_close(loss(logits, labels), expected.sum(1).mean())
    torch.testing.assert_close(loss.each(logits, labels), expected.sum(1))


def test_smoothing_moves_labels_towards_one_half_and_is_not_logged(batch):
    logits, labels = batch
    loss = loss_of("none", labels, smoothing=0.2)
    torch.testing.assert_close(loss(logits, labels), log_loss(logits, 0.8 * labels + 0.1).mean())
    torch.testing.assert_close(loss.unsmoothed(logits, labels), log_loss(logits, labels).mean())
    torch.testing.assert_close(loss.plain(logits, labels, loss(logits, labels)), log_loss(logits, labels).mean())


@pytest.mark.parametrize("wanted", ["none", {"cat": 3.0}])
def test_shares_of_mixed_images_share_the_loss(batch, wanted):
    logits, labels = batch
    loss, other = loss_of(wanted, labels, 0.1), labels.roll(1, 0)
    expected = 0.7 * loss(logits, labels) + 0.3 * loss(logits, other)
    torch.testing.assert_close(loss(logits, 0.7 * labels + 0.3 * other), expected)


def test_one_label_that_images_have_is_enough(drawn):
    logits, labels = drawn
    alone = torch.zeros_like(labels)
    alone[:, 1] = labels[:, 1]
    found = average_precision(logits, alone)
    assert found.isnan().tolist() == [True, False, True, True, True]
    assert float(found[1]) == pytest.approx(average_precision_score(labels[:, 1], logits[:, 1]))


def test_images_without_any_label_have_no_mean_average_precision(drawn):
    logits, labels = drawn
    report = class_report(logits, torch.zeros_like(labels))
    assert report.mean_average_precision is None
    assert np.isnan([report.macro_f1, report.balanced_accuracy]).all()
    assert report.accuracy == pytest.approx(float((logits <= 0).all(1).float().mean()))


@pytest.mark.parametrize("multilabel", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_metrics_count_exactly_in_every_precision(drawn, dtype, multilabel):
    logits, labels = drawn[0].to(dtype).repeat(3, 1), drawn[1].to(dtype).repeat(3, 1)
    labels = labels if multilabel else labels.argmax(1)
    metrics = evaluation_metrics(5, multilabel).to(dtype)
    for part, known in zip(logits.split(7), labels.split(7), strict=True):
        metrics.update(preds=part, target=known, loss=log_loss(part, known).mean(), images=len(known))
    found = metrics.compute()
    report = class_report(logits.float(), labels.float() if multilabel else labels)
    assert float(metrics["loss"].images) == 600  # which bfloat16 cannot tell from 592
    assert float(found["calibration_error"]) == pytest.approx(report.calibration_error, abs=1e-5)
    assert float(found["macro_f1"]) == pytest.approx(report.macro_f1, abs=1e-6)
