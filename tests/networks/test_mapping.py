"""Mapped super-nets: which weights run, that a derived net computes the same, and what stays as it was."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from sparsenas.complexity import candidate_costs, count_parameters
from sparsenas.errors import ConfigError
from sparsenas.networks import NormOptions, SuperNet, WeightMapping, candidate_gradients, check_foldable, fold
from sparsenas.networks import cell as cell_module
from sparsenas.networks.cell import candidate_key, ramped_drop_path
from sparsenas.networks.mapping import CentreKernel
from sparsenas.spaces import DartsSpace, NasBench201Space, NasBenchMacroSpace, WeightSharing64Space

NB201, WS64, MACRO = NasBench201Space(), WeightSharing64Space(), NasBenchMacroSpace()
DARTS = DartsSpace(nodes=3, primitives=("avg_pool_3x3", "skip_connect", "sep_conv_3x3"))
SIZES = {
    "nasbench201": {"channels": 4, "cells": 3},
    "weight_sharing64": {"channels": 4, "cells": 2},
    "darts": {"channels": 4, "cells": 3, "stem": "small"},
    "nasbench_macro": {"channels": 6, "cells": 8},
}
TRACKING = NormOptions(append="pools_and_skips")

SETS, CENTRE, MATRIX = (
    WeightMapping(norm_sets="inputs"),
    WeightMapping(kernels="centre"),
    WeightMapping(kernels="matrix"),
)
NODE = WeightMapping(operations="node")
EVERYTHING = WeightMapping("node", "matrix", "inputs")
#: Mappings from which networks can be derived.
DERIVABLE = {
    "sets": (NB201, SETS),
    "sets-64": (WS64, SETS),
    "sets-darts": (DARTS, SETS),
    "centre": (NB201, CENTRE),
    "matrix": (NB201, MATRIX),
    "sets-matrix": (NB201, WeightMapping(kernels="matrix", norm_sets="inputs")),
}
MAPPINGS = DERIVABLE | {
    "node": (NB201, NODE),
    "node-64": (WS64, NODE),
    "everything": (NB201, EVERYTHING),
}

MIXED = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|none~0|nor_conv_3x3~1|avg_pool_3x3~2|"
NOTHING = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
ALL_CONV = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
#: Linear operations only, which may be swapped with sums.
LINEAR = "|avg_pool_3x3~0|+|skip_connect~0|skip_connect~1|+|avg_pool_3x3~0|avg_pool_3x3~1|none~2|"


def make(space, mapping=None, norms=TRACKING, side=8):
    torch.manual_seed(0)
    options = {} if mapping is None else {"mapping": mapping}
    return SuperNet(space, (1, side, side), 5, norms=norms, **SIZES[space.name], **options)


def unsettle(network):
    """Random kernels, matrices, gammas and betas, and running statistics."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 1.5)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
        if isinstance(module, CentreKernel) and module.matrix is not None:
            nn.init.normal_(module.matrix)
    return network


def support_of(text):
    return NB201.support(NB201.from_string(text))


every_mapping = pytest.mark.parametrize(("space", "mapping"), MAPPINGS.values(), ids=MAPPINGS)


@pytest.mark.parametrize(("space", "mapping"), DERIVABLE.values(), ids=DERIVABLE)
def test_restriction_is_the_derived_net(space, mapping, rng):
    network = unsettle(make(space, mapping))
    supports = [space.sample_support(rng) for _ in range(3)]
    if space is NB201:
        supports += [support_of(MIXED), support_of(NOTHING)]
    for support in supports:
        derived = network.derive(space.genotype(support))
        for training in (False, True, False):
            images = torch.randn(4, 1, 8, 8)
            logits = network.train(training)(images, support)
            torch.testing.assert_close(derived.train(training)(images), logits)


@pytest.mark.parametrize("mapping", [SETS, CENTRE, MATRIX])
def test_weights_can_be_folded(mapping, rng):
    network = unsettle(make(NB201, mapping)).eval()
    support, weights, images = support_of(ALL_CONV), torch.randn(1, 6), torch.randn(4, 1, 8, 8)
    torch.testing.assert_close(fold(network, support, weights)(images), network(images, support, weights))
    with pytest.raises(ConfigError, match="does not end in a batch-norm"):
        check_foldable(make(NB201, mapping, NormOptions()))


