"""Write an export: every file is read back and compared with the network before any file is placed."""

import copy
import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor

from sparsenas import __version__
from sparsenas.complexity import describe
from sparsenas.errors import ConfigError, ExportError
from sparsenas.export.blueprint import Blueprint
from sparsenas.export.comparison import TOLERANCE, check_finite, compare, run
from sparsenas.export.formats import EXAMPLE_IMAGES, Runner, WeightsFormat, choose_formats
from sparsenas.export.manifest import GENOTYPE, MANIFEST, Accuracy, FileRecord, Manifest
from sparsenas.export.preparation import Preparation
from sparsenas.export.target import filled_whole
from sparsenas.networks import DerivedNet, fuse_batchnorm


@dataclass(frozen=True)
class Description:
    """Facts of a manifest that are not in the tensors of the network; see :class:`Manifest`."""

    preparation: Preparation
    class_names: tuple[str, ...]
    accuracy: dict[str, Accuracy | None] = field(default_factory=dict)


def export_network(
    network: DerivedNet,
    reference: Runner,
    images: Tensor,
    description: Description,
    folder: str | Path,
    formats: tuple[str, ...] = ("safetensors", "pt2"),
    fuse: bool = False,
    overwrite: bool = False,
) -> Manifest:
    """Write a network to a folder, or fail and leave nothing behind.

    Every file is read back and run on ``images``, in batches of several sizes. Its logits may differ from those of
    ``reference`` by 1e-4 and must have the same largest entry.

    Args:
        network: Trained network without auxiliary classifier; left as it is.
        reference: Computes the expected logits, e.g. the trained model in evaluation mode.
        images: Real images, prepared for the network, shape ``(N, C, H, W)``; a few hundred are enough.
        description: Further facts for the manifest.
        folder: Folder to write; see :func:`check_target`.
        formats: Names of :data:`FORMATS`; safetensors is always written.
        fuse: Fold batch-norms into convolutions.
        overwrite: Replace an earlier export.

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
    blueprint = Blueprint.of(network, fuse)
    expected = run(reference, images)
    ready = fuse_batchnorm(network) if fuse else copy.deepcopy(network).eval()
    check_finite(ready, images)
    with filled_whole(folder, overwrite) as partial:
        (partial / GENOTYPE).write_text(network.genotype.to_json(), encoding="utf-8")
        files = {GENOTYPE: FileRecord.of(partial / GENOTYPE)}
        for made in chosen:
            path = partial / made.filename
            runner = _write_and_read_back(made, ready, blueprint, images[:1], path)
            files[made.filename] = FileRecord.of(path, compare(runner, images, expected, made.filename))
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
        )
        (partial / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return manifest


def _write_and_read_back(
    made: WeightsFormat, network: DerivedNet, blueprint: Blueprint, image: Tensor, path: Path
) -> Runner:
    try:
        made.write(network, image.repeat(EXAMPLE_IMAGES, 1, 1, 1).contiguous(), path)
        return made.runner(path, blueprint)
    except RuntimeError as error:  # base of all errors of tracing; each has pages of text
        reason = str(error).strip().partition("\n")[0][:200]
        raise ExportError(
            f"{made.filename}: the network cannot be written in this format ({reason}); leave it out of the formats"
        ) from error
