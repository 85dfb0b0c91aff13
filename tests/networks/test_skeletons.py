"""Networks of every space: shapes, super-net and derived net, published sizes, and what does not fit."""

import csv
import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from sparsenas.complexity import candidate_costs, count_macs, count_parameters, describe
from sparsenas.errors import ConfigError, GenotypeError
from sparsenas.export import Blueprint
from sparsenas.networks import DerivedNet, NormOptions, SuperNet, candidate_gradients, check_foldable, fold
from sparsenas.networks import fuse_batchnorm as fuse
from sparsenas.networks.cell import wire
from sparsenas.networks.operations import layer_operation
from sparsenas.networks.skeletons import SKELETONS
from sparsenas.spaces import (
    LAYER_TYPES,
    Candidate,
    DartsSpace,
    Genotype,
    NasBench201Space,
    NasBenchMacroSpace,
    ProxylessSpace,
    StageSpace,
    WeightSharing64Space,
)

DATA = os.environ.get("SPARSENAS_DATA")
NB201, WS64, MACRO = NasBench201Space(), WeightSharing64Space(), NasBenchMacroSpace()
SEARCH = NormOptions(affine=False, track=False, append="pools_and_skips")
EVERYWHERE = NormOptions(append="pools_and_skips")

ALL_CONV = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
MIXED = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|none~0|nor_conv_3x3~1|avg_pool_3x3~2|"
NOTHING = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"

