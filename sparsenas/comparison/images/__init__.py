"""Networks found and made by hand on the user's own images, at equal cost and in the same total time."""

from sparsenas.comparison.images.contest import ImagePlan, is_on_images, read_image_plan
from sparsenas.comparison.images.finished import ImageRecord
from sparsenas.comparison.images.image_session import ImageSession
from sparsenas.comparison.images.outcomes import ImageReport, ImageRow, PairedTest, make_image_report, paired_test
from sparsenas.comparison.images.picture import draw_images

__all__ = [
    "ImagePlan",
    "ImageRecord",
    "ImageReport",
    "ImageRow",
    "ImageSession",
    "PairedTest",
    "draw_images",
    "is_on_images",
    "make_image_report",
    "paired_test",
    "read_image_plan",
]
