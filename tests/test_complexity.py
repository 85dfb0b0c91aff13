"""Counts of parameters and MACs against formulas by hand and published figures."""

import numpy as np
import pytest
import torch
from torch import nn

from sparsenas.complexity import Complexity, candidate_costs, count_macs, count_parameters, describe
from sparsenas.networks import DerivedNet, NormOptions, SuperNet
from sparsenas.networks.operations import FactorizedReduce
from sparsenas.spaces import PUBLISHED, DartsSpace, NasBench201Space


def small_network():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 5, padding=2, groups=8),
        nn.Conv2d(8, 16, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(16, 10),
    )


def test_multiply_adds_of_a_small_network_by_hand():
    pixels = 6 * 7  # of 11x13 at stride 2
    expected = pixels * (3 * 8 * 9 + 8 * 25 + 8 * 16) + 16 * 10
    assert count_macs(small_network(), (3, 11, 13)) == expected


def test_parameters_of_a_small_network_by_hand():
    assert count_parameters(small_network()) == 3 * 8 * 9 + 2 * 8 + (8 * 25 + 8) + (8 * 16 + 16) + (16 * 10 + 10)


def test_shared_parameters_count_once():
    layer = nn.Linear(4, 4)
    assert count_parameters(nn.Sequential(layer, layer)) == 20


def test_counting_changes_nothing():
    network = small_network()
    for module, training in zip(network, [True, False] * 4, strict=True):
        module.train(training)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    generator = torch.get_rng_state()
    describe(network, (3, 8, 8))
    with pytest.raises(RuntimeError):
        count_macs(network, (4, 8, 8))
    assert [module.training for module in network.modules()] == modes
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_auxiliary_head_is_left_out():
    sizes = {"image_shape": (3, 16, 16), "num_classes": 10, "channels": 4, "cells": 4}
    plain = DerivedNet(PUBLISHED["darts_v2"], **sizes)
    with_head = DerivedNet(PUBLISHED["darts_v2"], auxiliary=True, **sizes)
    assert describe(with_head, (3, 16, 16)) == describe(plain, (3, 16, 16))
    assert count_parameters(nn.Sequential(with_head)) == count_parameters(plain)  # wherever the head is


@pytest.mark.slow
def test_cost_of_a_published_network():
    with torch.device("meta"):
        network = DerivedNet(PUBLISHED["darts_v2"], (3, 32, 32), 10)
    found = describe(network, (3, 32, 32))
    assert found.parameters == 3_349_342
    assert str(found) == "3.35 M parameters, 0.53 G MACs"


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("ista_nas_imagenet", 638),  # Yang et al., ISTA-NAS (NeurIPS 2020), as FLOPs
        ("darts_v2", 544.59),  # measured with ptflops by a reader of DARTS, quark0/darts#46
    ],
)
def test_published_counts_are_these_plus_the_elements_of_cheap_layers(name, published):
    # that convention adds 2 per element of a batch-norm, 1 per element into a ReLU or pool, and the classifier's bias
    with torch.device("meta"):
        network = DerivedNet(PUBLISHED[name], (3, 224, 224), 1000, channels=48, cells=14, stem="imagenet")
    cheap = [network.classifier.in_features * 7 * 7, 1000]
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda module, inputs, output: cheap.append(2 * output.numel()))
        elif isinstance(
            module, (nn.MaxPool2d, nn.AvgPool2d, nn.ReLU, FactorizedReduce)
        ):  # the latter starts with a ReLU
            module.register_forward_hook(lambda module, inputs, output: cheap.append(inputs[0].numel()))
    found = count_macs(network, (3, 224, 224))
    assert (found + sum(cheap)) / 1e6 == pytest.approx(published, abs=0.05)


def kept_sum(costs, support):
    """Parameters and MACs that the costs promise for a support."""
    return tuple(
        base + sum(row[index] for row, kept in zip(rows, support, strict=True) for index in kept)
        for base, rows in (
            (costs.base_parameters, costs.parameters),
            (costs.base_macs, costs.macs),
        )
    )


@pytest.mark.parametrize(
    "norms",
    [
        NormOptions(),
        NormOptions(append="pools"),
        NormOptions(append="pools_and_skips"),
        NormOptions(affine=False, track=False, append="pools_and_skips"),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("nodes", "stem", "image_shape", "cells"),
    [
        (2, "small", (1, 9, 11), 3),  # odd sizes round up at every reduction
        (3, "cifar", (3, 16, 16), 5),
        (4, "imagenet", (3, 64, 64), 4),
        (2, "cifar", (3, 8, 8), 1),  # no normal cell
        (2, "cifar", (3, 8, 8), 2),
    ],
)
def test_base_and_kept_candidates_make_the_derived_net(nodes, stem, image_shape, cells, norms):
    space = DartsSpace(nodes)
    network = SuperNet(space, image_shape, 10, channels=4, cells=cells, stem=stem, norms=norms)
    costs = candidate_costs(network)
    rng = np.random.default_rng(nodes)
    for genotype in [space.sample(rng) for _ in range(2)]:
        derived = describe(network.derive(genotype), image_shape)
        assert kept_sum(costs, space.support(genotype)) == (derived.parameters, derived.macs)


def test_an_auxiliary_head_is_not_in_the_base():
    sizes = {"space": DartsSpace(2), "image_shape": (3, 16, 16), "num_classes": 10, "channels": 4, "cells": 3}
    assert candidate_costs(SuperNet(**sizes, auxiliary=True)) == candidate_costs(SuperNet(**sizes))


@pytest.mark.parametrize("space", [DartsSpace(nodes=2), NasBench201Space()], ids=lambda space: space.name)
def test_costs_are_those_of_the_network_that_will_be_trained(space):
    """Not of a super-net that mixes a part of the channels only."""
    make = lambda partial: candidate_costs(SuperNet(space, (3, 8, 8), 10, channels=8, cells=3, partial=partial))  # noqa: E731
    assert make(4) == make(1)


def test_costs_change_nothing_about_the_network():
    network = SuperNet(DartsSpace(2), (3, 8, 8), 10, channels=4, cells=3, norms=NormOptions(append="pools_and_skips"))
    network.cells[1].eval()
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    generator = torch.get_rng_state()
    assert candidate_costs(network) == candidate_costs(network)
    assert [module.training for module in network.modules()] == modes
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    ("count", "text"),
    [(7, "7"), (99, "99"), (100, "0.10 k"), (99_999, "100.00 k"), (100_000, "0.10 M"), (574_000_000, "0.57 G")],
)
def test_text_for_people(count, text):
    assert str(Complexity(count, count)) == f"{text} parameters, {text} MACs"