#: Space, smallest images, sizes of a small network.
ROWS = [
    (DartsSpace(nodes=2), 8, {"channels": 4, "cells": 4, "stem": "small"}),
    (NB201, 8, {"channels": 4, "cells": 3}),
    (NB201, 4, {"channels": 4, "cells": 2}),
    (NB201, 2, {"channels": 4, "cells": 1}),
    (WS64, 2, {"channels": 4, "cells": 2}),
    (MACRO, 16, {"channels": 6, "cells": 8}),
    (ProxylessSpace(), 64, {"channels": 2, "cells": None}),
    (StageSpace(stages=2, layers=2, types=LAYER_TYPES, growths=[1.5]), 4, {"channels": 4, "cells": None}),
    (StageSpace(layers=2, stems=["conv_3x3/stride"], growths=[1.0], per="stage"), 16, {"channels": 4, "cells": 4}),
]
every_space = pytest.mark.parametrize(
    ("space", "side", "sizes"), ROWS, ids=[f"{space.name}-{sizes['cells']}" for space, _, sizes in ROWS]
)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def settle(network):
    """Give every batch-norm statistics, gammas of both signs and betas, as a trained network has them."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            if module.running_mean is not None:
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 1.5)
            if module.affine:
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
    return network.eval()


def signed_weights(space):
    weights = torch.randn(len(space.blocks), space.inputs_per_node, dtype=torch.float64)
    return weights.sign() * weights.abs().clamp_min(0.3)


def test_every_kind_of_skeleton_has_a_row():
    assert {type(SKELETONS[space.name]) for space, _, _ in ROWS} == {type(skeleton) for skeleton in SKELETONS.values()}


@every_space
@pytest.mark.parametrize("norms", [NormOptions(), SEARCH, EVERYWHERE], ids=["derived", "search", "everywhere"])
def test_restriction_is_the_derived_net(space, side, sizes, norms):
    rng = np.random.default_rng(0)
    for height, width in ((2 * side, 2 * side), (2 * side + 1, 2 * side + 3)):
        network = SuperNet(space, (3, height, width), 5, norms=norms, **sizes)
        support = space.sample_support(rng)
        derived = network.derive(space.genotype(support))
        for training in (True, True, False):
            images = torch.randn(4, 3, height, width)
            logits = network.train(training)(images, support)
            assert logits.shape == (4, 5)
            assert torch.isfinite(logits).all()
            assert torch.equal(logits, derived.train(training)(images))
        state = network.state_dict()
        assert all(torch.equal(tensor, state[name]) for name, tensor in derived.state_dict().items())


@every_space
def test_smallest_images(space, side, sizes):
    derived = DerivedNet(space.sample(np.random.default_rng(0)), (1, side, side), 3, **sizes)
    assert derived(torch.randn(2, 1, side, side)).shape == (2, 3)
    with pytest.raises(ConfigError, match=f"images are {side}x{side - 1}, .* at least {side}x{side}"):
        DerivedNet(space.sample(np.random.default_rng(0)), (1, side, side - 1), 3, **sizes)


@every_space
@pytest.mark.parametrize("with_weights", [True, False])
def test_candidate_gradients_equal_those_of_the_dense_network(space, side, sizes, with_weights):
    network = SuperNet(space, (1, side, side), 3, norms=SEARCH, **sizes).double()
    images = torch.randn(3, 1, side, side, dtype=torch.float64)
    support = space.sample_support(np.random.default_rng(1))
    weights = signed_weights(space) if with_weights else None

    def criterion(logits):
        return functional.cross_entropy(logits, torch.tensor([0, 1, 2]))

    loss, gradients = candidate_gradients(network, images, criterion, support, weights)
    codes = [torch.zeros(len(block), dtype=torch.float64) for block in space.blocks]
    for index, (code, kept) in enumerate(zip(codes, support, strict=True)):
        code[list(kept)] = 1.0 if weights is None else weights[index]
        code.requires_grad_()
    wirings = {}
    for cell in space.cell_types:
        rows = [(block, code) for block, code in zip(space.blocks, codes, strict=True) if block.cell == cell]
        scales = [scale for _, code in rows for scale in code.unbind()]
        wirings[cell] = wire([c for block, _ in rows for c in block.candidates], scales)
    dense = criterion(network.run(images, wirings)[0])
    torch.testing.assert_close(loss, dense.detach())
    for gradient, expected in zip(gradients, torch.autograd.grad(dense, codes), strict=True):
        size = max(1.0, float(expected.abs().max()))  # inner products are summed in single precision
        torch.testing.assert_close(gradient.double(), expected, rtol=1e-4, atol=1e-6 * size)


def test_gradients_where_nothing_arrives():
    network = SuperNet(NB201, (1, 8, 8), 3, channels=4, cells=3, norms=SEARCH)
    images, support = torch.randn(4, 1, 8, 8), NB201.support(NB201.from_string(NOTHING))
    loss, (gradient,) = candidate_gradients(network, images, lambda logits: logits.square().sum(), support, None)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()


@every_space
def test_folding(space, side, sizes):
    network = settle(SuperNet(space, (3, side, side), 5, norms=EVERYWHERE, **sizes)).double()
    support, weights = space.sample_support(np.random.default_rng(2)), signed_weights(space)
    images = torch.randn(4, 3, side, side, dtype=torch.float64)
    if space is MACRO:
        with pytest.raises(ConfigError, match="mb3_k3 on edge 1->2 does not end in a batch-norm"):
            check_foldable(network)
        return
    check_foldable(network)
    if network.skeleton.single_path:
        with pytest.raises(ConfigError, match=r"on edge 0->1 has the weight .*, but can be folded at 1 only"):
            fold(network, support, weights)
        weights = torch.ones_like(weights)
        assert torch.equal(fold(network, support, weights)(images), network(images, support, weights))
    torch.testing.assert_close(fold(network, support, weights)(images), network(images, support, weights))


@every_space
@pytest.mark.parametrize("norms", [NormOptions(), EVERYWHERE], ids=["derived", "everywhere"])
def test_fusing(space, side, sizes, norms):
    rng = np.random.default_rng(3)
    for _ in range(2):
        genotype = space.sample(rng)
        network = settle(DerivedNet(genotype, (3, side, side), 5, norms=norms, **sizes)).double()
        images = torch.randn(4, 3, side, side, dtype=torch.float64)
        fused = fuse(network)
        torch.testing.assert_close(fused(images), network(images), rtol=1e-7, atol=1e-7)
        blueprint = Blueprint.of(network, fused=True)
        rebuilt = blueprint.build().double()
        rebuilt.load_state_dict(fused.state_dict())
        assert torch.equal(rebuilt(images), fused(images))
        left = {name for name, module in fused.named_modules() if isinstance(module, nn.BatchNorm2d)}
        behind_pools = {f"{name}.norm" for name, module in network.named_modules() if _is_cheap(module)}
        assert left == behind_pools | ({"neck.0"} if space is NB201 else set())


def _is_cheap(module):
    body = getattr(module, "body", None)
    return isinstance(body, nn.MaxPool2d | nn.AvgPool2d | nn.Identity) and module.norm is not None


@every_space
@pytest.mark.parametrize("norms", [NormOptions(), SEARCH, EVERYWHERE], ids=["derived", "search", "everywhere"])
def test_costs_add_up(space, side, sizes, norms):
    image_shape = (3, side + 1, side)
    network = SuperNet(space, image_shape, 5, norms=norms, **sizes)
    costs = candidate_costs(network)
    rng = np.random.default_rng(4)
    for support in [space.sample_support(rng) for _ in range(2)]:
        found = describe(network.derive(space.genotype(support)), image_shape)
        kept = [(block, index) for block, indices in enumerate(support) for index in indices]
        assert found.parameters == costs.base_parameters + sum(costs.parameters[b][i] for b, i in kept)
        assert found.macs == costs.base_macs + sum(costs.macs[b][i] for b, i in kept)


# -- published networks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [ALL_CONV, MIXED, NOTHING])
def test_nasbench201_formulas_are_those_of_the_built_network(text):
    genotype = NB201.from_string(text)
    with torch.device("meta"):
        network = DerivedNet(genotype, (3, 32, 32), 10, channels=16, cells=15)
    assert count_parameters(network) == NB201.parameters(genotype)
    cheap = [64 * 9 * 9]  # the global pool
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda module, inputs, output: cheap.append(2 * output.numel()))
        elif isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda module, inputs, output: cheap.append(output.numel()))
        elif isinstance(module, nn.AvgPool2d):
            module.register_forward_hook(
                lambda module, inputs, output: cheap.append(output.numel() * module.kernel_size**2)
            )
    assert count_macs(network, (3, 32, 32)) + sum(cheap) == NB201.flops(genotype)


def test_nasbench201_stages():
    widths = {
        cells: [cell.out_channels for cell in SuperNet(NB201, (3, 16, 16), 10, channels=8, cells=cells).cells]
        for cells in (1, 2, 3, 6)
    }
    assert widths == {1: [8], 2: [8, 16], 3: [8, 16, 32], 6: [8, 8, 16, 16, 32, 32]}


def norm(state, prefix, x):
    mean, variance = state[f"{prefix}.running_mean"], state[f"{prefix}.running_var"]
    return functional.batch_norm(x, mean, variance, state[f"{prefix}.weight"], state[f"{prefix}.bias"])


def relu_conv_norm(state, conv, normed, x, stride=1):
    weight = state[f"{conv}.weight"]
    x = functional.conv2d(functional.relu(x), weight, None, stride, weight.shape[-1] // 2)
    return norm(state, normed, x)


def test_nasbench201_forward_as_the_paper_describes_it():
    genotype = NB201.from_string(MIXED)
    network = settle(DerivedNet(genotype, (3, 16, 16), 10, channels=4, cells=3)).double()
    state, images = network.state_dict(), torch.randn(2, 3, 16, 16, dtype=torch.float64)
    x = norm(state, "stem.first.1", functional.conv2d(images, state["stem.first.0.weight"], padding=1))
    for position in range(3):
        cell = f"cells.{position}"
        if position:
            block = f"{cell}.preprocess0"
            main = relu_conv_norm(state, f"{block}.main.1", f"{block}.main.2", x, stride=2)
            main = relu_conv_norm(state, f"{block}.main.4", f"{block}.main.5", main)
            x = main + functional.conv2d(functional.avg_pool2d(x, 2), state[f"{block}.shortcut.1.weight"])
        first = functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        key = f"{cell}.operations.0_2_nor_conv_1x1"
        second = relu_conv_norm(state, f"{key}.body.1", f"{key}.norm", x) + first
        key = f"{cell}.operations.1_3_nor_conv_3x3"
        pooled = functional.avg_pool2d(second, 3, 1, 1, count_include_pad=False)
        x = relu_conv_norm(state, f"{key}.body.1", f"{key}.norm", first) + pooled
    features = functional.relu(norm(state, "neck.0", x)).mean((2, 3))
    expected = functional.linear(features, state["classifier.weight"], state["classifier.bias"])
    torch.testing.assert_close(network(images), expected)


def test_weight_sharing64_network_by_hand():
    with torch.device("meta"):
        network = DerivedNet(WS64.from_string("124"), (3, 32, 32), 10, 16, 4, norms=NormOptions(False, append="pools"))
    convs = [tuple(m.weight.shape) for m in network.modules() if isinstance(m, nn.Conv2d)]
    # two of the stem; per cell the 1x1 before it, four of the separable convolution, two of the dilated one
    assert convs[:2] == [(48, 3, 3, 3), (48, 48, 3, 3)]
    cell = [(16, 1, 3, 3), (16, 16, 1, 1)] * 2 + [(16, 1, 5, 5), (16, 16, 1, 1)]
    assert convs[2:] == [(16, 48, 1, 1), *cell, *[(16, 32, 1, 1), *cell] * 3]
    assert network.classifier.in_features == 32
    norms = [m for m in network.cells[0].modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 1 + 1 + 2 + 1  # preprocessing, pool, separable, dilated
    assert not any(m.affine for m in norms)


@pytest.mark.skipif(DATA is None, reason="SPARSENAS_DATA names no folder with the published tables")
def test_nasbench_macro_counts_are_the_published_ones():
    with torch.device("meta"):
        network = SuperNet(MACRO, (3, 32, 32), 10, channels=32, cells=8, norms=NormOptions())
    costs = candidate_costs(network)
    with gzip.open(Path(DATA, "nasbench_macro.csv.gz"), "rt") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6_561
    for row in rows:
        kept = list(enumerate(map(int, row["arch"])))
        assert costs.base_parameters + sum(costs.parameters[b][i] for b, i in kept) == int(row["params"])
        assert costs.base_macs + sum(costs.macs[b][i] for b, i in kept) == int(row["flops"])


@pytest.mark.parametrize(("primitive", "expansion", "kernel"), [("mb3_k3", 3, 3), ("mb6_k5", 6, 5)])
@pytest.mark.parametrize(("stride", "width"), [(1, 6), (2, 12)])
def test_layers_of_nasbench_macro(primitive, expansion, kernel, stride, width):
    operation = layer_operation(primitive, 6, width, stride, NormOptions(affine=False))
    x = torch.randn(2, 6, 9, 8)
    convs = [m for m in operation.modules() if isinstance(m, nn.Conv2d)]
    wide = 6 * expansion
    assert [tuple(c.weight.shape) for c in convs] == [(wide, 6, 1, 1), (wide, 1, kernel, kernel), (width, wide, 1, 1)]
    y = x
    for conv, groups, step in zip(convs, (1, wide, 1), (1, stride, 1), strict=True):
        y = functional.conv2d(y, conv.weight, None, step, conv.weight.shape[-1] // 2, groups=groups)
        y = functional.batch_norm(y, None, None, training=True)
        y = y if conv is convs[-1] else functional.relu(y)
    torch.testing.assert_close(operation(x), y + x if stride == 1 else y)


def test_identity_layers_of_nasbench_macro():
    x = torch.randn(2, 6, 9, 8)
    assert torch.equal(layer_operation("identity", 6, 6, 1, NormOptions())(x), x)
    halving = layer_operation("identity", 6, 12, 2, NormOptions(affine=False))
    (conv,) = (m for m in halving.modules() if isinstance(m, nn.Conv2d))
    expected = functional.batch_norm(functional.conv2d(x, conv.weight, stride=2), None, None, training=True)
    torch.testing.assert_close(halving(x), expected)


# -- mistakes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "changes", "message"),
    [
        (NB201, {"stem": "small"}, "stem is 'small', but networks of this space have a stem of their own"),
        (WS64, {"stem": "imagenet"}, "stem is 'imagenet', but networks of this space"),
        (NB201, {"auxiliary": True}, "no auxiliary classifier: set auxiliary_weight 0"),
        (MACRO, {"auxiliary": True}, "no auxiliary classifier"),
        (MACRO, {"cells": 20}, "network.cells is 20; networks of this space have 8: set it to null"),
        (NB201, {"cells": 0}, "cells=0, num_classes=10: need at least"),
        (NB201, {"image_shape": (3, 7, 9)}, "images are 7x9, .* 2 reductions divide by 4 .* at least 8x8"),
        (MACRO, {"image_shape": (3, 15, 32)}, "3 reductions divide by 8 .* at least 16x16"),
    ],
)
def test_what_does_not_fit(space, changes, message):
    sizes = {"image_shape": (3, 16, 16), "num_classes": 10, "channels": 6, "cells": 8} | changes
    with pytest.raises(ConfigError, match=message):
        SuperNet(space, **sizes)
    with pytest.raises(ConfigError, match=message):
        DerivedNet(space.sample(np.random.default_rng(0)), **sizes)


def test_genotypes_that_are_no_network():
    with pytest.raises(ConfigError, match="no network is known for the space 'mine'; known are darts, nasbench201"):
        DerivedNet(Genotype.build("mine", {"normal": [Candidate(1, 0, "none")]}), (3, 16, 16), 10)
    with pytest.raises(GenotypeError, match="normal cell keeps 1 candidates; expected 6"):
        DerivedNet(Genotype.build("nasbench201", {"normal": [Candidate(1, 0, "none")]}), (3, 16, 16), 10)
    with pytest.raises(GenotypeError, match="with cells reduce; expected 'weight_sharing64' with normal"):
        DerivedNet(Genotype.build("weight_sharing64", {"reduce": [Candidate(1, 0, "none")]}), (3, 16, 16), 10)
    with pytest.raises(GenotypeError, match="chain cell, node 2 keeps 0 candidates"):
        DerivedNet(Genotype.build("nasbench_macro", {"chain": [Candidate(1, 0, "identity")]}), (3, 16, 16), 10)
