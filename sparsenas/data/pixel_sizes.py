"""Sizes of image files, read from their headers, and the size of images that suits them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from sparsenas.images import UNREADABLE

#: Most files whose headers are read, evenly spaced.
SAMPLE = 256
#: Sides that are chosen: the largest one that most photos have.
SIDES = (32, 48, 64)
#: MACs for each pixel, from which on larger images are worth while.
DENSITY = 6e3
#: Turns by 90 degrees that a camera notes beside the pixels.
_TURNED = (5, 6, 7, 8)


def pixel_sizes(files: Sequence[Path]) -> NDArray[np.int64]:
    """Return heights and widths of at most :data:`SAMPLE` files, turned upright; shape ``(N, 2)``.

    Files that cannot be read are left out: whoever reads their pixels says so.
    """
    found = []
    for file in files[:: -(-len(files) // SAMPLE) or 1]:
        try:
            with Image.open(file) as image:
                turned = image.getexif().get(ExifTags.Base.Orientation) in _TURNED
                found.append(image.size if turned else image.size[::-1])
        except UNREADABLE:
            continue
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def fitting_side(sizes: NDArray[np.int64], macs: float | None = None) -> tuple[int, str]:
    """Choose the side of square images, and say why: the largest of :data:`SIDES` that photos and MACs allow.

    With few MACs a network of large images is so narrow that small images do better.

    Args:
        sizes: Heights and widths of photos, shape ``(N, 2)``.
        macs: Most MACs of the network, if they are limited.
    """
    if not len(sizes):
        return SIDES[0], "no photo could be looked at"
    shorter = float(np.median(sizes.min(1)))
    there = max((side for side in SIDES if side <= shorter), default=SIDES[0])
    paid = there if macs is None else max((side for side in SIDES if DENSITY * side**2 <= macs), default=SIDES[0])
    why = f"half of the photos have {shorter:.0f} or more on their shorter side"
    return (there, why) if paid >= there else (paid, f"{why}, but larger ones need more MACs")
