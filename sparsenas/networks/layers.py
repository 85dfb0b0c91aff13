"""Layers of chains: one description of each, from which its module and its cost follow."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from sparsenas.networks.normalisation import NormOptions, ScaledBatchNorm
from sparsenas.networks.operations import EverySecondPixel, Operation
from sparsenas.spaces.stage import Downsampling, Layer


class Convolution(NamedTuple):
    """A convolution with batch-norm, and what follows it."""

    inputs: int
    outputs: int
    kernel: int
    depthwise: bool = False
    reduces: bool = False
    relu: bool = True
    squeeze: int = 0  # channels in the middle of a squeeze-excitation behind it; 0 for none

    @property
    def weights(self) -> int:
        """Weights of the convolution, which are also its MACs per pixel of its output."""
        return self.outputs * self.kernel**2 * (1 if self.depthwise else self.inputs)

    @property
    def parameters(self) -> int:
        """Weights, gamma and beta, and those of the squeeze-excitation, which has biases."""
        return self.weights + 2 * self.outputs + (self.squeeze and (2 * self.outputs + 1) * self.squeeze + self.outputs)


class LayerPlan(NamedTuple):
    """Plan of a layer: ``relu?(convolutions(x) + shortcut?(x))``."""

    convolutions: tuple[Convolution, ...]
    shortcut: Literal["none", "identity", "projection"] = "none"
    relu: bool = False


class LayerCost(NamedTuple):
    """Cost of a layer; MACs are ``before`` per input pixel, ``after`` per output pixel, and ``once``."""

    parameters: int
    before: int
    after: int
    once: int


@lru_cache(maxsize=65536)
def layer_plan(type: str, inputs: int, outputs: int, reduces: bool) -> LayerPlan:
    """Plan one layer.

    Args:
        type: One of :data:`sparsenas.spaces.LAYER_TYPES`, with ``_se`` behind a mobile convolution or not.
        inputs: Channels in.
        outputs: Channels out.
        reduces: Halve the resolution.

    Source: ``residual_3x3`` and ``residual_bottleneck`` (stride on the 3x3): He et al. (CVPR 2016); projections have no
    batch-norm, as in ResNet-8 of MLPerf Tiny. ``sep_conv_3x3``: Howard et al., MobileNets (2017). ``mbconv``: Sandler
    et al., MobileNetV2 (CVPR 2018), squeezed to a quarter of the block's input as in EfficientNet. ``fused_mbconv``:
    Tan and Le, EfficientNetV2 (ICML 2021).

    Differs: activations are ReLU throughout, for speed on CPUs; the later papers have ReLU6 or SiLU.
    """
    family, _, rest = type.rpartition("_k") if "mbconv" in type else (type, "", "")
    unchanged = inputs == outputs and not reduces
    if family in ("mbconv", "fused_mbconv"):
        kernel, wide = int(rest[0]), inputs * int(rest.partition("_e")[2][0])
        squeeze = max(1, inputs // 4) if rest.endswith("_se") else 0
        project = Convolution(wide, outputs, 1, relu=False)
        first = (
            [Convolution(inputs, wide, kernel, reduces=reduces)]
            if family == "fused_mbconv"
            else [
                Convolution(inputs, wide, 1),
                Convolution(wide, wide, kernel, depthwise=True, reduces=reduces, squeeze=squeeze),
            ]
        )
        return LayerPlan((*first, project), "identity" if unchanged else "none")
    if family.startswith("residual"):
        main: tuple[Convolution, ...]
        if family == "residual_3x3":
            main = (Convolution(inputs, outputs, 3, reduces=reduces), Convolution(outputs, outputs, 3, relu=False))
        else:
            middle = -(-outputs // 4)
            main = (
                Convolution(inputs, middle, 1),
                Convolution(middle, middle, 3, reduces=reduces),
                Convolution(middle, outputs, 1, relu=False),
            )
        return LayerPlan(main, "identity" if unchanged else "projection", relu=True)
    if family == "sep_conv_3x3":
        depthwise = Convolution(inputs, inputs, 3, depthwise=True, reduces=reduces)
        return LayerPlan((depthwise, Convolution(inputs, outputs, 1, relu=False)), relu=True)
    kernel = {"conv_3x3": 3, "conv_5x5": 5}[family]
    return LayerPlan((Convolution(inputs, outputs, kernel, reduces=reduces, relu=False),), relu=True)


class PlacedLayer(NamedTuple):
    """Equal layers in a row at their place in a network.

    Attributes:
        type: Type.
        down: How the first one halves the resolution.
        repeats: Number of layers; all but the first keep resolution and width.
        inputs: Channels in.
        outputs: Channels out.
        height: Rows of the images that come in.
        width: Columns.
    """

    type: str
    down: Downsampling | None
    repeats: int
    inputs: int
    outputs: int
    height: int
    width: int

    @property
    def primitive(self) -> str:
        """Type with its way to halve the resolution."""
        return str(Layer(self.type, self.down))

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns that come out."""
        return (self.height, self.width) if self.down is None else (halved(self.height), halved(self.width))

    @property
    def macs(self) -> int:
        """MACs of one layer."""
        cost = layer_cost(self.type, self.inputs, self.outputs, self.down is not None)
        height, width = self.size
        return cost.before * self.height * self.width + cost.after * height * width + cost.once

    @property
    def values(self) -> int:
        """Numbers that go into one layer and come out."""
        height, width = self.size
        return self.inputs * self.height * self.width + self.outputs * height * width