@every_mapping
def test_a_step_touches_what_ran_and_nothing_else(space, mapping, rng):
    network = make(space, mapping, NormOptions(append="pools_and_skips"))
    for _ in range(2):
        support = space.sample_support(rng)
        before = copy.deepcopy(network.state_dict())
        network.zero_grad()
        network(torch.randn(4, 1, 8, 8), support).square().sum().backward()
        moved = {p for p in network.parameters() if p.grad is not None}
        active = network.active_parameters(support)
        assert len(set(active)) == len(active)
        idle = {p for p in active if p not in moved}  # batch-norms of other input configurations only
        assert moved <= set(active)
        assert all(p.ndim == 1 for p in idle)
        assert not idle or mapping.norm_sets == "inputs"
        wired = network.wirings(support)
        ran = {
            (str(position), term.key)
            for position, cell_type in enumerate(network.cell_types)
            for node in wired[cell_type]
            for term in node
        }
        for name, buffer in network.named_buffers():
            if ".operations." in name and name.endswith(".norm.num_batches_tracked"):
                _, position, _, key, _ = name.split(".", 4)
                assert torch.equal(buffer, before[name]) == ((position, key) not in ran), name


@every_mapping
def test_costs_are_those_of_networks_of_their_own(space, mapping, rng):
    network = make(space, mapping)
    state = torch.get_rng_state()
    costs = candidate_costs(network)
    assert torch.equal(torch.get_rng_state(), state)
    assert costs == candidate_costs(make(space))
    support = space.sample_support(rng)
    kept = sum(row[i] for row, indices in zip(costs.parameters, support, strict=True) for i in indices)
    assert count_parameters(network.untrained(space.genotype(support))) == costs.base_parameters + kept


def test_the_default_changes_nothing():
    network, plain = make(NB201, WeightMapping(dropout=0.5)), make(NB201)
    assert network.state_dict().keys() == plain.state_dict().keys()
    assert network.mapping.plain
    assert network.unshared() is network
    support = plain.space.sample_support(np.random.default_rng(0))
    assert network.wirings(support) == plain.wirings(support)
    assert network.mapping.keys(NB201.blocks[0].candidates) == [candidate_key(c) for c in NB201.blocks[0].candidates]


# --- batch-norm per input configuration


def test_sets_follow_what_feeds_the_node_that_is_read():
    keys = SETS.keys(NB201.from_string(MIXED).cell("normal"))
    sets = {key.partition("_nor")[0].partition("_avg")[0][:3]: key.partition("@")[2] for key in keys}
    # node 1 is fed by node 0, node 2 by nodes 0 and 1; the cell's input by nothing
    assert sets == {"0_1": "0", "0_2": "0", "0_3": "0", "1_2": "1", "1_3": "1", "2_3": "3"}
    assert {key.partition("@")[2] for key in SETS.keys(NB201.from_string(NOTHING).cell("normal"))} == {"0"}


def test_sets_of_operations_on_nodes_follow_the_sources_they_sum():
    mapping = WeightMapping("node", norm_sets="inputs")
    keys = mapping.keys(NB201.from_string(ALL_CONV).cell("normal"))
    assert keys == ["1_nor_conv_3x3@1", *["2_nor_conv_3x3@3"] * 2, *["3_nor_conv_3x3@7"] * 3]
    keys = mapping.keys(NB201.from_string(MIXED).cell("normal"))
    assert keys[-3:] == ["3_none@1", "3_nor_conv_3x3@2", "3_avg_pool_3x3@4"]


def test_number_of_sets():
    """Node ``i`` has ``i`` predecessors: ``2^i`` sets with the empty one, and ``2^i - 1`` as in the publication."""
    held = NB201.blocks[0].candidates
    on_edge, on_node = SETS, WeightMapping("node", norm_sets="inputs")
    for candidate in held:
        assert len(on_edge.possible_keys(candidate, held)) == 2**candidate.source
    for target in (1, 2, 3):
        keys = {k for c in held if c.target == target for k in on_node.possible_keys(c, held) if "conv_3x3" in k}
        assert len(keys) == 2**target - 1


