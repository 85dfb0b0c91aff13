"""Classify image files and folders of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from sparsenas.classification import ClassReport, class_report, probabilities
from sparsenas.data.folder_tree import images_below
from sparsenas.data.listing import LeftOut
from sparsenas.errors import DataError
from sparsenas.export import Preparation, load, read_manifest
from sparsenas.files import write_atomically
from sparsenas.reporting import csv_bytes, decisions, prediction_rows
from sparsenas.texts import readable

#: Images that go through the network together.
BATCH_SIZE = 64

#: An image in any form that is understood.
Picture = str | PathLike[str] | Image.Image


class Prediction(NamedTuple):
    """A class and its probability; or all labels of an image, joined by ``;``, and the probability of just these."""

    label: str
    probability: float


class Predictions(list[Prediction]):
    """The most probable class of each image, or its labels, in their order.

    Attributes:
        files: File of each image; its number for images that are no files.
        labels: True label of each image: that of the folder named as a class in which it lies; ``None`` elsewhere.
        class_names: One name per class.
        probabilities: Shape ``(N, K)``, on the CPU.
        left_out: What was wrong with each file that was left out.
        multilabel: True if images have any number of labels: all those more probable than not.
    """

    def __init__(
        self,
        files: Sequence[str],
        labels: Sequence[int | None],
        class_names: Sequence[str],
        probabilities: Tensor,
        left_out: Sequence[str] = (),
        multilabel: bool = False,
    ) -> None:
        super().__init__(map(Prediction, *decisions(probabilities, class_names, multilabel)))
        self.multilabel = multilabel
        self.files, self.labels, self.class_names = files, labels, class_names
        self.probabilities, self.left_out = probabilities, left_out

    @property
    def report(self) -> ClassReport | None:
        """Accuracy, macro-F1 and more on the images with a true label; ``None`` if there are none."""
        known = [index for index, label in enumerate(self.labels) if label is not None]
        if not known:
            return None
        labels = torch.tensor([label for label in self.labels if label is not None])
        return class_report(self.probabilities[known].log(), labels)

    def top(self, count: int) -> list[list[Prediction]]:
        """List the most probable classes of each image, the most probable first."""
        values, labels = self.probabilities.topk(count)
        return [
            [Prediction(self.class_names[label], value) for label, value in zip(*row, strict=True)]
            for row in zip(labels.tolist(), values.tolist(), strict=True)
        ]

    def save(self, path: str | PathLike[str]) -> None:
        """Write a CSV file with a row per image: file, true and predicted label, and the probability of each class.

        Raises:
            ConfigError: If the file cannot be written.
        """
        rows = prediction_rows(self.probabilities, self.labels, self.class_names, self.files, True, self.multilabel)
        write_atomically(Path(path), csv_bytes(rows))


def predict(
    folder: str | PathLike[str],
    *images: Picture | Iterable[Picture],
    adapt: bool = False,
    skip_broken: bool = False,
    calibrated: bool = False,
) -> Predictions:
    """Classify image files by an exported network.

    Args:
        folder: Folder of the export.
        images: See :func:`classify`.
        adapt: Likewise.
        skip_broken: Likewise.
        calibrated: Divide logits by the temperature of the manifest, by which probabilities are as sure as they are
            right on validation images.

    Raises:
        DataError: If a file is no image that the network takes, or a folder has no images.
        ExportError: If the folder holds no intact export.
    """
    path = Path(folder)
    network, manifest = load(path), read_manifest(path)
    temperature = manifest.temperature if calibrated else 1.0
    return classify(
        network,
        manifest.preparation,
        manifest.class_names,
        images,
        adapt,
        skip_broken,
        temperature,
        manifest.multilabel,
    )


def classify(
    network: Callable[[Tensor], Tensor],
    preparation: Preparation,
    class_names: Sequence[str],
    images: Iterable[Picture | Iterable[Picture]],
    adapt: bool = False,
    skip_broken: bool = False,
    temperature: float = 1.0,
    multilabel: bool = False,
) -> Predictions:
    """Classify image files.

    Args:
        network: In evaluation mode.
        preparation: Preparation of its images.
        class_names: One name per logit.
        images: Files, folders, whose images at any depth are taken in order, images of Pillow, or lists of these.
        adapt: Resize, cut and convert images that do not fit.
        skip_broken: Leave out files that are no images the network takes.
        temperature: Divides the logits.
        multilabel: Images have any number of labels, which no folder says.

    Raises:
        DataError: If a file is no image that the network takes, a folder has no images, or all are left out.
    """
    folders = {} if multilabel else {name: label for label, name in enumerate(class_names)}
    found = list(_found(images, folders))
    files: list[str] = []
    labels: list[int | None] = []
    left_out: list[str] = []
    parts: list[Tensor] = []
    batch: list[Tensor] = []
    for number, (image, label, is_listed) in enumerate(found, start=1):
        try:
            batch.append(preparation(image, adapt=adapt))
            files.append(str(number) if isinstance(image, Image.Image) else str(image))
            labels.append(label)
        except DataError as error:
            if not skip_broken:
                way_out = "" if is_listed else "; or leave such files out by --skip_broken"
                raise DataError(f"{error}{way_out}") from error
            left_out.append(str(error))
        if batch and (len(batch) == BATCH_SIZE or number == len(found)):
            with torch.inference_mode():
                parts.append(probabilities(network(torch.stack(batch)).float() / temperature, multilabel))
            batch.clear()
    if not files and left_out:
        raise DataError(f"none of {len(found)} files is an image that the network takes; the first: {left_out[0]}")
    said = torch.cat(parts) if parts else torch.empty(0, len(class_names))
    return Predictions(files, labels, class_names, said, left_out, multilabel)


def _found(
    images: Iterable[Picture | Iterable[Picture]], classes: dict[str, int]
) -> Iterator[tuple[Picture, int | None, bool]]:
    """Yield every image, its label where a folder says it, and True unless it was found in a folder."""
    for image in images:
        if isinstance(image, Image.Image):
            yield image, None, True
        elif isinstance(image, (str, PathLike)):
            path = Path(image)
            if path.is_dir():
                yield from ((file, label, False) for file, label in _below(path, classes))
            else:
                yield image, None, True
        else:
            yield from _found(image, classes)


def _below(folder: Path, classes: dict[str, int]) -> Iterator[tuple[Path, int | None]]:
    """Yield the images below a folder in order, each with the class after which a folder above it is named."""
    left_out = LeftOut()
    found = images_below(folder, left_out)
    if not found:
        there = f"; left out: {left_out}" if left_out.counts else ""
        raise DataError(f"{folder}: no images below it{there}; name a folder of images, or files")
    for file in found:
        above = map(readable, file.path.relative_to(folder).parts[:-1])
        yield file.path, next((classes[name] for name in above if name in classes), None)
