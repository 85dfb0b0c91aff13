"""Every primitive keeps the contract of an operation; some agree with an independent formula."""

import sys
from itertools import product
from math import ceil
from types import ModuleType

import pytest
import torch
from torch import nn
from torch.nn import functional

from sparsenas.errors import ConfigError
from sparsenas.networks import PRIMITIVES, NormOptions, Operation, make_operation
from sparsenas.networks.operations import FactorizedReduce
from sparsenas.spaces import DARTS_PRIMITIVES, NASBENCH201_PRIMITIVES, WEIGHT_SHARING64_PRIMITIVES

NORMS = [
    NormOptions(),
    NormOptions(append="pools"),
    NormOptions(affine=False, track=False, append="pools_and_skips"),
]


def test_the_spaces_and_the_networks_know_the_same_primitives():
    assert {*DARTS_PRIMITIVES, *NASBENCH201_PRIMITIVES, *WEIGHT_SHARING64_PRIMITIVES} == set(PRIMITIVES)


@pytest.mark.parametrize("norms", NORMS, ids=lambda norms: norms.append)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("primitive", PRIMITIVES)
def test_conformance(primitive, stride, norms):
    operation = make_operation(primitive, 6, stride, norms)
    for height, width in [(8, 8), (9, 9), (8, 13), (33, 16), (2, 3)]:
        x = torch.randn(2, 6, height, width, requires_grad=True)
        y = operation(x)
        assert y.shape == (2, 6, ceil(height / stride), ceil(width / stride))
        y.square().sum().backward()
        assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("norms", NORMS, ids=lambda norms: norms.append)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("primitive", PRIMITIVES)
def test_scale_multiplies_the_output(primitive, stride, norms):
    operation = make_operation(primitive, 4, stride, norms).double()
    x = torch.randn(3, 4, 9, 8, dtype=torch.float64)
    scale = torch.tensor(-1.7, dtype=torch.float64, requires_grad=True)
    y = operation(x, scale)
    torch.testing.assert_close(y, scale * operation(x))
    (gradient,) = torch.autograd.grad(y.square().sum(), scale)
    torch.testing.assert_close(gradient, 2 * scale.detach() * operation(x).square().sum())


def test_appended_norms_and_identities():
    rows = {
        (append, primitive): make_operation(primitive, 4, 1, NormOptions(append=append))
        for append, primitive in product(("none", "pools", "pools_and_skips"), PRIMITIVES)
    }
    bare = {key for key, operation in rows.items() if operation.norm is None}
    pools = {"max_pool_3x3", "avg_pool_3x3"}
    zeros = {(append, "none") for append in ("none", "pools", "pools_and_skips")}
    assert bare == zeros | {("none", "skip_connect"), ("pools", "skip_connect")} | {("none", pool) for pool in pools}
    assert {key for key, operation in rows.items() if operation.is_zero} == zeros
    assert {key for key, operation in rows.items() if operation.is_identity} == {
        ("none", "skip_connect"), ("pools", "skip_connect"),
    }  # fmt: skip
    assert make_operation("skip_connect", 4, 2, NormOptions()).norm is not None


def test_pools_equal_the_functional_ones():
    x = torch.randn(2, 3, 9, 8)
    for stride in (1, 2):
        largest = make_operation("max_pool_3x3", 3, stride, NormOptions())(x)
        mean = make_operation("avg_pool_3x3", 3, stride, NormOptions())(x)
        assert torch.equal(largest, functional.max_pool2d(x, 3, stride, 1))
        counts = functional.avg_pool2d(torch.ones_like(x), 3, stride, 1)  # share of the window inside the image
        torch.testing.assert_close(mean, functional.avg_pool2d(x, 3, stride, 1) / counts)


def test_weights_of_the_convolutions():
    # ReLU, depthwise, pointwise, norm: once for dilated, twice for separable convolutions
    for kernel in (3, 5):
        once = 8 * kernel * kernel + 8 * 8 + 2 * 8
        for primitive, expected in ((f"dil_conv_{kernel}x{kernel}", once), (f"sep_conv_{kernel}x{kernel}", 2 * once)):
            operation = make_operation(primitive, 8, 2, NormOptions())
            assert sum(p.numel() for p in operation.parameters()) == expected


def test_dilated_convolution_reaches_as_far_as_its_dilation():
    operation = make_operation("dil_conv_3x3", 2, 1, NormOptions(affine=False)).eval()
    x = torch.ones(1, 2, 11, 11, requires_grad=True)
    operation(x)[0, 0, 5, 5].backward()
    reached = x.grad[0].abs().sum(0) > 0
    assert reached.nonzero().tolist() == [[i, j] for i in (3, 5, 7) for j in (3, 5, 7)]


def test_factorized_reduce_is_the_official_formula_on_even_sizes():
    reduce = FactorizedReduce(3, 7)
    x = torch.randn(2, 3, 8, 12)
    relu = functional.relu(x)
    expected = torch.cat(
        [
            functional.conv2d(relu, reduce.even.weight, stride=2),
            functional.conv2d(relu[:, :, 1:, 1:], reduce.odd.weight, stride=2),
        ],
        dim=1,
    )
    torch.testing.assert_close(reduce(x), expected)


def test_factorized_reduce_pads_odd_sizes_with_zeros():
    reduce = FactorizedReduce(3, 6)
    for height, width in ((9, 9), (9, 8), (8, 9), (3, 33)):
        x = torch.randn(2, 3, height, width)
        padded = functional.pad(x, (0, width % 2, 0, height % 2))
        assert reduce(x).shape[2:] == (ceil(height / 2), ceil(width / 2))
        assert torch.equal(reduce(x), reduce(padded))


@pytest.fixture
def own_module(monkeypatch):
    """A module of the user's with a primitive and things that are none."""
    module = ModuleType("users_primitives")
    module.conv = lambda channels, stride, norms: Operation(
        nn.Conv2d(channels, channels, 3, stride, padding=1), norms.layer(channels)
    )
    module.bare = lambda channels, stride, norms: nn.Identity()
    module.number = 3
    monkeypatch.setitem(sys.modules, "users_primitives", module)
    monkeypatch.setenv("SPARSENAS_TRUST", "users_primitives,no_such_package")


@pytest.mark.usefixtures("own_module")
def test_primitive_of_ones_own():
    operation = make_operation("users_primitives:conv", 4, 2, NormOptions())
    assert operation(torch.randn(2, 4, 9, 9)).shape == (2, 4, 5, 5)


@pytest.mark.usefixtures("own_module")
@pytest.mark.parametrize(
    ("primitive", "message"),
    [
        ("sep_conv_7x7", "unknown primitive 'sep_conv_7x7'; known are max_pool_3x3, .* or 'package.module:function'"),
        ("", "unknown primitive ''; known are"),
        ("no_such_package.module:conv", "'no_such_package.module:conv': cannot import it .No module named"),
        ("users_primitives:absent", "'users_primitives:absent': cannot import it .*absent"),
        (":conv", "':conv': would run code of the module ''"),
        (".relative:conv", "'.relative:conv': would run code of the module '.relative'"),
        (
            "os:system",
            r"'os:system': would run code of the module 'os'; .* add --trust os \(in Python",
        ),
        ("users_primitives:number", "is a int; it must be a function"),
        ("users_primitives:bare", "made a Identity; it must make an Operation"),
    ],
)
def test_bad_primitives(primitive, message):
    with pytest.raises(ConfigError, match=message):
        make_operation(primitive, 4, 1, NormOptions())
