"""Primitives as modules. An operation is a body and, where it has one, a last batch-norm that carries its weight."""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsenas.errors import ConfigError
from sparsenas.imports import find
from sparsenas.networks.normalisation import NormOptions, ScaledBatchNorm


class Operation(nn.Module):
    """Operation on an edge: ``scale * norm(body(x))``.

    Args:
        body: Maps ``(B, C, H, W)`` to ``(B, C, ceil(H / stride), ceil(W / stride))``.
        norm: Last batch-norm; ``None`` for operations without one.

    Attributes:
        weight_is_one: True if nothing in the operation can take up an architecture weight but 1.
    """

    weight_is_one = False

    def __init__(self, body: nn.Module, norm: ScaledBatchNorm | None) -> None:
        super().__init__()
        self.body = body
        self.norm = norm

    @property
    def is_identity(self) -> bool:
        """True if the operation returns its input; drop-path leaves such edges alone, as DARTS does."""
        return self.norm is None and isinstance(self.body, nn.Identity)

    @property
    def is_zero(self) -> bool:
        """True if the operation gives zeros, with any weight."""
        return self.norm is None and isinstance(self.body, Zero)

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        """Apply the operation; ``scale`` is a 0-d tensor that multiplies the output."""
        y: Tensor = self.body(x)
        if self.norm is not None:
            y = self.norm(y, scale)
            return y
        return y if scale is None else y * scale


#: Makes the operation of a primitive: (channels, stride, norm options) -> operation.
OperationFactory = Callable[[int, int, NormOptions], Operation]


class FactorizedReduce(nn.Module):
    """Halve the resolution by two 1x1 convolutions on the even and the odd pixels, outputs concatenated.

    Differs: odd sizes are padded at the lower right, so that the output is ``ceil(H / 2)`` as for the other primitives;
    on even sizes it is the operation of DARTS. The pixels are picked before the convolution, not by its stride. In
    torch 2.14 the backward pass of 1x1 convolutions of stride 2 on few channels (CPU, channels-last) writes outside its
    memory.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        half = out_channels // 2
        self.even = nn.Conv2d(in_channels, half, 1, bias=False)
        self.odd = nn.Conv2d(in_channels, out_channels - half, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, out, ceil(H / 2), ceil(W / 2))``."""
        x = functional.relu(x)
        height, width = x.shape[-2:]
        padded = functional.pad(x, (0, width % 2, 0, height % 2))
        return torch.cat([self.even(x[:, :, ::2, ::2]), self.odd(padded[:, :, 1::2, 1::2])], dim=1)


class Zero(nn.Module):
    """Zeros of the size of an operation's output, connected to the input so that gradients are zero and not missing."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C, ceil(H / stride), ceil(W / stride))``."""
        return x[:, :, :: self.stride, :: self.stride] * 0.0


class EverySecondPixel(nn.Module):
    """Pixels that a 1x1 convolution of stride 2 sees; :class:`FactorizedReduce` says why the two are apart."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C, ceil(H / 2), ceil(W / 2))``."""
        return x[:, :, ::2, ::2]


class Residual(nn.Module):
    """``main(x) + shortcut(x)``."""

    def __init__(self, main: nn.Sequential, shortcut: nn.Module) -> None:
        super().__init__()
        self.main = main
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to what both branches map it to."""
        y: Tensor = self.main(x) + self.shortcut(x)
        return y


def relu_conv_norm(in_channels: int, out_channels: int, norms: NormOptions) -> nn.Sequential:
    """Make the 1x1 convolution that matches channel counts at a cell's input."""
    return nn.Sequential(nn.ReLU(), nn.Conv2d(in_channels, out_channels, 1, bias=False), norms.layer(out_channels))


def reduce_norm(in_channels: int, out_channels: int, norms: NormOptions) -> nn.Sequential:
    """Make the factorised reduction that matches the resolution at a cell's input."""
    return nn.Sequential(FactorizedReduce(in_channels, out_channels), norms.layer(out_channels))


def residual_reduction(in_channels: int, out_channels: int, norms: NormOptions) -> Residual:
    """Make a pre-activated residual block of two 3x3 convolutions that halves the resolution.

    Source: between the stages of NAS-Bench-201 (Dong and Yang, ICLR 2020).

    Differs: odd sizes round up on the shortcut too, as they do in convolutions; even sizes are the benchmark's.
    """
    main = nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False),
        norms.layer(out_channels),
        nn.ReLU(),
        nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
        norms.layer(out_channels),
    )
    pool = nn.AvgPool2d(2, ceil_mode=True)
    return Residual(main, nn.Sequential(pool, nn.Conv2d(in_channels, out_channels, 1, bias=False)))


