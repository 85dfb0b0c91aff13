"""From an image file to pixels of the size a network takes."""

import struct
from pathlib import Path

from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional

from sparsenas.errors import DataError

#: Pillow's errors for files that are damaged, of an unknown format, or bombs; not all are documented.
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)


def decode(file: Path) -> Image.Image:
    """Decode an image file, without following an orientation noted beside the pixels.

    Raises:
        DataError: Naming the file that cannot be read.
    """
    try:
        with Image.open(file) as image:
            image.load()
            return image
    except FileNotFoundError:
        raise DataError(f"{file}: no such file") from None
    except _UNREADABLE as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())
        raise DataError(f"{file}: not a readable image ({reason}); replace or remove the file") from error


def with_channels(image: Image.Image, channels: int) -> Image.Image:
    """Convert an image to colour (3 channels) or grey (1 channel); drop transparency."""
    colour = image.convert("RGB")
    return colour if channels == 3 else colour.convert("L")


def centre(image: Image.Image, shorter_side: int, height: int, width: int) -> Image.Image:
    """Resize the shorter side (bilinear, antialiased), keep the shape, and cut out the centre.

    If the resized image is smaller than the cut, black is added.
    """
    cut: Image.Image = functional.center_crop(functional.resize(image, [shorter_side]), [height, width])
    return cut


def pixels(image: Image.Image) -> Tensor:
    """Return pixels, shape ``(C, H, W)``, uint8."""
    values: Tensor = functional.pil_to_tensor(image)
    return values
