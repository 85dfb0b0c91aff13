"""Metrics: agreement with their definitions, and that nothing hides a diverged loss."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score

from sparsenas.metrics import MeanLoss, accuracy


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
    metric = accuracy(5)
    for part in (slice(0, 32), slice(32, 50)):
        metric.update(logits[part], labels[part])
    assert metric.compute().item() == pytest.approx(accuracy_score(labels, logits.argmax(1)))
