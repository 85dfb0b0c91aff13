"""Files that appear whole or not at all."""

import errno
import os
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from sparsenas.errors import ConfigError

#: What a disk without room says.
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_ENDING = ".partial"
#: Seconds after which a partial file of a process that is no more is left over.
OLD = 600.0


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write a file under a temporary name beside its place, wait until it is on the disk, then rename it.

    What a killed writer on this machine has left of the same file is removed.

    Raises:
        ConfigError: If the folder is missing, full or cannot be written; the message names the file, and what was
            there before is still there.
    """
    path = Path(path)
    partial = partial_name(path)
    try:
        remove_leftovers(path)
        partial.unlink(missing_ok=True)  # it may be another name of a file that is to stay
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise ConfigError(f"{path}: {why_not_written(error)}") from error


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder, which must be there, as long as this process works in it; its end in any way lets go.

    Raises:
        ConfigError: If another process holds it; the message names that.
    """
    holder, lock = folder / ".holder", FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        who = "another process"
        with suppress(OSError):
            who = holder.read_text(encoding="utf-8")
        raise ConfigError(f"{folder}: is in use by {who}; wait for it, or name another folder") from None
    except OSError as error:
        raise ConfigError(
            f"{folder}: its file system locks no file ({error.strerror or error}); name a folder on another one"
        ) from error
    try:
        now = datetime.now().astimezone().isoformat(" ", "seconds")
        write_atomically(holder, f"process {os.getpid()} of {platform.node()}, since {now}".encode())
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def partial_name(path: Path) -> Path:
    """Name beside a file under which this process writes it."""
    return path.with_name(f"{_prefix(path)}{os.getpid()}{_ENDING}")


def why_not_written(error: OSError) -> str:
    """Say why something cannot be written, and what would be right."""
    advice = "free some space" if error.errno in FULL else "name a file in an existing, writable folder"
    return f"cannot write ({error.strerror or error}); {advice}"


def _prefix(path: Path) -> str:
    return f".{path.name}.{platform.node()}."


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes of this machine have left of a file or folder."""
    for name in os.listdir(path.parent):
        pid = name.removeprefix(_prefix(path)).removesuffix(_ENDING)
        left = path.with_name(name)
        if name == f"{_prefix(path)}{pid}{_ENDING}" and pid.isdecimal() and not _is_alive(int(pid)) and _is_old(left):
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)


def _is_old(path: Path) -> bool:
    """True for what nobody writes any more: containers may share a name, and not their processes."""
    with suppress(OSError):
        return time.time() - path.stat().st_mtime > OLD
    return False


def _is_alive(pid: int) -> bool:
    if os.name == "nt":  # where signal 0 is no question
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is another user's
        return True
    return True
