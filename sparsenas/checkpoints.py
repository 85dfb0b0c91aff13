"""Checkpoints that are written whole, and read only if every byte is as it was written.

torch's reader ignores the checksums of its own archive, so a flipped bit would silently become another network. A
checkpoint of this package is torch's archive with a seal as its archive comment: the SHA-256 of all bytes before it.
Whatever reads torch's archives reads these, too.
"""

import hashlib
import io
import os
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from sparsenas.errors import CheckpointError, ConfigError
from sparsenas.files import partial_name, write_atomically
from sparsenas.imports import only_trusted
from sparsenas.metrics import metric_states, restore_metrics
from sparsenas.reading import shorten
from sparsenas.trainer import is_within_epoch

#: Ending of the name of what a checkpoint held before it was last overwritten.
PREVIOUS = ".previous"
#: First bytes of the record at the end of a zip archive, and the length of this record.
_END, _LENGTH = b"PK\x05\x06", 22
_SEAL = b"sparsenas.sha256:"
_COMMENT = len(_SEAL) + 2 * hashlib.sha256().digest_size
#: What reading a damaged file raises.
_DAMAGES = (
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)


def pack(content: Mapping[str, Any]) -> bytes:
    """Make the bytes of a sealed checkpoint."""
    buffer = io.BytesIO()  # not a file: on a full disk torch's writer would end the process
    torch.save(content, buffer)
    buffer.seek(-2, io.SEEK_END)
    buffer.write(_COMMENT.to_bytes(2, "little"))
    seal = _SEAL + hashlib.sha256(buffer.getbuffer()).hexdigest().encode()
    buffer.write(seal)
    return buffer.getvalue()


def unpack(data: bytes, weights_only: bool = True, map_location: Any = "cpu") -> Any:
    """Read the bytes of a checkpoint, sealed or not; no code in it is run unless ``weights_only`` is False.

    Raises:
        CheckpointError: If they are not as they were written; of a file without a seal, the checksums of its archive
            say so.
    """
    if not _is_intact(data):
        raise CheckpointError("damaged, or not a checkpoint")
    try:
        return torch.load(io.BytesIO(data), map_location=map_location, weights_only=weights_only)
    except pickle.UnpicklingError as error:
        reason = shorten(str(error).replace("Weights only load failed.", "").partition("\n\n")[0], 120)
        raise CheckpointError(
            f"damaged, or not a checkpoint: it holds more than tensors and plain values (UnpicklingError: {reason}); "
            "weights_only=False reads it, and runs the code in it"
        ) from error
    except _DAMAGES as error:
        raise CheckpointError(f"damaged, or not a checkpoint ({type(error).__name__})") from error


