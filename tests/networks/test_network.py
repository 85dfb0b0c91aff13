"""Derived nets: published sizes, an independent forward pass, shapes, heads, drop-path, export, messages."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from sparsenas.errors import ConfigError, GenotypeError
from sparsenas.networks import DerivedNet, NormOptions, SuperNet, make_operation
from sparsenas.networks.cell import Cell, drop_path, wire
from sparsenas.networks.skeletons import reduction_positions
from sparsenas.spaces import PUBLISHED, Candidate, DartsSpace, Genotype

CIFAR = {"image_shape": (3, 32, 32), "num_classes": 10, "channels": 36, "cells": 20}
IMAGENET = {"image_shape": (3, 224, 224), "num_classes": 1000, "channels": 48, "cells": 14, "stem": "imagenet"}


def size(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "sizes", "norms", "published", "exact"),
    [
        ("ista_nas_two_stage", CIFAR, NormOptions(), 3.3167, 3_316_726),
        ("ista_nas_one_stage", CIFAR, NormOptions(), 3.3636, 3_363_598),
        ("ista_nas_one_stage", CIFAR, NormOptions(append="pools_and_skips"), 3.3718, 3_371_806),
        ("ista_nas_imagenet", IMAGENET, NormOptions(), 5.6514, 5_651_392),
        ("darts_v2", CIFAR, NormOptions(), 3.3493, 3_349_342),
    ],
)
def test_published_parameter_counts(name, sizes, norms, published, exact):
    with torch.device("meta"):
        network = DerivedNet(PUBLISHED[name], norms=norms, **sizes)
    assert size(network) == exact
    assert round(exact / 1e6, 4) == published


def norm(state, prefix, x):
    mean, variance = state[f"{prefix}.running_mean"], state[f"{prefix}.running_var"]
    return functional.batch_norm(x, mean, variance, state[f"{prefix}.weight"], state[f"{prefix}.bias"])


def halve(state, prefix, x):
    x = functional.relu(x)
    even, odd = state[f"{prefix}.even.weight"], state[f"{prefix}.odd.weight"]
    return torch.cat([functional.conv2d(x, even, stride=2), functional.conv2d(x[:, :, 1:, 1:], odd, stride=2)], 1)


def depthwise_separable(state, prefix, first, x, stride, dilation):
    depthwise, pointwise = (state[f"{prefix}.body.{i}.weight"] for i in (first, first + 1))
    padding = dilation * (depthwise.shape[-1] // 2)
    x = functional.conv2d(functional.relu(x), depthwise, None, stride, padding, dilation, len(depthwise))
    return functional.conv2d(x, pointwise)


def primitive(state, prefix, name, x, stride):
    match name.rsplit("_", 1)[0]:
        case "max_pool":
            return functional.max_pool2d(x, 3, stride, 1)
        case "avg_pool":
            return functional.avg_pool2d(x, 3, stride, 1, count_include_pad=False)
        case "skip":
            return x if stride == 1 else norm(state, f"{prefix}.norm", halve(state, f"{prefix}.body", x))
        case "dil_conv":
            return norm(state, f"{prefix}.norm", depthwise_separable(state, prefix, 1, x, stride, 2))
        case "sep_conv":
            x = norm(state, f"{prefix}.body.3", depthwise_separable(state, prefix, 1, x, stride, 1))
            return norm(state, f"{prefix}.norm", depthwise_separable(state, prefix, 5, x, 1, 1))
    raise AssertionError(name)


def darts_cell(state, prefix, genotype, cell, older, newer, older_is_larger):
    """A cell as the DARTS paper describes it."""
    relu_conv = [functional.conv2d(functional.relu(newer), state[f"{prefix}.preprocess1.1.weight"])]
    if older_is_larger:
        first = norm(state, f"{prefix}.preprocess0.1", halve(state, f"{prefix}.preprocess0.0", older))
    else:
        first = functional.conv2d(functional.relu(older), state[f"{prefix}.preprocess0.1.weight"])
        first = norm(state, f"{prefix}.preprocess0.2", first)
    nodes = [first, norm(state, f"{prefix}.preprocess1.2", relu_conv[0])]
    for node in range(2, 6):
        nodes.append(
            sum(
                primitive(
                    state, f"{prefix}.operations.{source}_{node}_{name}", name, nodes[source],
                    2 if cell == "reduce" and source < 2 else 1,
                )
                for target, source, name in genotype.cell(cell)
                if target == node
            )
        )  # fmt: skip
    return torch.cat(nodes[2:], 1)


@pytest.mark.parametrize("name", PUBLISHED)
def test_agrees_with_an_independent_forward_pass(name):
    genotype = PUBLISHED[name]
    network = DerivedNet(genotype, (3, 16, 16), 10, channels=4, cells=6)
    images = torch.randn(4, 3, 16, 16)
    network.train()(images)  # running statistics that are not 0 and 1
    state = network.state_dict()
    older = newer = norm(state, "stem.first.1", functional.conv2d(images, state["stem.first.0.weight"], padding=1))
    for position, cell in enumerate(["normal", "normal", "reduce", "normal", "reduce", "normal"]):
        out = darts_cell(state, f"cells.{position}", genotype, cell, older, newer, older.shape[2] > newer.shape[2])
        older, newer = newer, out
    pooled = functional.adaptive_avg_pool2d(newer, 1).flatten(1)
    expected = functional.linear(pooled, state["classifier.weight"], state["classifier.bias"])
    torch.testing.assert_close(network.eval()(images), expected, rtol=1e-4, atol=1e-5)


def test_reductions_stand_where_darts_has_them():
    assert reduction_positions(20) == {6, 13}
    assert reduction_positions(14) == {4, 9}
    assert reduction_positions(8) == {2, 5}
    assert [len(reduction_positions(cells)) for cells in (1, 2, 3, 4)] == [1, 2, 2, 2]


@pytest.mark.parametrize("cells", [1, 2, 3, 5])
@pytest.mark.parametrize(
    ("image_shape", "stem"),
    [
        ((1, 8, 8), "small"),
        ((1, 28, 28), "cifar"),
        ((2, 9, 15), "small"),
        ((3, 33, 32), "cifar"),
        ((3, 65, 64), "imagenet"),
    ],
)
def test_shapes(image_shape, stem, cells):
    network = DerivedNet(PUBLISHED["darts_v2"], image_shape, 7, channels=4, cells=cells, stem=stem, auxiliary=True)
    images = torch.randn(2, *image_shape)
    assert network(images).shape == (2, 7)
    logits, auxiliary = network.forward_auxiliary(images)
    assert logits.shape == auxiliary.shape == (2, 7)
    logits, auxiliary = network.eval().forward_auxiliary(images)
    assert auxiliary is None
    assert torch.equal(network(images), logits)


def test_auxiliary_head_has_the_published_parameters():
    sizes = {"image_shape": (3, 32, 32), "num_classes": 10, "channels": 4, "cells": 6}
    plain = DerivedNet(PUBLISHED["darts_v2"], **sizes)
    with_head = DerivedNet(PUBLISHED["darts_v2"], auxiliary=True, **sizes)
    width = 4 * 4 * 4  # four nodes, channels doubled twice
    head = width * 128 + 2 * 128 + 128 * 768 * 4 + 2 * 768 + 768 * 10 + 10
    assert size(with_head) - size(plain) == head
    assert with_head.forward_auxiliary(torch.randn(2, 3, 32, 32))[1].requires_grad


def test_drop_path_zeroes_whole_samples_and_keeps_the_mean():
    torch.manual_seed(0)
    x = torch.rand(4000, 2, 3, 3) + 0.1
    y = drop_path(x, 0.3)
    kept = y.flatten(1).abs().sum(1) > 0
    torch.testing.assert_close(y[kept], x[kept] / 0.7)
    assert not y[~kept].any()
    assert kept.double().mean() == pytest.approx(0.7, abs=4 * (0.3 * 0.7 / 4000) ** 0.5)
    torch.testing.assert_close(y.mean(0), x.mean(0), rtol=0.1, atol=0)


@pytest.mark.parametrize(
    ("name", "reduction", "append", "dropped"),
    [
        ("skip_connect", False, "pools", False),
        ("skip_connect", False, "pools_and_skips", True),
        ("skip_connect", True, "pools", True),
        ("avg_pool_3x3", False, "none", True),
        ("sep_conv_3x3", False, "none", True),
    ],
)
def test_drop_path_spares_bare_identities(name, reduction, append, dropped):
    candidates = [Candidate(2, 0, name), Candidate(2, 1, name)]
    operations = {c: make_operation(name, 4, 2 if reduction else 1, NormOptions(append=append)) for c in candidates}
    cell = Cell([nn.Identity(), nn.Identity()], operations, 4, concatenates=True)
    x = torch.randn(64, 4, 4, 4)
    without = cell((x, x), wire(candidates))[2]
    with_drops = cell((x, x), wire(candidates), 0.5)[2]
    assert torch.equal(without, with_drops) is not dropped


def test_drop_path_acts_in_training_mode_only():
    network = DerivedNet(PUBLISHED["darts_v2"], (1, 8, 8), 3, channels=4, cells=3)
    images = torch.randn(4, 1, 8, 8)
    network.drop_path = 0.5
    assert not torch.equal(network(images), network(images))
    assert torch.equal(network.eval()(images), network(images))


@pytest.mark.slow  # the exporter alone takes several seconds
def test_export():
    network = DerivedNet(PUBLISHED["ista_nas_two_stage"], (1, 8, 8), 10, channels=4, cells=3, stem="small").eval()
    images = torch.randn(3, 1, 8, 8)
    with torch.no_grad():
        program = torch.export.export(network, (images,), strict=False)
        torch.testing.assert_close(program.module()(images), network(images), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"image_shape": (1, 7, 9)},
            r"images are 7x9, but the small stem and 2 reductions divide by 4 .* at least 8x8",
        ),
        ({"image_shape": (3, 32, 32), "stem": "imagenet"}, "divide by 32 .* at least 64x64, or the stem"),
        ({"image_shape": (3, 3, 3), "cells": 1}, "1 reductions divide by 2 .* at least 4x4"),
        ({"channels": 1}, "channels=1, cells=3, num_classes=10: need at least 2 channels"),
        ({"cells": 0}, "cells=0"),
        ({"num_classes": 1}, "num_classes=1"),
        ({"stem": "cifar10"}, "stem is 'cifar10'; known are cifar, small, imagenet"),
    ],
)
def test_impossible_sizes(changes, message):
    sizes = {"image_shape": (1, 8, 8), "num_classes": 10, "channels": 4, "cells": 3, "stem": "small", **changes}
    with pytest.raises(ConfigError, match=message):
        DerivedNet(PUBLISHED["darts_v2"], **sizes)
    with pytest.raises(ConfigError, match=message):
        SuperNet(DartsSpace(nodes=1, primitives=("skip_connect",)), **sizes)


def test_impossible_genotypes():
    cell = [Candidate(2, 0, "skip_connect"), Candidate(4, 1, "skip_connect")]
    with pytest.raises(GenotypeError, match=r"the normal cell computes nodes \[2, 4\]; .* without gaps"):
        DerivedNet(Genotype.build("darts", {"normal": cell, "reduce": cell}), (1, 8, 8), 10)
    with pytest.raises(GenotypeError, match="no cell 'reduce'; it has normal"):
        DerivedNet(Genotype.build("darts", {"normal": cell}), (1, 8, 8), 10)
    cell = [Candidate(2, 0, "skip"), Candidate(2, 1, "skip")]
    with pytest.raises(ConfigError, match="unknown primitive 'skip'; known are"):
        DerivedNet(Genotype.build("darts", {"normal": cell, "reduce": cell}), (1, 8, 8), 10)


def test_stems_agree_on_the_number_of_channels():
    for stem, width in (("cifar", 12), ("small", 4), ("imagenet", 4)):
        network = DerivedNet(PUBLISHED["darts_v2"], (3, 64, 64), 10, channels=4, cells=3, stem=stem)
        older, newer = network.stem(torch.randn(2, 3, 64, 64))
        assert (older.shape[1], newer.shape[1]) == network.stem.out_channels == (width, width)
        assert newer.shape[2] * network.stem.downscale == 64
        assert isinstance(network.stem.second, nn.Module) == (stem == "imagenet")
