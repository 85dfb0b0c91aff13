"""Images in any form that is understood, as settings of a data module."""

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from sparsenas.data import ImageData
from sparsenas.errors import DataError

#: Images in any form that is understood.
Images = str | PathLike[str] | ImageData | tuple[Any, Any]


def data_settings(data: str | PathLike[str] | tuple[Any, Any], folder: Path, seed: int) -> dict[str, Any]:
    """Settings of the data module for a folder, a table, an archive, the digits, or arrays.

    Raises:
        DataError: If it is none of these.
    """
    if isinstance(data, tuple):
        if len(data) != 2:
            raise DataError(f"data is a tuple of {len(data)}; give (images, labels)")
        data = save_arrays(*data, folder / "data.npz")
    path, options = Path(data), {"seed": seed, "arch_fraction": 0.0, "batch_size": "auto"}
    if path.is_dir() or (path.suffix.lower() == ".csv" and path.is_file()):
        return {"class_path": "ImageFolder", "init_args": {**options, "path": str(path), "size": "auto"}}
    if path.suffix == ".npz":
        return {"class_path": "NpzImages", "init_args": {**options, "path": str(path)}}
    if str(data) == "digits":
        return {"class_path": "Digits", "init_args": options}
    raise DataError(
        f"{data}: no such folder; give a folder with a folder of images per class, a .csv with columns path and label, "
        'an .npz archive, "digits", a data module, or (images, labels)'
    )


def save_arrays(images: Any, labels: Any, path: Path) -> Path:
    """Write arrays to an archive, so that the run can be repeated and exported later.

    Labels ``(N, K)`` of 0 and 1 give images any number of labels.

    Raises:
        DataError: If their shapes or types are wrong.
    """
    images, labels = (np.asarray(x.cpu() if isinstance(x, Tensor) else x) for x in (images, labels))
    several = (*images.shape[:1], *labels.shape[1:2])
    if images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[3] not in (1, 3):
        images = images.transpose(0, 2, 3, 1)  # as torch has them
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or labels.shape not in (images.shape[:1], several):
        raise DataError(
            f"images are {images.dtype} of shape {images.shape}, labels of shape {labels.shape}; give uint8 images "
            "(N, H, W) or (N, H, W, C), and labels (N,), or (N, K) of 0 and 1"
        )
    if labels.ndim == 1 and not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"labels are {labels.dtype}; give whole numbers from 0 on")
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, x_train=images, y_train=labels.astype(np.int64) if labels.ndim == 1 else labels)
    return path
