"""Stems before the cells, and the auxiliary classifier."""

from typing import Literal, get_args

from torch import Tensor, nn

from sparsenas.errors import ConfigError

#: ``cifar``: one 3x3 convolution to 3C channels. ``small``: to C channels, for images of about 8 to 16 pixels.
#: ``imagenet``: three stride-2 convolutions, so that the cells start at an eighth of the resolution.
StemName = Literal["cifar", "small", "imagenet"]


class Stem(nn.Module):
    """Maps images to the two inputs of the first cell, which have ``out_channels``, the older one first.

    The newer one is smaller than the image by the factor ``downscale``.

    Source: the CIFAR and ImageNet networks of Liu et al., DARTS (ICLR 2019).
    """

    def __init__(self, name: StemName, image_channels: int, channels: int) -> None:
        super().__init__()
        self.out_channels: tuple[int, ...]
        self.second: nn.Module | None = None
        if name == "imagenet":
            half = channels // 2
            self.first = nn.Sequential(*_conv_norm(image_channels, half, 2), nn.ReLU(), *_conv_norm(half, channels, 2))
            self.second = nn.Sequential(nn.ReLU(), *_conv_norm(channels, channels, 2))
            self.out_channels = (channels, channels)
            self.downscale = 8
        elif name in get_args(StemName):
            width = 3 * channels if name == "cifar" else channels
            self.first = nn.Sequential(*_conv_norm(image_channels, width))
            self.out_channels = (width, width)
            self.downscale = 1
        else:
            raise ConfigError(f"stem is {name!r}; known are {', '.join(get_args(StemName))}")

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the older and the newer input of the first cell."""
        first: Tensor = self.first(images)
        return (first, first) if self.second is None else (first, self.second(first))


class PlainStem(nn.Module):
    """Maps images to the one input of the first cell, at full resolution, by 3x3 convolutions with batch-norms.

    Without any, images are the input.
    """

    def __init__(self, image_channels: int, channels: int, depth: int = 1, relu: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for position in range(depth):
            layers += _conv_norm(channels if position else image_channels, channels)
        self.first = nn.Sequential(*layers, *([nn.ReLU()] if relu else []))
        self.out_channels: tuple[int, ...] = (channels if depth else image_channels,)
        self.downscale = 1

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Return the input of the first cell."""
        return (self.first(images),)


class AuxiliaryHead(nn.Module):
    """Classifier on an intermediate feature map; its loss helps deep networks train.

    Differs: DARTS pools with window 5, which needs 8x8 maps on CIFAR and 7x7 on ImageNet. Here the map is pooled to 2x2
    adaptively, so that any input size works. Parameters are the same.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Conv2d(in_channels, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False),
            nn.BatchNorm2d(768),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(768, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits, shape ``(B, classes)``."""
        logits: Tensor = self.classifier(self.features(x).flatten(1))
        return logits


def _conv_norm(in_channels: int, out_channels: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False), nn.BatchNorm2d(out_channels)]
