"""Networks of ProxylessNAS: published sizes, widths, and the forward pass written out by hand."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from sparsenas.complexity import describe
from sparsenas.limits import Limits
from sparsenas.networks import DerivedNet
from sparsenas.networks.skeletons.proxyless import scale_widths
from sparsenas.spaces import PROXYLESS_NETWORKS, ProxylessSpace
from sparsenas.spaces.proxyless import PROXYLESS_WIDTHS


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("name", "parameters", "macs", "published"),
    [
        ("mobile", 4_080_512, 320_427_584, 332.46),
        ("mobile_14", 6_857_568, 580_883_408, 597.10),
        ("cpu", 4_361_648, 439_243_864, 459.96),
        ("gpu", 7_119_848, 465_260_160, 476.08),
    ],
)
def test_published_sizes(name, parameters, macs, published):
    """The authors give 320 M MACs (mobile) and 581 M (mobile 1.4). Parameters and millions of the table: pytorchcv.

    Its millions are half of: two per MAC, less one per pair of channels that a convolution links; four per element of
    a batch-norm; one per element of an activation.
    """
    with torch.device("meta"):
        network = DerivedNet(
            PROXYLESS_NETWORKS[f"proxyless_{name}"], (3, 224, 224), 1000, PROXYLESS_WIDTHS[name].stem, None
        )
    others = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            others.append(-module.weight.shape[0] * module.weight.shape[1])
        elif isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda module, inputs, output: others.append(4 * output.numel()))
        elif isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda module, inputs, output: others.append(output.numel()))
    found = describe(network, (3, 224, 224))
    assert (found.parameters, found.macs) == (parameters, macs)
    assert (macs + sum(others) / 2) / 1e6 == pytest.approx(published, rel=1e-3)


@pytest.mark.parametrize("name", PROXYLESS_WIDTHS)
def test_widths_scale_in_proportion_and_on_the_grid(name):
    published = PROXYLESS_WIDTHS[name]
    assert scale_widths(published, published.stem) == published
    bases = np.arange(2, 100, 2)
    rows = [scale_widths(published, int(channels)) for channels in bases]
    widths = np.array([(row.first_block, *row.stages, row.last_convolution) for row in rows])
    exact = np.outer(bases, [published.first_block, *published.stages, published.last_convolution]) / published.stem
    assert (widths % 8 == 0).all()
    assert (widths >= 0.9 * exact).all()
    assert (widths - exact <= 8).all()
    assert (np.diff(widths, axis=0) >= 0).all()
    assert [row.stem for row in rows] == bases.tolist()


@pytest.mark.parametrize(("name", "multiplier"), [("cpu", 1.12), ("gpu", 1.35)])
def test_two_networks_have_multiples_of_the_widths_of_the_search(name, multiplier):
    """The same rounding, from a hundred times the widths, so that the multiplier is a whole number of channels."""
    search = PROXYLESS_WIDTHS["search"]
    scaled = scale_widths(search._replace(stem=100), round(100 * multiplier))
    assert scaled._replace(stem=0) == PROXYLESS_WIDTHS[name]._replace(stem=0)


@torch.no_grad()
def test_forward_by_hand():
    genotype = ProxylessSpace().sample(np.random.default_rng(1))
    network = DerivedNet(genotype, (3, 64, 70), 5, channels=2, cells=None).eval().double()
    images = torch.randn(2, 3, 64, 70, dtype=torch.float64)
    convolutions = iter([module.weight for module in network.modules() if isinstance(module, nn.Conv2d)])
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    norms = iter([module for module in network.modules() if isinstance(module, nn.BatchNorm2d)])

    def conv(x, stride=1, groups=1, relu=True):
        weight, norm = next(convolutions), next(norms)
        x = functional.conv2d(x, weight, None, stride, weight.shape[-1] // 2, groups=groups)
        x = functional.batch_norm(x, norm.running_mean, norm.running_var)
        return (functional.relu(x) if relu else x), weight.shape[-1]

    x, _ = conv(images, stride=2)
    x, kernel = conv(x, groups=2)
    assert (kernel, x.shape[2:]) == (3, (32, 35))
    x, _ = conv(x, relu=False)
    for layer, (_, _, primitive) in enumerate(genotype.cell("chain")):
        if primitive == "skip":
            continue
        wide, _ = conv(x)
        assert wide.shape[1] == x.shape[1] * int(primitive[-1])
        wide, kernel = conv(wide, stride=2 if layer in (0, 4, 8, 16) else 1, groups=wide.shape[1])
        assert primitive == f"mbconv_k{kernel}_e{primitive[-1]}"
        narrow, _ = conv(wide, relu=False)
        x = narrow + x if narrow.shape == x.shape else narrow
    features = conv(x)[0].mean((2, 3))
    assert next(convolutions, None) is None
    expected = functional.linear(features, network.classifier.weight, network.classifier.bias)
    torch.testing.assert_close(network(images), expected)


@pytest.mark.slow
def test_a_width_fills_a_budget():
    genotype, shape = PROXYLESS_NETWORKS["proxyless_gpu"], (3, 64, 64)
    with torch.device("meta"):
        cost = describe(DerivedNet(genotype, shape, 10, channels=4, cells=None), shape)
        assert Limits(max_params=cost.parameters, max_macs=cost.macs).fill(genotype, shape, 10) == 4
