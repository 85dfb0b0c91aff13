"""From an image file to pixels: decoded safely, and brought to the size a network takes."""

import struct
from pathlib import Path

from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional

from sparsenas.errors import DataError

#: What Pillow raises for files that are damaged, of an unknown format, or bombs; not all of it is documented.
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)


def decode(file: Path) -> Image.Image:
    """Decode an image file whole, with the pixels it stores; an orientation noted beside them is not followed.

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
    """The image in colour (3 channels) or grey (1 channel); transparency is dropped."""
    colour = image.convert("RGB")
    return colour if channels == 3 else colour.convert("L")


def centre(image: Image.Image, shorter_side: int, height: int, width: int) -> Image.Image:
    """Resize the shorter side, keep the shape, and cut out the centre.

    Args:
        image: Of any size.
        shorter_side: In pixels; bilinear with antialiasing, as Pillow does it.
        height: Of the cut; at most the height after resizing, or black is added.
        width: Likewise.
    """
    cut: Image.Image = functional.center_crop(functional.resize(image, [shorter_side]), [height, width])
    return cut


def pixels(image: Image.Image) -> Tensor:
    """Pixels, shape ``(C, H, W)``, uint8."""
    values: Tensor = functional.pil_to_tensor(image)
    return values
