"""Writing files so that a kill or a full disk never leaves a broken one behind."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from voxangle.errors import StorageError

__all__ = ["append_line", "atomic_write", "cache_folder", "held", "writable_folder"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_NOT_WRITABLE = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENOENT,
}


def cache_folder() -> Path:
    """Where corpora and prepared audio go: ``$VOXANGLE_CACHE``, else ``$XDG_CACHE_HOME/voxangle``."""
    if explicit := os.environ.get("VOXANGLE_CACHE"):
        return Path(explicit)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "voxangle"


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success sync it to disk and rename it into place.

    On any failure the temporary file goes and ``path`` stays as it was.

    Raises:
        StorageError: the disk is full, or the folder cannot be written.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        # Through a link its target is written; a device or a pipe is nothing to be replaced by a file.
        path = path.resolve()
        if path.exists() and not path.is_file():
            raise FileExistsError(errno.EEXIST, "not a regular file")
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        temporary = Path(name)
        os.close(handle)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        # NumPy reports a short write without a number.
        if error.errno in _FULL or error.errno is None:
            raise StorageError(
                f"{path}: the disk is full; what was there before is untouched. Free some space and run again"
            ) from error
        if error.errno in _NOT_WRITABLE:
            raise StorageError(
                f"{path}: cannot be written ({error.strerror}); choose another folder"
            ) from error
        raise
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def writable_folder(folder: str | Path) -> Path:
    """The folder, made if missing.

    Raises:
        StorageError: it cannot be made, or not be written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise StorageError(
            f"{folder}: cannot be written ({error.strerror}); choose another folder"
        ) from error


def append_line(path: Path, line: str) -> None:
    """Append a line to a file.

    Raises:
        StorageError: the disk is full, or the file cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as error:
        why = "the disk is full" if error.errno in _FULL else f"cannot be written ({error.strerror})"
        raise StorageError(f"{path}: {why}; free some space and run again") from error


@contextmanager
def held(lock: Path) -> Iterator[bool]:
    """Hold a lock for this process, which is let go with the process; false where another one holds it.

    Args:
        lock: a file that exists for this alone; made where it is missing.
    """
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    # The rename itself is durable only once the folder is on disk.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