@pytest.mark.parametrize(("space", "mapping"), [(NB201, SETS), (DARTS, SETS), (WS64, SETS), (NB201, EVERYTHING)])
def test_every_path_finds_its_operations(space, mapping, rng):
    network = make(space, mapping)
    held = {cell: [c for b in space.blocks if b.cell == cell for c in b.candidates] for cell in space.cell_types}
    for _ in range(50):
        genotype = space.sample(rng)
        for cell_type, cell in network.typed_cells():
            kept = genotype.cell(cell_type)
            for candidate, key in zip(kept, mapping.keys(kept), strict=True):
                assert key in cell.operations
                assert key in mapping.possible_keys(candidate, held[cell_type])


def test_equal_sets_are_one_batch_norm(rng):
    """Before anything is learned the sets are alike, so the super-net computes what it does with one set."""
    sets, one = make(NB201, SETS), make(NB201)
    for _ in range(3):
        support, images = NB201.sample_support(rng), torch.randn(4, 1, 8, 8)
        assert torch.equal(sets(images, support), one(images, support))


# --- kernels


@pytest.mark.parametrize("size", [1, 3])
def test_a_centre_kernel_is_a_convolution_with_the_transformed_centre(size):
    larger = nn.Conv2d(3, 4, 5, padding=2, bias=False)
    kernel, x = CentreKernel(larger, size, matrix=True), torch.randn(2, 3, 7, 6)
    assert kernel.matrix.shape == (size**2, size**2)
    edge = (5 - size) // 2
    centre = larger.weight[:, :, edge : 5 - edge, edge : 5 - edge]
    assert torch.equal(kernel.weight, centre)  # the identity at first
    torch.testing.assert_close(kernel(x), functional.conv2d(x, centre, padding=size // 2))
    nn.init.normal_(kernel.matrix)
    expected = torch.einsum("kl,oil->oik", kernel.matrix, centre.flatten(2)).view_as(centre)
    torch.testing.assert_close(kernel(x), functional.conv2d(x, expected, padding=size // 2))


@pytest.mark.parametrize("mapping", [CENTRE, MATRIX], ids=["centre", "matrix"])
def test_kernels_of_an_edge_are_one_parameter(mapping):
    network, plain = make(NB201, mapping), make(NB201)
    small, large = "|nor_conv_1x1~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|", None
    large = small.replace("1x1", "3x3")
    network(torch.randn(4, 1, 8, 8), support_of(small)).square().sum().backward()
    operation = network.cells[0].operations["0_1_nor_conv_3x3"]
    gradient = operation.body[1].weight.grad
    assert gradient[:, :, 1, 1].abs().min() > 0
    gradient[:, :, 1, 1] = 0
    assert not gradient.any()  # only the centre ran
    shared = set(network.active_parameters(support_of(small))) & set(network.active_parameters(support_of(large)))
    assert operation.body[1].weight in shared
    fewer = sum(6 * width**2 - 6 * (mapping is MATRIX) for width in (4, 8, 16))
    assert count_parameters(network) == count_parameters(plain) - fewer


# --- operations on nodes


def test_an_operation_on_a_node_runs_once_on_the_sum():
    network = make(NB201, NODE).eval()
    cell, x = network.cells[0], torch.randn(2, 4, 8, 8)
    assert len(cell.operations) == 3 * 5
    nodes = cell((x,), network.wirings(support_of(ALL_CONV))["normal"])
    for target in (1, 2, 3):
        expected = cell.operations[f"{target}_nor_conv_3x3"](sum(nodes[:target]))
        torch.testing.assert_close(nodes[target], expected)


def test_linear_operations_do_not_care_where_they_are():
    norms = NormOptions()  # none after pools and skips
    node, edge = make(NB201, NODE, norms), make(NB201, None, norms)
    own = edge.state_dict()
    node.load_state_dict({name: own.get(name, tensor) for name, tensor in node.state_dict().items()})
    images, support = torch.randn(4, 1, 8, 8), support_of(LINEAR)
    torch.testing.assert_close(node(images, support), edge(images, support))
    other = support_of(ALL_CONV)
    assert not torch.allclose(node(images, other), edge(images, other))


# --- dropping


def test_global_dropout_drops_pooled_features():
    network = make(NB201, WeightMapping(dropout=0.25))
    network.neck, network.classifier = None, nn.Identity()
    features = torch.rand(400, 16, 4, 4) + 1
    pooled = features.mean(dim=(2, 3))
    dropped = network.train().classify(features)
    gone = dropped == 0
    assert gone.float().mean() == pytest.approx(0.25, abs=0.02)
    torch.testing.assert_close(dropped[~gone], pooled[~gone] / 0.75)
    assert torch.equal(network.eval().classify(features), pooled)


def test_drop_path_ramps_with_depth_and_time():
    keep, cells, steps = 0.6, 5, 7
    for t in range(steps):
        rates = ramped_drop_path(1 - keep, cells, (t + 1) / steps)
        expected = [1 - ((depth + 1) / cells) * ((t + 1) / steps) * (1 - keep) for depth in range(cells)]
        assert [1 - rate for rate in rates] == pytest.approx(expected)
    assert ramped_drop_path(1 - keep, cells, 1.0)[-1] == pytest.approx(1 - keep)


@pytest.mark.parametrize("mapping", [WeightMapping(), NODE], ids=["edge", "node"])
def test_every_cell_drops_at_its_own_rate(mapping, monkeypatch):
    network, asked = make(NB201, mapping, NormOptions()), []
    monkeypatch.setattr(cell_module, "drop_path", lambda x, probability: asked.append(probability) or x)
    text = "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|none~0|nor_conv_1x1~1|nor_conv_1x1~2|"
    network.run(torch.randn(2, 1, 8, 8), network.wirings(support_of(text)), (0.1, 0.0, 0.3))
    dropped = 4 if mapping is NODE else 5  # the two 1x1 are one operation on a node; the bare skip is never dropped
    assert asked == [0.1] * dropped + [0.3] * dropped


def test_dropped_samples_are_rescaled():
    torch.manual_seed(0)
    y = cell_module.drop_path(torch.ones(2000, 3, 2, 2), 0.2)
    kept = y[:, 0, 0, 0] != 0
    assert torch.equal(y[kept], torch.full_like(y[kept], 1 / 0.8))
    assert not y[~kept].any()
    assert kept.float().mean() == pytest.approx(0.8, abs=0.03)


# --- mistakes


@pytest.mark.parametrize(
    ("space", "mapping", "norms", "message"),
    [
        (DARTS, NODE, TRACKING, "mapping.operations is node, but that needs cells .* stride 1"),
        (MACRO, NODE, TRACKING, "mapping.operations is node"),
        (DARTS, CENTRE, TRACKING, "mapping.kernels is centre, which joins nor_conv_1x1 to nor_conv_3x3"),
        (WS64, MATRIX, TRACKING, "mapping.kernels is matrix"),
        (MACRO, SETS, TRACKING, "mapping.norm_sets is inputs, but every layer .* one input configuration"),
        (NB201, SETS, NormOptions(affine=False, track=False), "neither learn nor track"),
    ],
)
def test_mappings_that_do_not_fit(space, mapping, norms, message):
    with pytest.raises(ConfigError, match=message):
        make(space, mapping, norms, side=16)


def test_what_mapped_networks_cannot_do(rng):
    network = make(NB201, NODE)
    with pytest.raises(ConfigError, match="sums of sources, a derived net to each source"):
        network.derive(NB201.sample(rng))
    with pytest.raises(ConfigError, match="architecture weights belong to edges"):
        network.wirings(support_of(MIXED), torch.ones(1, 6))
    for mapping in (NODE, SETS, CENTRE):
        with pytest.raises(ConfigError, match="gradients of all candidates need operations of their own"):
            candidate_gradients(make(NB201, mapping), torch.randn(2, 1, 8, 8), torch.sum, support_of(MIXED), None)
    with pytest.raises(ConfigError, match="partial_channels is 2; use 1, or the default mapping"):
        SuperNet(NB201, (1, 8, 8), 5, channels=4, cells=3, partial=2, mapping=CENTRE)
    with pytest.raises(ConfigError, match=r"mapping.dropout is 1.0; a probability below 1"):
        WeightMapping(dropout=1.0)
