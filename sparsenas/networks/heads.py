"""What stands before and after the cells: stems and the auxiliary classifier."""

from typing import Literal, get_args

from torch import Tensor, nn

from sparsenas.errors import ConfigError

#: ``cifar``: one 3x3 convolution to 3C channels. ``small``: to C channels, for images of about 8 to 16 pixels.
#: ``imagenet``: three stride-2 convolutions, so that the cells start at an eighth of the resolution.
StemName = Literal["cifar", "small", "imagenet"]


class Stem(nn.Module):
    """Images to the two inputs of the first cell.

    Args:
        name: Kind of stem.
        image_channels: Channels of the images.
        channels: Channels ``C`` of the first cell.

    Attributes:
        out_channels: Channels of the two outputs, the older one first.
        downscale: Factor by which the newer output is smaller than the image.

    Source: the CIFAR and ImageNet networks of Liu et al., DARTS (ICLR 2019).
    """

    def __init__(self, name: StemName, image_channels: int, channels: int) -> None:
        super().__init__()
        self.out_channels: tuple[int, ...]
        self.second: nn.Module | None = None
        if name == "imagenet":
            half = channels // 2
            self.first = nn.Sequential(
                nn.Conv2d(image_channels, half, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(half),
                nn.ReLU(),
                nn.Conv2d(half, channels, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(channels),
            )
            self.second = nn.Sequential(
                nn.ReLU(),
                nn.Conv2d(channels, channels, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(channels),
            )
            self.out_channels = (channels, channels)
            self.downscale = 8
        elif name in get_args(StemName):
            width = 3 * channels if name == "cifar" else channels
            self.first = nn.Sequential(
                nn.Conv2d(image_channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
            )
            self.out_channels = (width, width)
            self.downscale = 1
        else:
            raise ConfigError(f"stem is {name!r}; known are {', '.join(get_args(StemName))}")

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The older and the newer input of the first cell."""
        first: Tensor = self.first(images)
        return (first, first) if self.second is None else (first, self.second(first))


class PlainStem(nn.Module):
    """Images to the one input of the first cell, at full resolution.

    Args:
        image_channels: Channels of the images.
        channels: Channels of the output.
        depth: How many 3x3 convolutions, each with a batch-norm.
        relu: Whether a ReLU ends the stem.

    Attributes:
        out_channels: Channels of the output.
        downscale: Factor by which it is smaller than the image, 1.
    """

    def __init__(self, image_channels: int, channels: int, depth: int = 1, relu: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in (image_channels, *[channels] * (depth - 1)):
            layers += [nn.Conv2d(width, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)]
        self.first = nn.Sequential(*layers, *([nn.ReLU()] if relu else []))
        self.out_channels: tuple[int, ...] = (channels,)
        self.downscale = 1

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """The input of the first cell."""
        return (self.first(images),)


class AuxiliaryHead(nn.Module):
    """Classifier on an intermediate feature map; its loss helps deep networks train.

    Differs: DARTS pools with window 5, which needs 8x8 maps on CIFAR and 7x7 on ImageNet; here the map is pooled to 2x2
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
        """Logits, shape ``(B, classes)``."""
        logits: Tensor = self.classifier(self.features(x).flatten(1))
        return logits
