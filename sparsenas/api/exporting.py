"""Facts that an export takes from the images: accuracies, the temperature, images to compare on and to quantise by."""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from sparsenas.classification import (
    COLDEST,
    HOTTEST,
    average_precision,
    best_temperature,
    class_report,
    mean_precision,
    right,
)
from sparsenas.data import ImageData
from sparsenas.data.sources import PartName
from sparsenas.export import (
    FORMATS,
    Accuracy,
    Calibration,
    Description,
    Manifest,
    Preparation,
    Quantisation,
    export_network,
)
from sparsenas.networks import DerivedNet
from sparsenas.texts import note

#: Images on which every exported file is compared with the trained network.
COMPARED_IMAGES = 256
#: Training images that decide the ranges of quantised activations.
CALIBRATION_IMAGES = 256
#: Loss of accuracy by quantisation above which the user is told.
LARGE_LOSS = 0.02
#: Parts whose accuracies a manifest reports.
PARTS: tuple[PartName, ...] = ("val", "test")


def export_trained(
    network: DerivedNet,
    model: Callable[[Tensor], Tensor],
    data: ImageData,
    folder: Path,
    formats: tuple[str, ...],
    fuse: bool,
    overwrite: bool,
) -> Manifest:
    """Write a network, with what its images tell about it; see :func:`sparsenas.export.export_network`.

    Args:
        network: Trained network.
        model: Computes the expected logits.
        data: Images it was trained on.
        folder: Folder to write.
        formats: Formats.
        fuse: Fold batch-norms into convolutions.
        overwrite: Replace an earlier export.
    """
    # accuracies are only reported: the network is what it is
    found = {part: _logits(model, data, part) for part in PARTS}
    description = Description(
        Preparation(data.image_shape, data.mean, data.std, data.eval_resize),
        data.class_names,
        {part: _accuracy(pair) for part, pair in found.items()},
        _calibration(found["val"]),
        data.multilabel,
    )
    quantised = any(not FORMATS[name].exact for name in formats if name in FORMATS)
    manifest = export_network(
        network,
        model,
        _first_images(data, "val" if data.has("val") else "train", COMPARED_IMAGES),
        description,
        folder,
        formats=formats,
        fuse=fuse,
        overwrite=overwrite,
        quantisation=_quantisation(data) if quantised else None,
    )
    for name, loss in quantisation_losses(manifest).items():
        if loss > LARGE_LOSS:
            what = "mAP" if manifest.multilabel else "accuracy"
            note(f"{name}: quantisation loses {100 * loss:.1f} points of {what} on the validation images")
    return manifest


def quantisation_losses(manifest: Manifest) -> dict[str, float]:
    """Return by how much quantised files are worse than the network on validation images.

    Returns:
        By file, what is lost of the accuracy, or of the mean average precision of images with several labels.
    """
    before = manifest.accuracy.get("val")
    after = {name: record.accuracy.get("val") for name, record in manifest.files.items()}
    if before is None:
        return {}
    return {name: before.score - found.score for name, found in after.items() if found is not None}


def _quantisation(data: ImageData) -> Quantisation:
    def accuracy(runner: Callable[[Tensor], Tensor]) -> Mapping[str, Accuracy | None]:
        return {part: _accuracy(_logits(runner, data, part)) for part in PARTS}

    return Quantisation(_first_images(data, "train", CALIBRATION_IMAGES), accuracy)


@torch.no_grad()
def _logits(model: Callable[[Tensor], Tensor], data: ImageData, part: PartName) -> tuple[Tensor, Tensor] | None:
    """Compute the logits of all images of a part, and return them with the labels; None without images."""
    if not data.has(part):
        return None
    pairs = [(model(images.contiguous()).float(), labels) for images, labels in data.evaluation_batches(part)]
    return torch.cat([logits for logits, _ in pairs]), torch.cat([labels for _, labels in pairs])


def _accuracy(found: tuple[Tensor, Tensor] | None) -> Accuracy | None:
    if found is None:
        return None
    logits, labels = found
    precision = mean_precision(average_precision(logits, labels)) if labels.ndim == 2 else None
    return Accuracy(int(right(logits, labels).sum()) / len(labels), len(labels), precision)


def _calibration(found: tuple[Tensor, Tensor] | None) -> Calibration | None:
    """Choose the temperature on validation images."""
    if found is None or not bool(found[0].isfinite().all()):  # the export will say so
        return None
    logits, labels = found
    temperature = best_temperature(logits, labels)
    if not 1.01 * COLDEST < temperature < 0.99 * HOTTEST:
        return None  # such as of images without a mistake, by which any network could be surer
    before, after = (class_report(scaled, labels).calibration_error for scaled in (logits, logits / temperature))
    return Calibration(temperature, before, after, len(labels))


def _first_images(data: ImageData, part: PartName, count: int) -> Tensor:
    """Some images of a part, prepared as for evaluation."""
    batches: Iterator[Tensor] = (images for images, _ in data.evaluation_batches(part))
    return torch.cat(list(islice(batches, -(-count // data.eval_batch_size))))[:count]
