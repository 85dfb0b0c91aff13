"""Folding: the network without architecture weights computes what the super-net computes with them."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional

from sparsenas.errors import ConfigError
from sparsenas.networks import NormOptions, SuperNet, check_foldable, fold
from sparsenas.spaces import DARTS_PRIMITIVES, DartsSpace

NORMS = NormOptions(affine=True, track=True, append="pools_and_skips")
IMAGES = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def make():
    """A super-net with random gamma, beta and statistics in every batch-norm."""

    def run(space, norms=NORMS, auxiliary=False):
        torch.manual_seed(0)
        network = SuperNet(space, (3, 16, 16), 5, channels=6, cells=4, stem="small", norms=norms, auxiliary=auxiliary)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d) and module.affine:
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                torch.nn.init.normal_(module.bias)
            if isinstance(module, torch.nn.BatchNorm2d) and module.running_mean is not None:
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2.0)
        return network.to(memory_format=torch.channels_last)

    return run


def signed_weights(space):
    """Weights of both signs and of very different size."""
    shape = (len(space.blocks), space.inputs_per_node)
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(shape, generator=generator) * torch.logspace(-1, 0.5, shape[0])[:, None]
    assert (weights < 0).any()
    return weights


@pytest.mark.parametrize("primitive", DARTS_PRIMITIVES)
def test_every_primitive_at_both_strides_and_in_both_cells(make, primitive):
    # reduction cells have stride 2 on edges from the inputs and stride 1 between nodes
    space = DartsSpace(nodes=2, primitives=(primitive,))
    network = make(space).eval()
    support = space.sample_support(np.random.default_rng(0))
    weights = signed_weights(space)
    folded = fold(network, support, weights)
    assert not folded.training
    torch.testing.assert_close(folded(IMAGES), network(IMAGES, support, weights), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_mixed_supports(make, seed):
    space = DartsSpace(nodes=4)
    network = make(space).eval()
    support = space.sample_support(np.random.default_rng(seed))
    weights = signed_weights(space)
    folded = fold(network, support, weights)
    torch.testing.assert_close(folded(IMAGES), network(IMAGES, support, weights), atol=1e-5, rtol=1e-5)


def test_two_candidates_on_one_edge(make):
    space = DartsSpace(nodes=2, distinct_edges=False)
    network = make(space).eval()
    support, weights = ((0, 1), (2, 3), (4, 5), (3, 6)), signed_weights(space)
    torch.testing.assert_close(
        fold(network, support, weights)(IMAGES), network(IMAGES, support, weights), atol=1e-5, rtol=1e-5
    )


def test_one_training_step_from_the_same_batch_statistics(make):
    space = DartsSpace(nodes=3)
    network = make(space).train()
    support = space.sample_support(np.random.default_rng(0))
    weights = signed_weights(space)
    folded = fold(copy.deepcopy(network), support, weights)
    assert folded.training
    ours, theirs = folded(IMAGES), network(IMAGES, support, weights)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    labels = torch.arange(8) % 5
    functional.cross_entropy(ours, labels).backward()
    functional.cross_entropy(theirs, labels).backward()
    expected = dict(network.named_parameters())
    for name, parameter in folded.named_parameters():
        if "norm" in name:  # gamma' = w gamma: its gradient is that of gamma over w, tested by the logits
            continue
        torch.testing.assert_close(parameter.grad, expected[name].grad, atol=1e-5, rtol=1e-3, msg=name)
    statistics = dict(network.named_buffers())
    for name, buffer in folded.named_buffers():
        torch.testing.assert_close(buffer, statistics[name], msg=name)


def test_nothing_else_is_in_the_folded_network(make):
    space = DartsSpace(nodes=3)
    network = make(space, auxiliary=True)
    support = space.sample_support(np.random.default_rng(0))
    before = copy.deepcopy(network.state_dict())
    folded = fold(network, support, signed_weights(space))
    kept = {c for block, row in zip(space.blocks, support, strict=True) for c in (block.candidates[i] for i in row)}
    names = {name.split(".")[3] for name in folded.state_dict() if ".operations." in name}
    assert names == {f"{c.source}_{c.target}_{c.primitive}" for c in kept}
    assert folded.auxiliary is None
    assert set(folded.state_dict()) < set(before)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize(
    "norms", [NormOptions(affine=False, append="pools_and_skips"), NormOptions(append="pools"), NormOptions()]
)
def test_an_operation_that_cannot_take_up_its_weight_is_named(make, norms):
    space = DartsSpace(nodes=2, primitives=("skip_connect",))
    network = make(space, norms)
    with pytest.raises(ConfigError, match=r"skip_connect on edge 0->2 does not end in a batch-norm.*pools_and_skips"):
        check_foldable(network)
    with pytest.raises(ConfigError, match="skip_connect"):
        fold(network, space.sample_support(np.random.default_rng(0)), torch.ones(4, 2))


def test_check_passes_where_folding_works(make):
    check_foldable(make(DartsSpace(nodes=2)))