@lru_cache(maxsize=65536)
def layer_cost(type: str, inputs: int, outputs: int, reduces: bool) -> LayerCost:
    """Count the cost of one layer with batch-norms that learn; arguments of :func:`layer_plan`."""
    convolutions, shortcut, _ = layer_plan(type, inputs, outputs, reduces)
    projection = inputs * outputs if shortcut == "projection" else 0
    start = next((i for i, c in enumerate(convolutions) if c.reduces), 0)  # from here on, pixels are the output's
    return LayerCost(
        parameters=sum(c.parameters for c in convolutions) + projection,
        before=sum(c.weights for c in convolutions[:start]),
        after=sum(c.weights for c in convolutions[start:]) + projection,
        once=sum(2 * c.outputs * c.squeeze for c in convolutions),
    )


class _TimesOne(torch.autograd.Function):
    """Product with a factor that is 1, without a pass over the activations but for the factor's gradient."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, scale: Tensor) -> Tensor:
        """Return ``y``."""
        ctx.save_for_backward(y)
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Pass the gradient on; that of the factor is the sum of its products with ``y``."""
        (y,) = ctx.saved_tensors
        flat, other = (t.permute(0, 2, 3, 1).reshape(-1) for t in (grad, y))  # views in channels-last memory
        return grad, flat.dot(other)


def times(y: Tensor, scale: Tensor | None) -> Tensor:
    """Multiply by an architecture weight, 0-d; on a CPU, where looking at it costs nothing, for free if it is 1."""
    if scale is None:
        return y
    if scale.device.type != "cpu" or scale.dtype != y.dtype or scale.item() != 1.0:
        return y * scale
    return _TimesOne.apply(y, scale) if scale.requires_grad else y


