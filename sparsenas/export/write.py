"""Write an export: every file is read back and compared with the network before any file is placed."""

import copy
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from sparsenas import __version__
from sparsenas.complexity import describe
from sparsenas.errors import ConfigError, ExportError
from sparsenas.export.blueprint import Blueprint
from sparsenas.export.comparison import TOLERANCE, check_finite, compare, run
from sparsenas.export.formats import EXAMPLE_IMAGES, Material, WeightsFormat, choose_formats
from sparsenas.export.manifest import GENOTYPE, MANIFEST, Manifest
from sparsenas.export.preparation import Preparation
from sparsenas.export.records import Accuracy, Calibration, FileRecord
from sparsenas.export.target import filled_whole
from sparsenas.latency.timing import times
from sparsenas.networks import DerivedNet, fuse_batchnorm
from sparsenas.runtimes import Runner, one_thread

#: Runs of one image, by which files are timed; all files take turns.
TIMED = 30


@dataclass(frozen=True)
class Description:
    """Facts of a manifest that are not in the tensors of the network; see :class:`Manifest`."""

    preparation: Preparation
    class_names: tuple[str, ...]
    accuracy: Mapping[str, Accuracy | None] = field(default_factory=dict)
    calibration: Calibration | None = None
    multilabel: bool = False


@dataclass(frozen=True)
class Quantisation:
    """Needs of files of 8 bits.

    Attributes:
        images: Images that trained the network, prepared as for evaluation, shape ``(N, C, H, W)``; they decide the
            ranges of activations.
        accuracy: Measures a file's accuracy by part.
    """

    images: Tensor
    accuracy: Callable[[Runner], Mapping[str, Accuracy | None]]


def export_network(
    network: DerivedNet,
    reference: Runner,
    images: Tensor,
    description: Description,
    folder: str | Path,
    formats: tuple[str, ...] = ("safetensors", "pt2"),
    fuse: bool = False,
    overwrite: bool = False,
    quantisation: Quantisation | None = None,
) -> Manifest:
    """Write a network to a folder, or fail and leave nothing behind.

    Every file is read back and run on ``images``, in batches of several sizes. Its logits may differ from those of
    ``reference`` by 1e-4 and must have the same largest entry, unless images have several labels. Of quantised files
    the difference is noted, with their accuracy. Every file is timed with one image, in one thread.

    Args:
        network: Trained network without auxiliary classifier; left as it is.
        reference: Computes the expected logits, e.g. the trained model in evaluation mode.
        images: Real images, prepared for the network, shape ``(N, C, H, W)``; a few hundred are enough.
        description: Further facts for the manifest.
        folder: Folder to write; see :func:`check_target`.
        formats: Names of :data:`FORMATS`; safetensors is always written.
        fuse: Fold batch-norms into convolutions.
        overwrite: Replace an earlier export.
        quantisation: What quantised formats need.

    Returns:
        The content of ``manifest.json``.

    Raises:
        ConfigError: If the folder cannot be written, or a format is unknown or needs a package that is missing.
        ExportError: If a file does not compute what ``reference`` does, or the network cannot be traced.
    """
    folder, preparation = Path(folder), description.preparation
    chosen = choose_formats(formats)
    if network.classifier.out_features != len(description.class_names) or not len(images):
        raise ConfigError(
            f"the network has {network.classifier.out_features} classes and {len(description.class_names)} class "
            f"names, and is compared on {len(images)} images; give one name per class and at least one image"
        )
    if quantisation is None and not all(made.exact for made in chosen):
        raise ConfigError("quantised formats need images that trained the network, for the ranges of activations")
    blueprint = Blueprint.of(network, fuse)
    expected = run(reference, images)
    ready = fuse_batchnorm(network) if fuse else copy.deepcopy(network).eval()
    check_finite(ready, images)
    with filled_whole(folder, overwrite) as partial_folder:
        (partial_folder / GENOTYPE).write_text(network.genotype.to_json(), encoding="utf-8")
        files = {GENOTYPE: FileRecord.of(partial_folder / GENOTYPE)}
        material = Material(
            images[:1].repeat(EXAMPLE_IMAGES, 1, 1, 1).contiguous(),
            preparation,
            description.class_names,
            1.0 if description.calibration is None else description.calibration.temperature,
            None if quantisation is None else quantisation.images,
            description.multilabel,
        )
        runners: dict[str, Runner] = {}
        for made in chosen:
            name, path = made.filename, partial_folder / made.filename
            runners[name] = runner = _write_and_read_back(made, ready, material, blueprint, path)
            files[name] = FileRecord.of(
                path, *compare(runner, images, expected, name, made.exact, description.multilabel)
            )
            if made.companion is not None:
                files[made.companion] = FileRecord.of(partial_folder / made.companion)
            if not made.exact and quantisation is not None:
                files[name] = replace(files[name], accuracy=quantisation.accuracy(runner))
        for name, milliseconds in _timed(runners, images[:1]).items():
            files[name] = replace(files[name], milliseconds=milliseconds)
        cost = describe(ready, preparation.image_shape)
        manifest = Manifest(
            blueprint=blueprint,
            preparation=preparation,
            class_names=description.class_names,
            parameters=cost.parameters,
            macs=cost.macs,
            accuracy=description.accuracy,
            tolerance=TOLERANCE,
            compared_images=len(images),
            files=files,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            versions={"sparsenas": __version__, "torch": torch.__version__, "python": platform.python_version()},
            calibration=description.calibration,
            multilabel=description.multilabel,
        )
        (partial_folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return manifest


def _write_and_read_back(
    made: WeightsFormat, network: DerivedNet, material: Material, blueprint: Blueprint, path: Path
) -> Runner:
    try:
        made.write(network, material, path)
        return made.runner(path, blueprint)
    except (RuntimeError, ValueError) as error:  # bases of all errors of tracing and of runtimes; with pages of text
        reason = str(error).strip().partition("\n")[0][:200]
        raise ExportError(
            f"{made.filename}: the network cannot be written in this format ({reason}); leave it out of the formats"
        ) from error


@torch.no_grad()
def _timed(runners: Mapping[str, Runner], image: Tensor) -> dict[str, float]:
    """Return the median milliseconds of one image, by file, in one thread."""
    with one_thread():
        return times({name: partial(run, image) for name, run in runners.items()}, TIMED, image.device)
