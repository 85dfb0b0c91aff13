"""Pictures and tables of an evaluation, for the report of a run."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

from PIL import Image
from torch import Tensor

from sparsenas.classification import most_confident_mistakes
from sparsenas.drawing import draw_confusion, draw_mistakes, figure_bytes, shortened
from sparsenas.reporting import (
    Evaluation,
    Mistake,
    class_rows,
    csv_bytes,
    decisions,
    label_names,
    prediction_rows,
)
from sparsenas.reporting.page import TABULATED

#: Pixels of the side of a mistake in the report, at most: sixteen of them are to stay small.
THUMBNAIL = 96
#: Stands for an image without labels.
NONE = "no label"


def find_mistakes(found: Evaluation, data: Any) -> tuple[list[Mistake], list[Image.Image]]:
    """Find the surest mistakes, and their images as the network sees them; none of data that show no images."""
    if not hasattr(data, "parts") or data.image_shape[0] not in (1, 2, 3, 4):
        return [], []
    chosen = most_confident_mistakes(found.logits, found.labels)
    if not len(chosen):
        return [], []
    part = data.parts.test if found.part == "test" else data.parts.val
    images = [_image(pixels) for pixels in part.images(found.positions[chosen].tolist())]
    predicted, sure = decisions(found.probabilities[chosen], found.class_names, found.multilabel)
    true = label_names(found.labels[chosen], found.class_names)
    mistakes = []
    for image, place, label, taken_for, probability in zip(images, chosen.tolist(), true, predicted, sure, strict=True):
        small = image.copy()
        small.thumbnail((THUMBNAIL, THUMBNAIL))
        mistakes.append(Mistake(png(small), found.names[place], label or NONE, taken_for or NONE, probability))
    return mistakes, images


def _image(pixels: Tensor) -> Image.Image:
    """Make an image of pixels ``(C, H, W)``, uint8; transparency is left out."""
    array = pixels.permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(array[:, :, 0] if array.shape[2] < 3 else array[:, :, :3].copy())


def drawn_mistakes(found: Evaluation, mistakes: Sequence[Mistake], images: Sequence[Image.Image]) -> bytes:
    """Draw mistakes with what was said of them, as a PNG file."""
    captions = [
        (shortened(mistake.label), f"→ {shortened(mistake.predicted)}", f"{mistake.probability:.1%}")
        for mistake in mistakes
    ]
    return png(draw_mistakes(images, captions, f"The surest mistakes on {len(found.labels):,} {found.words} images"))


def drawn_confusion(found: Evaluation) -> bytes | None:
    """Draw the confusion matrix, unless the page has it as a table, or images have several labels."""
    counts = found.report.confusion
    if counts is None or (found.part != "test" and len(found.class_names) <= TABULATED):
        return None
    title = f"{len(found.labels):,} {found.words} images"
    return figure_bytes(draw_confusion(counts.numpy(), found.class_names, title))


def files_of(found: Evaluation) -> dict[str, bytes]:
    """Format what was said of every image, and the figures of every class, as CSV files by their names."""
    rows = prediction_rows(
        found.probabilities, found.labels, found.class_names, found.names, found.are_files, found.multilabel
    )
    classes = class_rows(found.report, found.class_names)
    return {"predictions_test.csv": csv_bytes(rows), "classes.csv": csv_bytes(classes)}


def beside(*pictures: bytes) -> bytes:
    """Put pictures of the same height beside each other, all as PNG files."""
    images = [Image.open(BytesIO(picture)).convert("RGB") for picture in pictures]
    joined = Image.new("RGB", (sum(image.width for image in images), images[0].height))
    left = 0
    for image in images:
        joined.paste(image, (left, 0))
        left += image.width
    return png(joined)


def png(image: Image.Image) -> bytes:
    """Return an image as the bytes of a PNG file."""
    buffer = BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()
