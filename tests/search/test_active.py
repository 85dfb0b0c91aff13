"""Steps on the weights that ran are those of an optimizer that walks over all weights."""

import copy

import numpy as np
import pytest
import torch

from sparsenas.search.active import ActiveWeights


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def groups(network):
    """Two groups: kernels with decay, and classifier without; the stem belongs to none."""
    kernels = [p for p in network.cells.parameters() if p.ndim > 1]
    return [{"params": kernels, "weight_decay": 0.1}, {"params": network.classifier.parameters(), "weight_decay": 0.0}]


OPTIMIZERS = {
    "sgd": lambda network: torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1),
    "groups": lambda network: torch.optim.SGD(groups(network), lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda network: torch.optim.AdamW(groups(network), lr=0.01),
}


def held(optimizer):
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_result_is_that_of_the_plain_walk(make_network, batch, rng, name):
    ours = make_network()
    plain = copy.deepcopy(ours)
    optimizer, plain_optimizer = OPTIMIZERS[name](ours), OPTIMIZERS[name](plain)
    active, everything = ActiveWeights(ours, optimizer), held(optimizer)
    supports = [ours.space.sample_support(rng) for _ in range(3)]
    for support in (*supports, supports[0], supports[0]):
        plain_optimizer.zero_grad()
        plain(batch[0], support).square().sum().backward()
        norm = torch.nn.utils.clip_grad_norm_(held(plain_optimizer), 0.5)
        plain_optimizer.step()

        active.zero_grad()
        ours(batch[0], support).square().sum().backward()
        with active.only(support):
            assert len(held(optimizer)) < len(everything)
            torch.testing.assert_close(torch.nn.utils.clip_grad_norm_(held(optimizer), 0.5), norm)
            optimizer.step()
    for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
    assert list(map(id, held(optimizer))) == list(map(id, everything))


def test_no_gradient_outlives_its_step(make_network, batch, rng):
    network = make_network()
    active = ActiveWeights(network, OPTIMIZERS["sgd"](network))
    for _ in range(3):
        support = network.space.sample_support(rng)
        network(batch[0], support).sum().backward()
        with active.only(support):
            pass
        active.zero_grad()
        assert all(parameter.grad is None for parameter in network.parameters())


def test_groups_come_back_after_an_error(make_network, rng):
    network = make_network()
    optimizer = OPTIMIZERS["sgd"](network)
    with (
        pytest.raises(RuntimeError, match="diverged"),
        ActiveWeights(network, optimizer).only(network.space.sample_support(rng)),
    ):
        raise RuntimeError("diverged")
    assert len(optimizer.param_groups[0]["params"]) == len(list(network.parameters()))


def test_a_group_added_later_is_stepped_too(make_network, batch, rng):
    network = make_network()
    optimizer = torch.optim.SGD(network.cells.parameters(), lr=0.1)
    active, support = ActiveWeights(network, optimizer), network.space.sample_support(rng)
    before = network.classifier.weight.detach().clone()
    for late in (False, True):
        if late:
            optimizer.add_param_group({"params": network.classifier.parameters()})
        network(batch[0], support).square().sum().backward()
        with active.only(support):
            optimizer.step()
        assert torch.equal(network.classifier.weight, before) != late
