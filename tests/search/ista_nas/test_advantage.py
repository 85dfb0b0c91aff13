"""The advantage of a loss against its definition, and what a one-stage search makes of it."""

import numpy as np
import pytest
import torch

from sparsenas.search.ista_nas.advantage import LossAdvantage


def test_first_losses_have_nothing_to_be_compared_with():
    advantage = LossAdvantage()
    assert advantage(torch.tensor(2.0)) == 0.0
    assert advantage(torch.tensor(2.5)) == 0.0  # a mean, but no deviation yet
    assert advantage(torch.tensor(3.0)) > 0.0


def test_it_is_the_standardised_loss_under_exponential_averages():
    losses = np.random.default_rng(0).normal(2.0, 0.1, size=60)
    advantage = LossAdvantage(memory=0.9)
    found = [float(advantage(torch.tensor(loss))) for loss in losses]
    means, squares = [], []
    for step, loss in enumerate(losses):
        ages = 0.9 ** np.arange(step)[::-1]
        mean = np.average(losses[:step], weights=ages) if step else loss
        deviation = np.sqrt(np.average(squares, weights=ages)) if step else 0.0
        expected = (loss - mean) / deviation if deviation > 0 else 0.0
        assert found[step] == pytest.approx(np.clip(expected, -3, 3), abs=1e-3)
        means.append(mean)
        squares.append((loss - mean) ** 2)


def test_one_odd_batch_does_not_decide_and_no_gradient_flows():
    advantage = LossAdvantage()
    for loss in (2.0, 2.1, 1.9, 2.0):
        advantage(torch.tensor(loss))
    odd = torch.tensor(50.0, requires_grad=True)
    value = advantage(odd)
    assert value == 3.0
    assert not value.requires_grad


def test_a_reload_goes_on():
    first, second = LossAdvantage(), LossAdvantage()
    for loss in (2.0, 2.2, 1.7):
        first(torch.tensor(loss))
    second.load_state_dict(first.state_dict())
    assert first(torch.tensor(2.3)) == second(torch.tensor(2.3)) != 0.0