def layer_operation(primitive: str, in_channels: int, out_channels: int, stride: int, norms: NormOptions) -> Operation:
    """Make the operation of a layer of NAS-Bench-Macro: ``identity``, ``mb3_k3`` or ``mb6_k5``.

    An identity that changes resolution or width is a 1x1 convolution with batch-norm. The inverted residual blocks add
    their input where they change neither; the weight then multiplies the sum.

    Source: Su et al. (CVPR 2021); MobileNetV2 blocks with ReLU, without a width rounded to multiples of 8.
    """
    same = stride == 1 and in_channels == out_channels
    if primitive == "identity":
        if same:
            return Operation(nn.Identity(), norms.layer(out_channels) if norms.append == "pools_and_skips" else None)
        return Operation(nn.Sequential(*_pointwise(in_channels, out_channels, stride)), norms.layer(out_channels))
    expansion, kernel = {"mb3_k3": (3, 3), "mb6_k5": (6, 5)}[primitive]
    wide = expansion * in_channels
    body = [
        nn.Conv2d(in_channels, wide, 1, bias=False),
        norms.layer(wide),
        nn.ReLU(),
        nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide, bias=False),
        norms.layer(wide),
        nn.ReLU(),
        nn.Conv2d(wide, out_channels, 1, bias=False),
    ]
    norm = norms.layer(out_channels)
    if same:
        return Operation(Residual(nn.Sequential(*body, norm), nn.Identity()), None)
    return Operation(nn.Sequential(*body), norm)


def _pointwise(in_channels: int, out_channels: int, stride: int) -> list[nn.Module]:
    """Make a 1x1 convolution of stride 1 or 2."""
    picked: list[nn.Module] = [EverySecondPixel()] if stride == 2 else []
    return [*picked, nn.Conv2d(in_channels, out_channels, 1, bias=False)]


def _depthwise_separable(channels: int, kernel: int, stride: int, dilation: int) -> list[nn.Module]:
    padding = dilation * (kernel - 1) // 2
    return [
        nn.ReLU(),
        nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
    ]


def _separable(kernel: int, channels: int, stride: int, norms: NormOptions) -> Operation:
    first = _depthwise_separable(channels, kernel, stride, dilation=1)
    second = _depthwise_separable(channels, kernel, 1, dilation=1)
    return Operation(nn.Sequential(*first, norms.layer(channels), *second), norms.layer(channels))


def _dilated(kernel: int, channels: int, stride: int, norms: NormOptions) -> Operation:
    return Operation(nn.Sequential(*_depthwise_separable(channels, kernel, stride, dilation=2)), norms.layer(channels))


def _pool(kind: Literal["max", "avg"], channels: int, stride: int, norms: NormOptions) -> Operation:
    body = (
        nn.MaxPool2d(3, stride, padding=1)
        if kind == "max"
        else nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)
    )
    return Operation(body, None if norms.append == "none" else norms.layer(channels))


def _skip(channels: int, stride: int, norms: NormOptions) -> Operation:
    if stride > 1:
        return Operation(FactorizedReduce(channels, channels), norms.layer(channels))
    return Operation(nn.Identity(), norms.layer(channels) if norms.append == "pools_and_skips" else None)


def _zero(channels: int, stride: int, norms: NormOptions) -> Operation:
    return Operation(Zero(stride), None)


def _convolution(kernel: int, channels: int, stride: int, norms: NormOptions) -> Operation:
    if kernel == 1:
        convolution = _pointwise(channels, channels, stride)
    else:
        convolution = [nn.Conv2d(channels, channels, kernel, stride, padding=kernel // 2, bias=False)]
    return Operation(nn.Sequential(nn.ReLU(), *convolution), norms.layer(channels))


#: The primitives that need no import path: those of Liu et al., DARTS (ICLR 2019), then what Dong and Yang,
#: NAS-Bench-201 (ICLR 2020) add; their pool and skip are those of DARTS.
PRIMITIVES: dict[str, OperationFactory] = {
    "max_pool_3x3": partial(_pool, "max"),
    "avg_pool_3x3": partial(_pool, "avg"),
    "skip_connect": _skip,
    "sep_conv_3x3": partial(_separable, 3),
    "sep_conv_5x5": partial(_separable, 5),
    "dil_conv_3x3": partial(_dilated, 3),
    "dil_conv_5x5": partial(_dilated, 5),
    "none": _zero,
    "nor_conv_1x1": partial(_convolution, 1),
    "nor_conv_3x3": partial(_convolution, 3),
}


def make_operation(primitive: str, channels: int, stride: int, norms: NormOptions) -> Operation:
    """Make the operation of a primitive.

    Args:
        primitive: A key of :data:`PRIMITIVES`, or ``"package.module:function"`` naming an :data:`OperationFactory`.
        channels: Input and output channels.
        stride: 1, or 2 on edges from a reduction cell's inputs.
        norms: Batch-norm options.

    Raises:
        ConfigError: If the primitive is unknown, its module cannot be imported or is not trusted (see
            :func:`sparsenas.trust`), or it does not make an operation.
    """
    if primitive in PRIMITIVES:
        return PRIMITIVES[primitive](channels, stride, norms)
    module, sign, name = primitive.partition(":")
    if not sign:
        raise ConfigError(
            f"unknown primitive {primitive!r}; known are {', '.join(PRIMITIVES)}, "
            "or 'package.module:function' of your own"
        )
    try:
        factory = find(module, name)
    except ConfigError as error:
        raise ConfigError(f"primitive {primitive!r}: {error}") from error
    except (ImportError, AttributeError, TypeError, ValueError) as error:  # the latter two: no absolute module name
        raise ConfigError(f"primitive {primitive!r}: cannot import it ({error})") from error
    if not callable(factory):
        raise ConfigError(f"primitive {primitive!r}: is a {type(factory).__name__}; it must be a function")
    operation = factory(channels, stride, norms)
    if not isinstance(operation, Operation):
        raise ConfigError(f"primitive {primitive!r}: made a {type(operation).__name__}; it must make an Operation")
    return operation