class SqueezeExcitation(nn.Module):
    """Scale channels by what their means say.

    Source: Hu et al., Squeeze-and-Excitation Networks (CVPR 2018).
    """

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Conv2d(channels, squeezed, 1), nn.ReLU(), nn.Conv2d(squeezed, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape."""
        gates: Tensor = self.gate(x.mean((2, 3), keepdim=True))
        return x * gates


class LayerOperation(Operation):
    """A layer as an operation: ``scale * relu?(norm(body(x)) + shortcut?(x))``.

    Args:
        body: All convolutions, up to the last batch-norm.
        norm: The last batch-norm.
        shortcut: Second way from input to output; ``None`` for none.
        relu: End in a ReLU.
    """

    weight_is_one = True  # a weight in the batch-norm would miss the shortcut, and the sign of what the ReLU sees

    def __init__(self, body: nn.Sequential, norm: ScaledBatchNorm, shortcut: nn.Module | None, relu: bool) -> None:
        super().__init__(body, norm)
        self.shortcut = shortcut
        self.relu = nn.ReLU(inplace=True) if relu else None

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        """See :class:`Operation`."""
        y: Tensor = self.body(x)
        if self.norm is not None:
            y = self.norm(y)
        if self.shortcut is not None:
            y = y + self.shortcut(x)
        if self.relu is not None:
            y = self.relu(y)
        return times(y, scale)


class LayerStack(Operation):
    """Layers in a row as one operation."""

    weight_is_one = True

    def __init__(self, layers: Sequence[Operation]) -> None:
        super().__init__(nn.Sequential(*layers), None)
        self.layers = tuple(layers)

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        """See :class:`Operation`."""
        return times(self.body(x), scale)


class Passage(Operation):
    """The identity, where a chain has no layer, or notes its width."""

    weight_is_one = True

    def __init__(self) -> None:
        super().__init__(nn.Identity(), None)

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        """See :class:`Operation`."""
        return times(x, scale)


def make_layer(layer: Layer, inputs: int, outputs: int, norms: NormOptions) -> Operation:
    """Make the operation of a layer, or of several in a row, from ``inputs`` to ``outputs`` channels."""
    first = _operation(layer.type, inputs, outputs, layer.down, norms)
    if layer.repeats == 1:
        return first
    return LayerStack(
        [first, *(_operation(layer.type, outputs, outputs, None, norms) for _ in range(layer.repeats - 1))]
    )


def _operation(type: str, inputs: int, outputs: int, down: Downsampling | None, norms: NormOptions) -> LayerOperation:
    convolutions, shortcut, relu = layer_plan(type, inputs, outputs, down is not None)
    body = [module for c in convolutions[:-1] for module in convolution_modules(c, down, norms)]
    *last, norm = convolution_modules(convolutions[-1], down, norms)
    assert isinstance(norm, ScaledBatchNorm)  # the last convolution of a plan has no ReLU of its own
    return LayerOperation(nn.Sequential(*body, *last), norm, _shortcut(shortcut, inputs, outputs, down), relu)


def convolution_modules(c: Convolution, down: Downsampling | None, norms: NormOptions) -> list[nn.Module]:
    """Make the modules of a convolution in their order; ``down`` is read if it reduces."""
    stride = 2 if c.reduces and down == "stride" else 1
    groups = c.inputs if c.depthwise else 1
    modules: list[nn.Module] = [nn.MaxPool2d(2, ceil_mode=True)] if c.reduces and down == "max_pool" else []
    modules += [
        nn.Conv2d(c.inputs, c.outputs, c.kernel, stride, c.kernel // 2, groups=groups, bias=False),
        norms.layer(c.outputs),
    ]
    if c.relu:
        modules.append(nn.ReLU(inplace=True))
    if c.squeeze:
        modules.append(SqueezeExcitation(c.outputs, c.squeeze))
    return modules


def _shortcut(kind: str, inputs: int, outputs: int, down: Downsampling | None) -> nn.Module | None:
    """Make the second way; a 1x1 convolution of stride 2 is taken apart as in the other spaces."""
    if kind == "none":
        return None
    if kind == "identity":
        return nn.Identity()
    pixels: list[nn.Module] = []
    if down is not None:
        pixels = [EverySecondPixel() if down == "stride" else nn.MaxPool2d(2, ceil_mode=True)]
    return nn.Sequential(*pixels, nn.Conv2d(inputs, outputs, 1, bias=False))


def halved(side: int) -> int:
    """Length of a side after a halving, which rounds up."""
    return -(-side // 2)
