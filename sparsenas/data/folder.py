"""Image files of any size, in folders or in a table."""

from typing import Any, Literal, get_args

from sparsenas.data.augment import Augmentation
from sparsenas.data.auto import SMALL, AugmentationWord, BatchSizeWord
from sparsenas.data.base import ImageData
from sparsenas.data.cross_validation import CrossValidation
from sparsenas.data.file_source import FileSource
from sparsenas.data.pixel_sizes import fitting_side
from sparsenas.data.sources import check_at_least
from sparsenas.errors import ConfigError
from sparsenas.images import Resize

#: Smallest share of the area of a window that is chosen for larger images: it still shows most of the object.
MILD_CROP = 0.5
#: How an image comes to the size of the network.
Fit = Literal["auto", "crop", "pad", "squash"]


class ImageFolder(ImageData):
    """Image files of any size in one folder per class, or in a table, decoded by worker processes.

    Either ``path/class/file``, or ``path/train/class/file`` with optional ``path/val`` and ``path/test`` alike. Or a
    table ``path.csv`` with columns ``path`` and ``label``, and optional ``split`` and ``group``; a ``;`` separates the
    labels of an image that has several. Parts that are not there are taken from the training images. In evaluation,
    images come to their size as ``fit`` says; so they do in training, unless random windows are resized to ``size``
    there. Colours are not changed.

    Args:
        path: The folder or table; ``~`` and environment variables are replaced.
        size: Side of the square images the network sees, in pixels, or ``[height, width]``; ``auto`` is the largest of
            32, 48 and 64 that half of the training images have.
        grey: Grey images (one channel) instead of colour.
        fit: ``crop`` keeps an image's shape and cuts out the centre; ``pad`` keeps it and adds black; ``squash`` shows
            the whole, its shape not kept. ``auto`` squashes up to 64 pixels without random windows, where a cut would
            lose what little there is, and crops otherwise.
        eval_resize: Shorter side before the centre is cut out; 256 is usual for 224. ``auto``, and null, is ``size``.
            With null or a number, ``fit`` ``auto`` crops. Earlier versions wrote ``squeeze`` for ``fit`` ``squash``.
        crop_scale: Smallest share of an image's area that a training window covers; 1 turns random windows off. By
            default 0.5 above 64 pixels, and 1 up to there or without augmentation. Recipes for ImageNet have 0.08.
        batch_size: Images of a training batch, per stream and per process; ``auto`` follows from their number.
        augmentation: Random changes of the resized image or window: ``auto`` follows from the images, ``none`` is none;
            otherwise options ``crop_padding``, ``flip``, ``cutout``, ``padding_mode``.
        num_workers: Processes that decode images. Without random windows, up to 256 MB of decoded images are kept, and
            no other processes are needed.
        group_by: Regular expression on the path below ``path`` or its part: files of which it matches the same text are
            a group, and no group is in two parts. Brackets choose a part of the match.
        skip_broken: Read every file once at the start, and leave out those that cannot be read.
        cross_validation: Which of how many folds is the test part; ``test_fraction`` is not used then.
        options: See :class:`ImageData`.

    Raises:
        ConfigError: If an option is out of range, or two do not fit each other.
        DataError: If the folder or table is missing or wrong.
    """

    def __init__(
        self,
        path: str,
        size: int | tuple[int, int] | Literal["auto"],
        grey: bool = False,
        fit: Fit = "auto",
        eval_resize: int | Literal["auto", "squeeze"] | None = "auto",
        crop_scale: float | None = None,
        batch_size: int | BatchSizeWord = "auto",
        augmentation: Augmentation | AugmentationWord = "auto",
        num_workers: int = 2,
        group_by: str | None = None,
        skip_broken: bool = False,
        cross_validation: CrossValidation | None = None,
        **options: Any,
    ) -> None:
        if size == "auto":
            size, _ = fitting_side(FileSource(path, (3, SMALL, SMALL), "squash", 1.0).pixel_sizes())
        sides = (size, size) if isinstance(size, int) else tuple(size)
        if len(sides) != 2:
            raise ConfigError(f"data.size is {list(sides)}; give a side, or [height, width]")
        height, width = sides
        shorter = min(height, width)
        check_at_least(1, size=shorter)
        if crop_scale is None:
            crop_scale = MILD_CROP if shorter > SMALL and augmentation != "none" else 1.0
        if not 0 < crop_scale <= 1:
            raise ConfigError(f"data.crop_scale is {crop_scale}; it is a share of the area, above 0 and at most 1")
        self._eval_resize = _resize(fit, eval_resize, shorter, crop_scale)
        shape = (1 if grey else 3, height, width)
        source = FileSource(path, shape, self._eval_resize, crop_scale, group_by, skip_broken, cross_validation)
        super().__init__(source, batch_size, augmentation=augmentation, num_workers=num_workers, **options)

    @property
    def eval_resize(self) -> Resize:
        """Way in which images come to their size in evaluation, see :data:`sparsenas.images.Resize`."""
        return self._eval_resize


def _resize(fit: Fit, eval_resize: int | str | None, shorter: int, crop_scale: float) -> Resize:
    """Join the two options that say how images come to their size.

    Args:
        fit: As given.
        eval_resize: As given.
        shorter: Shorter side of the network's images.
        crop_scale: Smallest share of the area of a training window.

    Raises:
        ConfigError: If one is unknown or out of range, or they do not fit each other.
    """
    if fit not in get_args(Fit):
        raise ConfigError(f"data.fit is {fit!r}; use {', '.join(get_args(Fit))}")
    if eval_resize == "squeeze" and fit in ("auto", "squash"):
        return "squash"
    if isinstance(eval_resize, str) and eval_resize != "auto":
        raise ConfigError(f"data.eval_resize is {eval_resize!r}; use auto or a number of pixels, and data.fit")
    if fit == "auto":
        fit = "squash" if eval_resize == "auto" and shorter <= SMALL and crop_scale == 1 else "crop"
    if fit == "crop":
        resize = shorter if isinstance(eval_resize, str) or eval_resize is None else eval_resize
        check_at_least(shorter, eval_resize=resize)
        return resize
    if isinstance(eval_resize, int):
        raise ConfigError(f"data.eval_resize is {eval_resize}, but data.fit {fit} cuts nothing out; leave out one")
    return "pad" if fit == "pad" else "squash"
