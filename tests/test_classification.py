"""Figures of a classifier, against scikit-learn and by their definitions."""

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, log_loss, precision_recall_fscore_support

from sparsenas.classification import COLDEST, HOTTEST, best_temperature, class_report, most_confident_mistakes


def _drawn(seed: int, images: int = 200, classes: int = 5, scale: float = 2.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes - 1, (images,), generator=generator)  # the last class has no image
    logits = torch.randn(images, classes, generator=generator)
    return scale * (logits + torch.nn.functional.one_hot(labels, classes)), labels


@pytest.mark.parametrize("seed", range(5))
def test_figures_equal_those_of_scikit_learn(seed: int) -> None:
    logits, labels = _drawn(seed)
    report = class_report(logits, labels)
    found, true = logits.argmax(1).numpy(), labels.numpy()
    assert np.array_equal(report.confusion, confusion_matrix(true, found, labels=range(5)))
    figures = precision_recall_fscore_support(true, found, labels=range(5), zero_division=0.0)
    for own, other in zip((report.precision, report.recall, report.f1, report.support), figures, strict=True):
        assert np.allclose(own, other)
    there = list(range(4))
    assert report.macro_f1 == pytest.approx(figures[2][there].mean())
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        assert report.balanced_accuracy == pytest.approx(balanced_accuracy_score(true, found))
    assert report.accuracy == pytest.approx((found == true).mean())
    assert report.loss == pytest.approx(log_loss(true, logits.double().softmax(1).numpy(), labels=range(5)), abs=1e-5)


def test_the_calibration_error_is_the_gap_between_probability_and_share_that_is_right() -> None:
    # half of the images are right, all with a probability of 0.9
    logits = torch.tensor([[np.log(9.0), 0.0]]).repeat(100, 1)
    labels = torch.tensor([0, 1] * 50)
    assert class_report(logits, labels).calibration_error == pytest.approx(0.4, abs=1e-6)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_of_sharpened_logits_is_how_much_they_were_sharpened(temperature: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50_000, 4, generator=generator)
    labels = logits.softmax(1).multinomial(1, generator=generator)[:, 0]  # so these are calibrated
    assert best_temperature(temperature * logits, labels) == pytest.approx(temperature, rel=0.03)


@pytest.mark.parametrize("seed", range(5))
def test_no_other_temperature_has_a_lower_loss(seed: int) -> None:
    logits, labels = _drawn(seed, scale=4.0)
    best = best_temperature(logits, labels)

    def loss(temperature: float) -> float:
        return class_report(logits / temperature, labels).loss

    assert all(loss(best) <= loss(other) + 1e-6 for other in torch.logspace(-1, 1, 50).tolist())


def test_the_temperature_of_a_perfect_network_and_of_a_wrong_one_stays_in_its_range() -> None:
    labels = torch.tensor([0, 1])
    assert best_temperature(torch.eye(2), labels) == pytest.approx(COLDEST)
    assert best_temperature(-torch.eye(2), labels) == pytest.approx(HOTTEST)


def test_mistakes_begin_with_the_surest() -> None:
    logits = torch.tensor([[1.0, 0.0], [0.0, 3.0], [5.0, 0.0], [2.0, 0.0]])
    labels = torch.tensor([1, 0, 0, 1])
    assert most_confident_mistakes(logits, labels).tolist() == [1, 3, 0]
    assert most_confident_mistakes(logits, labels, 2).tolist() == [1, 3]
    assert not len(most_confident_mistakes(logits, torch.tensor([0, 1, 0, 0])))