def save(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write a sealed checkpoint, whole or not at all; what was there before is kept beside it.

    Raises:
        ConfigError: If it cannot be written; whatever was there still is.
    """
    path, data = Path(path).expanduser(), pack(content)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: cannot make its folder ({error.strerror})") from error
    _keep(path)
    write_atomically(path, data)


def load(path: str | Path, weights_only: bool = True, map_location: Any = "cpu") -> Any:
    """Read a checkpoint; see :func:`unpack`.

    Raises:
        CheckpointError: If it is missing, damaged or no checkpoint; the message names one beside it that is whole.
    """
    data = read(path)
    try:
        return unpack(data, weights_only, map_location)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def read(path: str | Path) -> bytes:
    """Read the bytes of a file, and check that they are those of a checkpoint as it was written.

    Raises:
        CheckpointError: See :func:`load`.
    """
    path = Path(path).expanduser()
    if path.exists() and not path.is_file():  # to read a pipe would wait for ever
        raise CheckpointError(f"{path}: is no file; give a .ckpt file that a run wrote")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; give a .ckpt file that a run wrote") from None
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error.strerror}); give a .ckpt file that a run wrote"
        ) from error
    if not _is_intact(data):
        whole = next((other for other in _beside(path) if is_whole(other)), None)
        advice = "give a .ckpt file that a run wrote" if whole is None else f"whole is {whole}"
        raise CheckpointError(f"{path}: damaged, or not a checkpoint; {advice}")
    return data


def is_whole(path: str | Path) -> bool:
    """Say if a file is a sealed checkpoint whose bytes are as they were written."""
    try:
        data = Path(path).read_bytes() if Path(path).is_file() else b""
    except OSError:
        return False
    return _SEAL in data[-_COMMENT:] and _is_intact(data)


def _is_intact(data: bytes) -> bool:
    end = len(data) - _LENGTH - _COMMENT
    if end >= 0 and data[end : end + 4] == _END:
        sealed, seal = memoryview(data)[:-_COMMENT], data[-_COMMENT:]
        return seal == _SEAL + hashlib.sha256(sealed).hexdigest().encode()
    # of another writer: an archive without a comment, so that nothing of a broken seal is taken for one
    if data[-_LENGTH : 4 - _LENGTH] != _END or data[-2:] != b"\0\0":
        return False
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.testzip() is None
    except _DAMAGES:
        return False


def _keep(path: Path) -> None:
    """Let what is at a path also have the name of the previous one."""
    previous, fresh = path.with_name(f"{path.name}{PREVIOUS}"), partial_name(path)
    # after a kill both may be one file, which rename would leave with a third name
    if not path.exists() or (previous.exists() and previous.samefile(path)):
        return
    if not _is_intact(path.read_bytes()):  # a damaged one must not replace a whole one
        return
    try:
        os.link(path, fresh)
        fresh.replace(previous)
    except OSError:  # a file system without links
        write_atomically(previous, path.read_bytes())


def _beside(path: Path) -> Iterator[Path]:
    """The checkpoint that was there before, then others of the folder, the newest first."""
    yield path.with_name(f"{path.name}{PREVIOUS}")
    with suppress(OSError):
        others = [(file.stat().st_mtime_ns, file) for file in path.parent.glob("*.ckpt") if file != path]
        yield from (file for _, file in sorted(others, reverse=True))


class WholeCheckpoints(TorchCheckpointIO):
    """Lets Lightning write and read checkpoints by :func:`save` and :func:`load`; those of a URL as it would."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """See :func:`save`."""
        if "://" in str(path) or storage_options is not None:
            super().save_checkpoint(checkpoint, path, storage_options)
        else:
            save(path, checkpoint)

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None) -> dict[str, Any]:
        """See :func:`load`."""
        if "://" in str(path):
            return super().load_checkpoint(path, map_location, weights_only)
        content: dict[str, Any] = load(path, weights_only is not False, map_location)
        return content

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint, and what was there before."""
        super().remove_checkpoint(path)
        Path(f"{path}{PREVIOUS}").expanduser().unlink(missing_ok=True)


class CheckedLoading:
    """Lets ``load_from_checkpoint`` of Lightning check the file first."""

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **options: Any) -> Any:
        """Build the object from a checkpoint, see Lightning.

        Raises:
            CheckpointError: If the checkpoint is missing or damaged.
            ConfigError: If it names classes of modules that are not trusted.
        """
        if isinstance(checkpoint_path, (str, Path)) and "://" not in str(checkpoint_path):
            checkpoint_path = Path(checkpoint_path).expanduser()
            read(checkpoint_path)
        with only_trusted({"class_path": f"{cls.__module__}.{cls.__qualname__}"}):
            return super().load_from_checkpoint(checkpoint_path, *args, **options)  # type: ignore[misc]  # Lightning's


class CheckpointedModule(CheckedLoading, pl.LightningModule):
    """Base of all modules of this package: their checkpoints are written whole, and checked before they are read.

    One that is written within an epoch also holds what its metrics have gathered, so that a run goes on from any batch.

    Attributes:
        resumed_batches: Batches of the epoch within which the checkpoint was written that a run goes on from.
    """

    resumed_batches: int | None = None

    def setup(self, stage: str) -> None:
        """Let the trainer write and read checkpoints this way, unless it has a way of its own."""
        strategy = self.trainer.strategy
        if type(strategy.checkpoint_io) is TorchCheckpointIO:
            strategy.checkpoint_io = WholeCheckpoints()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Within an epoch, keep what metrics have gathered; every process must call this."""
        if is_within_epoch(self.trainer):
            checkpoint["metrics"] = metric_states(self)
            checkpoint["batches"] = self.trainer.num_training_batches

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let metrics go on in a fit."""
        if self._trainer is not None and self.trainer.state.fn == "fit":
            restore_metrics(self, checkpoint.get("metrics", {}), self.trainer.is_global_zero)
            self.resumed_batches = checkpoint.get("batches")
