"""From an image file to pixels of the size a network takes: one way for training, test and prediction."""

import struct
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms.v2 import functional

from sparsenas.errors import DataError

#: Endings of the names of image files.
SUFFIXES = (*IMG_EXTENSIONS, ".gif")
#: Pillow's errors for files that are damaged, of an unknown format, or bombs; not all are documented.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
#: Pillow's modes with at most 8 bits per channel, and the mode that represents them without loss.
_EXACT = {"1": "L", "L": "L", "LA": "LA", "P": "RGB", "PA": "RGBA", "RGBA": "RGBA", "RGBa": "RGBA"}
_EXACT |= {"RGB": "RGB", "RGBX": "RGB", "YCbCr": "RGB", "HSV": "RGB", "CMYK": "CMYK"}
#: The same where one of the colours is transparent.
_TRANSPARENT = {"1": "LA", "L": "LA", "P": "RGBA", "RGB": "RGBA"}
#: What is said of other modes.
_DEEP = "not grey or colour of 8 or 16 bits per channel; convert the file (deeper pixels: scale them to 0 to 255 first)"
#: Grey levels of 16 bits for one of 8.
_LEVELS = 257
#: How an image comes to the size of a network. A number: its shape is kept, it covers a box of that shorter side and of
#: the network's shape, and the centre is cut out. ``pad``: its shape is kept, it fits inside, and black is added around
#: it. ``squash``: its shape is not kept.
Resize = int | Literal["pad", "squash"]
#: Mode of the images of a network, by its number of channels.
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def decode(file: Path) -> Image.Image:
    """Decode the first frame of an image file, turned upright.

    Raises:
        DataError: Naming the file that cannot be read, or whose pixels are deeper than 8 bits.
    """
    try:
        with Image.open(file) as image:
            return upright(image, str(file))
    except FileNotFoundError:
        raise DataError(f"{file}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{file}: a folder; name its files, such as {file}/*.jpg") from None
    except UNREADABLE as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())
        raise DataError(f"{file}: not a readable image ({reason}); replace or remove the file") from error


def upright(image: Image.Image, name: str) -> Image.Image:
    """Load an image and turn it as a camera noted beside the pixels; Pillow does so for TIFF files only.

    Grey levels of 16 bits are divided by 257 and rounded. Of colours of 16 bits, Pillow reads the upper 8.

    Raises:
        DataError: If the grey levels are of 12 bits, which would become too dark.
    """
    deep = image.mode.startswith("I;16")
    for tile in getattr(image, "tile", ()):  # how the pixels are stored; empty once they are loaded
        stored = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        raw = next((entry for entry in stored if isinstance(entry, str)), "")
        if raw == "I;12":
            raise DataError(f"{name}: its pixels are of mode {raw}, {_DEEP}")
        # of PGM files, which Pillow scales to 16 bits in a mode of 32
        deep = deep or (image.mode == "I" and (raw == "I;16B" or tile.codec_name.startswith("ppm")))
    image.load()
    turned = ImageOps.exif_transpose(image)
    if not deep:
        return turned
    return Image.fromarray(((np.asarray(turned).astype(np.int64) + _LEVELS // 2) // _LEVELS).astype(np.uint8))


def exact_mode(image: Image.Image, name: str) -> str:
    """Name the mode of 8 bits per channel that represents an image without loss.

    Raises:
        DataError: If there is none, naming the image: deeper pixels would be cut off.
    """
    if image.mode not in _EXACT:
        raise DataError(f"{name}: its pixels are of mode {image.mode}, {_DEEP}")
    if image.mode in _TRANSPARENT and image.has_transparency_data:
        return _TRANSPARENT[image.mode]
    return _EXACT[image.mode]


def with_channels(image: Image.Image, channels: int, name: str) -> Image.Image:
    """Convert an image to grey (1 channel) or colour (3), either with transparency (2 or 4).

    Without a channel for it, transparency is dropped, and what lies below it shows.

    Raises:
        DataError: If pixels are deeper than 8 bits, or a file cannot have so many channels; ``name`` is the image's.
    """
    exact = exact_mode(image, name)
    if channels not in MODES:
        raise DataError(f"{name}: the network takes {channels} channels, but an image file has 1 to 4; give arrays")
    wanted = MODES[channels]
    if image.mode == wanted:
        return image
    # from palettes and inks, Pillow reaches all modes only by this step
    return image.convert("RGBA" if exact in ("LA", "RGBA") else "RGB").convert(wanted)


def covered(resize: int, height: int, width: int) -> tuple[int, int]:
    """Return height and width of the box of a shorter side ``resize`` that has the shape of a network's images."""
    shorter = min(height, width)
    return round(resize * height / shorter), round(resize * width / shorter)


def resized(image: Image.Image, resize: Resize, height: int, width: int) -> Image.Image:
    """Bring an image to a size (bilinear, antialiased).

    Black is added around what is smaller than the size. It needs no statistics, which are those of resized images.
    """
    if resize == "squash":
        squashed: Image.Image = functional.resize(image, [height, width])
        return squashed
    if resize == "pad":
        scale = min(height / image.height, width / image.width)
        size = [max(1, round(scale * image.height)), max(1, round(scale * image.width))]
    else:
        high, wide = covered(resize, height, width)
        if image.height * wide >= image.width * high:
            size = [wide * image.height // image.width, wide]
        else:
            size = [high, high * image.width // image.height]
    cut: Image.Image = functional.center_crop(functional.resize(image, size), [height, width])
    return cut


def pixels(image: Image.Image) -> Tensor:
    """Return pixels, shape ``(C, H, W)``, uint8."""
    values: Tensor = functional.pil_to_tensor(image)
    return values
