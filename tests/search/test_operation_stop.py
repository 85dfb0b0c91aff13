"""Operation-level early stopping: what is compared, and what rests."""

import pytest
import torch
from torch.nn import functional

from sparsenas.data import Digits
from sparsenas.errors import ConfigError
from sparsenas.search import OperationStop, RelaxedSearch, SinglePathSearch, TwoStageSearch
from sparsenas.search.operation_stop import StoppedOperations
from sparsenas.spaces import Candidate


@pytest.fixture
def support(space):
    """Both edges of every node, a convolution on each."""
    names = [[c.primitive for c in block.candidates] for block in space.blocks]
    return tuple(tuple(i for i, name in enumerate(row) if name == "sep_conv_3x3")[:2] for row in names)


@pytest.fixture
def losses(make_network, support):
    """A super-net with gradients of one loss, and the loss on other images."""
    network, generator = make_network(), torch.Generator().manual_seed(1)
    images = torch.randn(32, 1, 8, 8, generator=generator)
    labels = torch.randint(10, (32,), generator=generator)

    def loss(part):
        return functional.cross_entropy(network(images[part], support), labels[part])

    loss(slice(0, 16)).backward()
    return network, loss


def test_cosine_is_that_of_the_operations_gradients(losses, support, space):
    network, loss = losses
    guard = StoppedOperations(network, OperationStop(window=100))
    own = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    guard.compare(support, loss(slice(16, 32)))
    network.zero_grad()
    loss(slice(16, 32)).backward()
    candidate = space.blocks[0].candidates[support[0][0]]
    expected = []
    for operation in network.operations(candidate, space.blocks[0].cell):
        weights = dict(operation.named_parameters())
        names = {p: name for name, p in network.named_parameters()}
        first = torch.cat([own[names[p]].flatten() for p in weights.values()])
        second = torch.cat([p.grad.flatten() for p in weights.values()])
        expected.append(functional.cosine_similarity(first, second, dim=0))
    ran = guard.count.nonzero()[:, 0]
    torch.testing.assert_close(guard.total[ran[: len(expected)]], torch.stack(expected))
    assert guard.count.sum() == len(ran)


def test_equal_batches_never_stop_and_unlike_ones_do(losses, support):
    network, loss = losses
    same = StoppedOperations(network, OperationStop(threshold=0.99, window=2))
    strict = StoppedOperations(network, OperationStop(threshold=0.99, window=2))
    for _ in range(2):
        same.compare(support, loss(slice(0, 16)))
        strict.compare(support, loss(slice(16, 32)))
    assert not same.stopped.any()
    ran = {id(p) for p in network.active_parameters(support)}
    assert strict.stopped.any()
    assert all(id(p) in ran for p in strict.weights())
    assert not strict.count[strict.stopped].any()  # the window begins anew


def test_operations_without_weights_are_left_out(make_network, space):
    network = make_network()
    guard = StoppedOperations(network, OperationStop())
    with_weights = sum(
        any(True for _ in operation.parameters())
        for block in space.blocks
        for candidate in block.candidates
        for operation in network.operations(candidate, block.cell)
    )
    assert len(guard.stopped) == with_weights
    assert isinstance(space.blocks[0].candidates[0], Candidate)


@pytest.mark.parametrize("kind", [TwoStageSearch, RelaxedSearch, SinglePathSearch])
def test_stopped_weights_rest(kind, space, fit_briefly):
    torch.manual_seed(0)
    size = {"channels": 4, "cells": 3, "stem": "small", "space": space}
    search = kind((1, 8, 8), 10, operation_stop=OperationStop(threshold=1.0, window=1), **size)
    kept = []

    class Watch(kind):
        def training_step(self, batch, batch_idx):
            before = {p: p.detach().clone() for p in self.stopped.weights()}
            super().training_step(batch, batch_idx)
            kept.extend(torch.equal(p, old) for p, old in before.items())

    search.__class__ = Watch
    fit_briefly(search, Digits(batch_size=32, arch_fraction=0.4), batches=4, epochs=1)
    assert kept  # a cosine of 1 is out of reach
    assert all(kept)
    assert search.state_dict()["stopped.stopped"].any()


def test_mistakes_are_explained():
    with pytest.raises(ConfigError, match=r"threshold=2, window=20, every=1; a cosine lies in \[-1, 1\]"):
        OperationStop(threshold=2)
