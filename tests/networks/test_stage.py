"""Networks of stages: published sizes, costs by formula, layers written out by hand."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from sparsenas.complexity import describe
from sparsenas.errors import ConfigError
from sparsenas.networks import DerivedNet, NormOptions, SuperNet, stage_cost
from sparsenas.networks.layers import make_layer
from sparsenas.networks.skeletons.stage import widen
from sparsenas.spaces import LAYER_TYPES, REFERENCES, StageSpace
from sparsenas.spaces.stage import ALL_TYPES, Layer, stage_genotype


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("name", "shape", "classes", "parameters", "macs"),
    [
        # 78,666 in the code of MLPerf Tiny, which counts 336 biases and 480 running statistics
        ("resnet8", (3, 32, 32), 10, 78_666 - 336 - 480, 12_501_632),
        # .27 M: 269,722 without projections; two of them here
        ("resnet20", (3, 32, 32), 10, 269_722 + 16 * 32 + 32 * 64, 40_813_184),
        ("mobilenet_v1", (3, 224, 224), 1000, 4_231_976, 568_740_352),
    ],
)
def test_published_sizes(name, shape, classes, parameters, macs):
    reference = REFERENCES[name]
    assert stage_cost(reference.genotype, shape, classes, reference.channels) == (parameters, macs)


@pytest.mark.slow
def test_costs_are_those_of_the_built_network():
    rng = np.random.default_rng(0)
    spaces = [
        StageSpace(layers=4, types=ALL_TYPES, growths=[0.5, 1.0, 1.25, 2.0], stems=["conv_3x3", "conv_3x3/stride"]),
        StageSpace(layers=3, types=ALL_TYPES, per="stage"),
    ]
    for case in range(30):
        genotype = spaces[case % 2].sample(rng)
        shape = (int(rng.integers(1, 5)), int(rng.integers(16, 40)), int(rng.integers(16, 40)))
        channels, classes = 2 * int(rng.integers(1, 6)), int(rng.integers(2, 12))
        network = DerivedNet(genotype, shape, classes, channels, cells=None)
        found = describe(network, shape)
        assert stage_cost(genotype, shape, classes, channels) == (found.parameters, found.macs)


def test_widths_lie_on_the_grid_and_grow_with_the_base():
    assert widen(10, (1.0, 1.5, 2.0)) == (10, 16, 30)  # 15 is rounded up, 30 follows from 15
    rng = np.random.default_rng(0)
    for growths in rng.choice([0.25, 0.5, 1.25, 2, 4], size=(50, 4)).tolist():
        rows = np.array([widen(base, tuple(growths)) for base in range(2, 60, 2)])
        assert (rows % 2 == 0).all()
        assert (rows > 0).all()
        assert (np.diff(rows, axis=0) >= 0).all()


def by_hand(layer):
    """Kernels of a layer in their order, and functions to compute it with."""
    weights = [p for p in layer.parameters() if p.dim() == 4]

    def conv(x, weight, stride=1):
        groups = x.shape[1] // weight.shape[1]
        return functional.conv2d(x, weight, None, stride, weight.shape[-1] // 2, groups=groups)

    def norm(x):
        return functional.batch_norm(x, None, None, training=True)

    return weights, conv, norm


@pytest.mark.parametrize("down", [None, "stride", "max_pool"])
def test_basic_residual_layer(down):
    layer = make_layer(Layer("residual_3x3", down), 4, 6, NormOptions(affine=False))
    x = torch.randn(2, 4, 9, 8)
    (first, second, projection), conv, norm = by_hand(layer)
    stride = 2 if down == "stride" else 1
    start = functional.max_pool2d(x, 2, ceil_mode=True) if down == "max_pool" else x
    main = norm(conv(functional.relu(norm(conv(start, first, stride))), second))
    expected = functional.relu(main + conv(start[:, :, ::stride, ::stride], projection))
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("down", [None, "stride", "max_pool"])
def test_mobile_convolution(down):
    layer = make_layer(Layer("mbconv_k5_e3", down), 4, 4, NormOptions(affine=False))
    x = torch.randn(2, 4, 9, 8)
    (expand, depthwise, project), conv, norm = by_hand(layer)
    assert (tuple(expand.shape), tuple(depthwise.shape)) == ((12, 4, 1, 1), (12, 1, 5, 5))
    wide = functional.relu(norm(conv(x, expand)))
    wide = functional.max_pool2d(wide, 2, ceil_mode=True) if down == "max_pool" else wide
    narrow = norm(conv(functional.relu(norm(conv(wide, depthwise, 2 if down == "stride" else 1))), project))
    torch.testing.assert_close(layer(x), narrow if down else narrow + x)


def test_squeeze_excitation_scales_channels():
    layer = make_layer(Layer("mbconv_k3_e3_se"), 8, 8, NormOptions())
    (gate,) = [m for m in layer.modules() if type(m).__name__ == "SqueezeExcitation"]
    x = torch.randn(2, 24, 5, 5)
    pooled = x.mean((2, 3))
    first, second = gate.gate[0], gate.gate[2]
    hidden = functional.relu(functional.linear(pooled, first.weight[:, :, 0, 0], first.bias))
    scale = functional.linear(hidden, second.weight[:, :, 0, 0], second.bias).sigmoid()
    torch.testing.assert_close(gate(x), x * scale[:, :, None, None])
    assert first.out_channels == 2  # a quarter of the block's input


@pytest.mark.parametrize("factor", [1.0, -0.5])
def test_architecture_weights_multiply_what_a_layer_gives(factor):
    """At a weight of 1 by a way of its own: values and gradients are those of the product."""
    layer = make_layer(Layer("residual_3x3"), 4, 4, NormOptions(affine=False)).double()
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    scale = torch.tensor(factor, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    found = torch.autograd.grad((layer(x, scale) * weights).sum(), [x, scale])
    expected = torch.autograd.grad((layer(x) * scale * weights).sum(), [x, scale])
    torch.testing.assert_close(found, expected)
    assert torch.equal(layer(x, scale), layer(x) * scale)


@pytest.mark.parametrize("type", ALL_TYPES)
@pytest.mark.parametrize("down", [None, "stride", "max_pool"])
def test_every_layer_halves_alike(type, down):
    for side in (6, 7):
        y = make_layer(Layer(type, down, 2), 4, 6, NormOptions())(torch.randn(2, 4, side, side + 1))
        halved = [-(-length // 2) if down else length for length in (side, side + 1)]
        assert list(y.shape) == [2, 6, *halved]


def test_a_super_net_has_one_width_and_one_resolution():
    for options in ({"growths": [1.0, 2.0]}, {"growths": [1.0], "stems": ["conv_3x3", "conv_3x3/stride"]}):
        with pytest.raises(ConfigError, match="give its space one entry in growths, and one in stems"):
            SuperNet(StageSpace(**options), (3, 32, 32), 10, channels=8, cells=None)


def test_what_does_not_fit():
    genotype = stage_genotype("conv_3x3", (1, ["conv_3x3"]), (2, ["conv_3x3/stride"]))
    with pytest.raises(ConfigError, match=r"images are 3x8, .* 1 reductions divide by 2 .* at least 4x4"):
        DerivedNet(genotype, (3, 3, 8), 10, channels=8, cells=None)
    with pytest.raises(ConfigError, match=r"network.cells is 20; networks of this space have 3: set it to null"):
        DerivedNet(genotype, (3, 8, 8), 10, channels=8, cells=20)
    with pytest.raises(ConfigError, match="stem is 'small', but networks of this space"):
        DerivedNet(genotype, (3, 8, 8), 10, channels=8, cells=None, stem="small")


def test_layer_types_are_all_built():
    assert len(LAYER_TYPES) == len({str(make_layer(Layer(name), 4, 4, NormOptions())) for name in LAYER_TYPES})
