"""Images beside each other, each with its caption."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from sparsenas.drawing.style import INK

#: Images beside each other; pixels of the side of each, of a line of text, and of the gaps.
_COLUMNS, _SIDE, _LINE, _GAP = 4, 128, 18, 14


def draw_mistakes(images: Sequence[Image.Image], captions: Sequence[Sequence[str]], title: str) -> Image.Image:
    """Draw images in rows, the lines of their captions below them.

    Not a figure of matplotlib, which takes half a second for so many axes.
    """
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    font = ImageFont.truetype(str(fonts / "DejaVuSans.ttf"), 12)
    bold = ImageFont.truetype(str(fonts / "DejaVuSans-Bold.ttf"), 15)
    lines = max(map(len, captions), default=0)
    width, height = 2 * _GAP + _SIDE, _SIDE + lines * _LINE + _GAP
    rows = ceil(len(images) / _COLUMNS)
    picture = Image.new("RGB", (_COLUMNS * width + _GAP, 3 * _GAP + 10 + rows * height), "white")
    pen = ImageDraw.Draw(picture)
    pen.text((_GAP, _GAP), title, fill=INK, font=bold)
    for place, (image, caption) in enumerate(zip(images, captions, strict=True)):
        x, y = _GAP + place % _COLUMNS * width, 2 * _GAP + 14 + place // _COLUMNS * height
        shown = image.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
        picture.paste(shown, (x, y))
        for number, line in enumerate(caption):
            pen.text((x, y + _SIDE + 3 + number * _LINE), line, fill=INK, font=font)
    return picture
