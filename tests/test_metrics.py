"""Metrics: agreement with their definitions, and that nothing hides a diverged loss."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from sparsenas.classification import class_report
from sparsenas.metrics import EVALUATED, Accuracy, MeanLoss, evaluation_metrics


def test_mean_loss_is_weighted_by_images():
    metric = MeanLoss()
    values, images = [1.0, 2.0, 4.0], [3, 1, 2]
    for value, count in zip(values, images, strict=True):
        metric.update(torch.tensor(value, requires_grad=True), count)
    assert metric.compute().item() == pytest.approx(np.average(values, weights=images))
    assert not metric.compute().requires_grad
    metric.reset()
    metric.update(torch.tensor(5.0), 7)
    assert metric.compute().item() == 5.0


def test_a_loss_that_is_not_a_number_shows():
    metric = MeanLoss()
    for value in (1.0, math.nan, 2.0):
        metric.update(torch.tensor(value), 4)
    assert math.isnan(metric.compute())


def test_accuracy_is_that_of_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(50, 5, generator=generator), torch.randint(5, (50,), generator=generator)
    metric = Accuracy()
    for part in (slice(0, 32), slice(32, 50)):
        metric.update(logits[part], labels[part])
    assert metric.compute().item() == pytest.approx(accuracy_score(labels, logits.argmax(1)))


@pytest.fixture
def figures():
    """Metrics of logits and labels that come in batches of 32."""

    def run(logits, labels):
        metrics = evaluation_metrics(logits.shape[1])
        for part, known in zip(logits.split(32), labels.split(32), strict=True):
            loss = torch.nn.functional.cross_entropy(part, known)
            metrics.update(preds=part, target=known, loss=loss, images=len(known))
        return {name: value.item() for name, value in metrics.compute().items()}

    return run


def test_figures_in_batches_are_those_of_the_report_and_of_scikit_learn(figures):
    generator = torch.Generator().manual_seed(0)
    labels = torch.cat([torch.zeros(70, dtype=torch.int64), torch.randint(1, 4, (30,), generator=generator)])
    logits = 3 * torch.randn(100, 5, generator=generator) + torch.nn.functional.one_hot(labels, 5)  # class 4 is empty
    logits[0] = torch.tensor([99.0, 0, 0, 0, 0])  # a probability of 1
    report, found = class_report(logits, labels), figures(logits, labels)
    assert found.keys() == set(EVALUATED)
    names = {"acc": "accuracy", "balanced_acc": "balanced_accuracy"}
    assert found == pytest.approx({name: getattr(report, names.get(name, name)) for name in found}, abs=1e-6)
    guesses = logits.argmax(1)
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        assert found["balanced_acc"] == pytest.approx(balanced_accuracy_score(labels, guesses))
    assert found["macro_f1"] == pytest.approx(f1_score(labels, guesses, labels=range(4), average="macro"))


def test_counts_are_kept_once_and_begin_anew():
    metrics = evaluation_metrics(3)
    batch = {"preds": torch.eye(3), "target": torch.arange(3), "loss": torch.tensor(1.0), "images": 3}
    metrics.update(**batch)
    kept = dict(metrics.items(copy_state=False))
    assert kept["macro_f1"].hits is kept["balanced_acc"].hits
    metrics.compute()
    metrics.reset()
    metrics.update(**batch | {"target": torch.tensor([0, 1, 1])})
    assert metrics.compute()["acc"].item() == pytest.approx(2 / 3)
