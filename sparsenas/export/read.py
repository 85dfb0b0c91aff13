"""Read an export back."""

from pathlib import Path

from sparsenas.errors import ConfigError, ExportError, GenotypeError
from sparsenas.export.formats import Safetensors
from sparsenas.export.manifest import check_intact, read_manifest
from sparsenas.networks import DerivedNet


def load(folder: str | Path) -> DerivedNet:
    """Return the network of an export, in evaluation mode, on the CPU.

    It takes normalised images ``(B, C, H, W)`` and gives logits ``(B, classes)``;
    ``read_manifest(folder).preparation`` makes such images. No code is read from the folder. A primitive of your own
    (``package.module:function``) is imported if :func:`sparsenas.trust` allows its module.

    Raises:
        ExportError: If the folder holds no intact export.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    weights = Safetensors()
    check_intact(folder, manifest, weights.filename)
    try:
        return weights.runner(folder / weights.filename, manifest.blueprint)
    except (ConfigError, GenotypeError, ExportError) as error:
        raise ExportError(f"{folder}: its network cannot be built: {error}") from error
