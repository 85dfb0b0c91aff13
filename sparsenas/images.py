"""From an image file to pixels of the size a network takes: one way for training, test and prediction."""

import struct
from pathlib import Path
from typing import Literal

from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.v2 import functional

from sparsenas.errors import DataError

#: Pillow's errors for files that are damaged, of an unknown format, or bombs; not all are documented.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
#: Pillow's modes with at most 8 bits per channel, and the mode that represents them without loss.
_EXACT = {"1": "L", "L": "L", "LA": "LA", "P": "RGB", "PA": "RGBA", "RGBA": "RGBA", "RGBa": "RGBA"}
_EXACT |= {"RGB": "RGB", "RGBX": "RGB", "YCbCr": "RGB", "HSV": "RGB", "CMYK": "CMYK"}
#: The same where one of the colours is transparent.
_TRANSPARENT = {"1": "LA", "L": "LA", "P": "RGBA", "RGB": "RGBA"}
#: What is said of other modes.
_DEEP = "not grey or colour of 8 bits per channel; convert the file (deeper pixels: scale them to 0 to 255 first)"
#: How an image comes to the size of a network: the shorter side to which it is resized, its shape kept, before the
#: centre is cut out; or the whole of it is squeezed.
Resize = int | Literal["squeeze"]
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

    Raises:
        DataError: If Pillow would cut off deeper pixels, which it does without a word.
    """
    for tile in getattr(image, "tile", ()):  # how the pixels are stored; empty once they are loaded
        stored = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        raw = next((entry for entry in stored if isinstance(entry, str)), "")
        if ";16" in raw or (tile.codec_name.startswith("ppm") and stored[-1] > 255):
            raise DataError(f"{name}: its pixels are of mode {raw}, {_DEEP}")
    image.load()
    return ImageOps.exif_transpose(image)


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


def resized(image: Image.Image, resize: Resize, height: int, width: int) -> Image.Image:
    """Bring an image to a size (bilinear, antialiased).

    If an image with a shorter side of ``resize`` is smaller than the cut, black is added.
    """
    if resize == "squeeze":
        squeezed: Image.Image = functional.resize(image, [height, width])
        return squeezed
    cut: Image.Image = functional.center_crop(functional.resize(image, [resize]), [height, width])
    return cut


def pixels(image: Image.Image) -> Tensor:
    """Return pixels, shape ``(C, H, W)``, uint8."""
    values: Tensor = functional.pil_to_tensor(image)
    return values
