"""Where shards lie: a folder on disk, or anything that fsspec reaches (``s3://``, ``gs://``, ``https://`` ...)."""

from __future__ import annotations

import importlib
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from voxangle.errors import CorpusError, MissingExtraError, StorageError
from voxangle.storage import atomic_write

__all__ = ["Place", "place_of"]

_PAUSES = (0.5, 2.0, 8.0, 30.0)  # seconds before a failed read is tried again


class Place(Protocol):
    """A flat set of named files."""

    @property
    def address(self) -> str:
        """What a person typed for it."""

    def names(self) -> set[str]:
        """The files there; empty where there is no such place."""

    def size(self, name: str) -> int | None:
        """Bytes of a file, None where it is missing."""

    def read(self, name: str, first: int = 0, last: int | None = None) -> bytes:
        """Bytes [first, last) of a file, fewer where it ends.

        Raises:
            FileNotFoundError: there is none.
            OSError: it cannot be read.
        """

    def writing(self, name: str) -> AbstractContextManager[Path]:
        """A local path to write; the file is there, whole, once the block ends well.

        Raises:
            StorageError: the place is full, or cannot be written.
        """

    def remove(self, name: str) -> None:
        """Remove a file."""


def place_of(url: str) -> Place:
    """The place that a path or URL names.

    Raises:
        MissingExtraError: a URL without fsspec.
        CorpusError: fsspec does not know its protocol, or lacks the library for it.
    """
    if url.startswith("file://"):
        url = url.removeprefix("file://")
    if "://" not in url and "::" not in url:
        return _Folder(Path(url))
    try:
        core = importlib.import_module("fsspec.core")
    except ImportError as error:
        raise MissingExtraError(f"storage at {url}", "remote") from error
    try:
        system, path = core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise CorpusError(f"{url}: fsspec cannot reach it ({error})") from error
    return _Remote(url, system, path.rstrip("/"))


class _Folder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def address(self) -> str:
        return str(self._folder)

    def names(self) -> set[str]:
        return {path.name for path in self._folder.iterdir()} if self._folder.is_dir() else set()

    def size(self, name: str) -> int | None:
        try:
            return (self._folder / name).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read(self, name: str, first: int = 0, last: int | None = None) -> bytes:
        with (self._folder / name).open("rb", buffering=0 if last is not None else -1) as file:
            file.seek(first)
            return file.read(-1 if last is None else last - first)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        with atomic_write(self._folder / name) as temporary:
            yield temporary

    def remove(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)


class _Remote:
    def __init__(self, url: str, system: Any, path: str) -> None:
        self._url, self._system, self._path = url, system, path

    @property
    def address(self) -> str:
        return self._url

    def names(self) -> set[str]:
        try:
            return {name.rsplit("/", 1)[-1] for name in self._system.ls(self._path, detail=False)}
        except FileNotFoundError:
            return set()

    def size(self, name: str) -> int | None:
        try:
            size = _patiently(lambda: self._system.size(f"{self._path}/{name}"))
        except FileNotFoundError:
            return None
        return len(self.read(name)) if size is None else int(size)

    def read(self, name: str, first: int = 0, last: int | None = None) -> bytes:
        path = f"{self._path}/{name}"
        if last is None:
            return bytes(_patiently(lambda: self._system.cat_file(path)))[first:]
        content = bytes(_patiently(lambda: self._system.cat_file(path, start=first, end=last)))
        # A server without ranges answers with the whole file.
        return content if len(content) <= last - first else content[first:last]

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        # An object store shows an object once all of it is there; until then it is built on the local disk.
        with tempfile.TemporaryDirectory(prefix="voxangle-") as folder:
            local = Path(folder) / name
            yield local
            try:
                self._system.makedirs(self._path, exist_ok=True)
                self._system.put_file(str(local), f"{self._path}/{name}")
            except (OSError, NotImplementedError) as error:
                raise StorageError(f"{self._url}/{name}: cannot be written ({error})") from error

    def remove(self, name: str) -> None:
        self._system.rm_file(f"{self._path}/{name}")


def _patiently(call: Callable[[], Any]) -> Any:
    """The call's result; a network that fails for a moment is asked again.

    Raises:
        FileNotFoundError, PermissionError: asking again would not help.
        OSError: it failed every time.
    """
    for pause in (*_PAUSES, None):
        try:
            return call()
        except (FileNotFoundError, PermissionError):
            raise
        except Exception as error:  # each protocol's library has errors of its own
            if pause is None:
                raise OSError(f"{type(error).__name__}: {error}") from error
            time.sleep(pause)
    raise AssertionError
