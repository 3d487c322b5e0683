"""Downloads that survive a dropped connection: resumed, checked, and in place only when whole."""

from __future__ import annotations

import errno
import fcntl
import gzip
import hashlib
import http.client
import io
import os
import shutil
import socket
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from voxangle.errors import CorpusError, StorageError

__all__ = [
    "ALTERNATIVES",
    "BrokenArchiveError",
    "OnProgress",
    "Tell",
    "extract_tar",
    "extract_zip",
    "fetch",
    "free_bytes",
    "partial_file",
    "readable_bytes",
    "remote_bytes",
    "wrong_checksum",
]

OnProgress = Callable[[str, int, int | None], None]
"""Called with what is being fetched, the bytes done and the bytes in all (``None`` where unknown)."""

Tell = Callable[[str], None]
"""Called with a sentence for whoever waits: what is about to be fetched, which address failed."""

ALTERNATIVES = (
    "What is already there is kept, so the same command goes on later. Other ways to speech: debian-voices "
    "(by apt-get), mini-librispeech (by download), or a folder of your own recordings; "
    "`voxangle corpora list` shows them all"
)

_BLOCK = 1 << 18
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR})
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error)
_HEADERS = {"User-Agent": "voxangle"}
_WORTH_ANOTHER_TRY = frozenset({408, 425, 429, 500, 502, 503, 504})


class BrokenArchiveError(CorpusError):
    """An archive that cannot be unpacked to its end."""


class _DroppedError(Exception):
    """The transfer stopped; another attempt may go on from where it stood."""


class _RefusedError(Exception):
    """This address will not give the file, however often it is asked."""


def fetch(
    urls: str | Sequence[str],
    destination: str | Path,
    *,
    md5: str | None = None,
    sha256: str | None = None,
    on_progress: OnProgress | None = None,
    tell: Tell | None = None,
    attempts: int = 5,
    pause: float = 1.0,
    timeout: float = 30.0,
) -> Path:
    """Download one file over HTTP(S), going on from a partial one, and rename it into place when it is whole.

    The partial file stands beside the destination (``NAME.part``) and outlives an interruption; the next call
    asks only for the rest (HTTP ``Range``), and starts anew where the server does not support that. A file
    that is already in place, with the right checksum where one is given, is not fetched again.

    Args:
        urls: the address, or mirrors of it in order of preference.
        destination: the file to write; its folder is made.
        md5: the file's MD5 in hexadecimal, if known.
        sha256: the file's SHA-256 in hexadecimal, if known.
        on_progress: told how far the download is.
        tell: told why an address was given up, where another one follows.
        attempts: tries an address in a row without one new byte before the next mirror is asked.
        pause: seconds before the second try; doubled before each further one.
        timeout: seconds without an answer after which a connection counts as dropped.

    Raises:
        CorpusError: no address gave the file, or what they gave has another checksum (the partial file is
            then removed, since no continuation could mend it); or another process is fetching it.
        StorageError: the disk is full, or has less room than is still to come.
    """
    destination = Path(destination)
    checksums = {name: value.lower() for name, value in (("md5", md5), ("sha256", sha256)) if value}
    if destination.is_file() and not wrong_checksum(destination, checksums):
        return destination
    mirrors = [urls] if isinstance(urls, str) else list(urls)
    partial = partial_file(destination)
    failures: list[str] = []
    with _disk_errors(destination):
        destination.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
        with _alone(partial):
            try:
                for url in mirrors:
                    if failures and tell:
                        tell(f"{failures[-1]}; now from {url}")
                    try:
                        _download(url, partial, on_progress, attempts, pause, timeout)
                    except (_RefusedError, _DroppedError) as error:
                        failures.append(f"{url}: {error}")
                        continue
                    if wrong := wrong_checksum(partial, checksums):
                        os.truncate(partial, 0)
                        failures.append(f"{url}: {wrong}; the partial file is removed")
                        continue
                    partial.replace(destination)
                    return destination
            finally:
                if partial.exists() and not _size(partial):
                    partial.unlink()
    raise CorpusError(f"{destination.name} could not be downloaded: {'; '.join(failures)}. {ALTERNATIVES}")


def remote_bytes(urls: Iterable[str], *, timeout: float = 10.0) -> int | None:
    """How large a file is, by the first address that says so (HTTP ``HEAD``); None where none does.

    Args:
        urls: its addresses.
        timeout: seconds to wait for each.
    """
    for url in urls:
        request = urllib.request.Request(url, headers=_HEADERS, method="HEAD")  # noqa: S310 - only asked
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310
                if (length := response.headers.get("Content-Length")) and not _is_page(response):
                    return int(length)
        except (http.client.HTTPException, OSError):
            continue
    return None


def partial_file(destination: Path) -> Path:
    """Where a download grows until it is whole."""
    return destination.with_name(f"{destination.name}.part")


def free_bytes(folder: Path) -> int:
    """The room on the disk of a folder that may have to be made yet."""
    folder = folder.absolute()
    return shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free


def readable_bytes(size: int) -> str:
    """A size in decimal units: ``333 MB``, ``22.3 GB``."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6))} MB"


def extract_tar(
    pieces: str | Path | Sequence[Path],
    folder: str | Path,
    *,
    judge: Callable[[str], None] | None = None,
    on_progress: OnProgress | None = None,
) -> Path:
    """Unpack a ``.tar.gz`` into a new folder, which appears only when all is unpacked.

    Where the archive is in pieces, they are read one after the other, without joining them on the disk. An
    archive that holds nothing but one folder of the new folder's name becomes that, and is not put into it.

    Args:
        pieces: the archive, or the pieces of it in order.
        folder: what to make.
        judge: told the MD5 of the whole before the folder appears; what it raises leaves no folder.
        on_progress: told how far the archive is read.

    Raises:
        BrokenArchiveError: it cannot be read to its end.
        CorpusError: it holds a member that would be written outside the folder; or another process unpacks it.
        StorageError: the disk is full.
    """
    paths = [Path(pieces)] if isinstance(pieces, str | Path) else list(pieces)
    with _unpacking(paths[0], Path(folder)) as temporary, _Joined(paths, on_progress) as joined:
        with gzip.GzipFile(fileobj=joined) as plain, tarfile.open(fileobj=plain, mode="r|") as tar:
            for member in tar:
                tar.extract(member, temporary, filter="data")
                tar.members.clear()  # type: ignore[attr-defined]  # else half a million stay in memory
            # tar stops before the end, where gzip's own checksum is.
            while plain.read(_BLOCK):
                pass
        while joined.read(_BLOCK):
            pass
        if judge:
            judge(joined.md5.hexdigest())
    return Path(folder)


def extract_zip(archive: str | Path, folder: str | Path) -> Path:
    """Unpack a zip archive into a new folder, which appears only when all is unpacked.

    Raises:
        CorpusError: the archive is broken.
        StorageError: the disk is full.
    """
    with _unpacking(Path(archive), Path(folder)) as temporary, zipfile.ZipFile(archive) as file:
        file.extractall(temporary)  # noqa: S202 - zipfile itself keeps every member inside the folder
    return Path(folder)


class _Joined:
    """Files that are read as one, with the MD5 of what was read."""

    def __init__(self, paths: Sequence[Path], on_progress: OnProgress | None) -> None:
        self.md5 = hashlib.md5(usedforsecurity=False)
        self._total = sum(path.stat().st_size for path in paths)
        self._done = 0
        self._what = f"the files in {paths[0].name}"
        self._on_progress = on_progress
        self._rest = iter(paths)
        self._file: io.BufferedReader | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes; none at the end of the last file."""
        while True:
            if self._file and (block := self._file.read(size)):
                self.md5.update(block)
                self._done += len(block)
                if self._on_progress:
                    self._on_progress(self._what, self._done, self._total)
                return block
            if self._file:
                self._file.close()
            path = next(self._rest, None)
            if path is None:
                self._file = None
                return b""
            self._file = path.open("rb")

    def seek(self, position: int) -> object:
        """Not possible: it is read once, from the beginning to the end."""
        raise io.UnsupportedOperation(f"seek to {position}")


@contextmanager
def _unpacking(archive: Path, folder: Path) -> Iterator[Path]:
    """A folder to unpack into, which becomes ``folder`` when all went well and is removed when not."""
    with _disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = folder.with_name(f".{folder.name}.unpacking")
        temporary.mkdir(exist_ok=True)
        with _alone(temporary):
            try:
                for left in temporary.iterdir():  # by a process that was killed
                    shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
                yield temporary
                only = temporary / folder.name
                whole = only if only.is_dir() and len(list(temporary.iterdir())) == 1 else temporary
                whole.chmod(0o755)
                whole.rename(folder)
            except tarfile.FilterError as error:
                raise CorpusError(f"{archive}: not unpacked, a member is unsafe ({error})") from error
            except _BROKEN as error:
                raise BrokenArchiveError(
                    f"{archive}: broken archive ({error}); remove it and fetch the corpus again"
                ) from error
            finally:
                shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep off other processes while a file or a folder is written; the lock goes with the process."""
    handle = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CorpusError(
                f"{path}: another process is writing it; wait until it is done, then run the command again"
            ) from error
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(handle)


def _download(
    url: str, partial: Path, on_progress: OnProgress | None, attempts: int, pause: float, timeout: float
) -> None:
    failed = 0
    while True:
        before = _size(partial)
        try:
            _transfer(url, partial, on_progress, timeout)
        except _DroppedError:
            failed = failed + 1 if _size(partial) <= before else 1
            if failed >= attempts:
                raise
            time.sleep(pause * 2 ** (failed - 1))
        else:
            return


def _transfer(url: str, partial: Path, on_progress: OnProgress | None, timeout: float) -> None:
    if not url.startswith(("http://", "https://")):
        raise _RefusedError("not an http or https address")
    have = _size(partial)
    request = urllib.request.Request(url, headers=_HEADERS)  # noqa: S310 - checked above
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310 - checked above
            if _is_page(response):
                raise _RefusedError("a web page came instead of the file (a login, a proxy?)")
            # A server that ignores Range answers 200 and begins at the beginning.
            done = have if response.status == 206 and _first_byte(response) == have else 0
            if response.status == 206 and done != have:
                os.truncate(partial, 0)
                raise _DroppedError("the server answered with another range than was asked for")
            length = response.headers.get("Content-Length")
            total = done + int(length) if length else None
            _check_room(partial, done, total)
            with partial.open("ab" if done else "wb") as file:
                while block := response.read(_BLOCK):
                    file.write(block)
                    done += len(block)
                    if on_progress:
                        on_progress(partial.stem, done, total)
            # http.client ends a read quietly when the peer hangs up before Content-Length bytes came.
            if total is not None and done < total:
                raise _DroppedError(f"the connection was lost after {done} of {total} bytes")
    except urllib.error.HTTPError as error:
        _judge(error, partial, have)
    except urllib.error.URLError as error:
        if isinstance(error.reason, socket.gaierror):
            # Once bytes have come the name is right, and it is the network that is gone for a while.
            raise (_DroppedError if have else _RefusedError)(
                f"the host name cannot be resolved ({error.reason.strerror}), offline?"
            ) from error
        raise _DroppedError(str(error.reason)) from error
    except (http.client.HTTPException, OSError) as error:
        if isinstance(error, OSError) and error.errno in _FULL | _FORBIDDEN:
            raise
        raise _DroppedError(str(error) or type(error).__name__) from error


def _judge(error: urllib.error.HTTPError, partial: Path, have: int) -> None:
    """Return where the answer means that the partial file is whole; raise what else it means."""
    if error.code == 416 and have:
        if error.headers.get("Content-Range") == f"bytes */{have}":
            return
        os.truncate(partial, 0)
        raise _DroppedError("the partial file did not belong to the server's") from error
    what = f"HTTP {error.code} {error.reason}"
    raise (_DroppedError if error.code in _WORTH_ANOTHER_TRY else _RefusedError)(what) from error


def _check_room(partial: Path, done: int, total: int | None) -> None:
    """Better to say now what would be found out in some hours."""
    to_come = (total or 0) - done
    # What is begun anew takes the place of what is there.
    free = free_bytes(partial.parent) + _size(partial) - done
    if to_come > free:
        raise StorageError(
            f"{partial}: {readable_bytes(to_come)} are still to come, and the disk has room for "
            f"{readable_bytes(free)}; free some space and run again, what was fetched is kept"
        )


def _is_page(response: http.client.HTTPResponse) -> bool:
    """Whether a web page is sent, which no corpus is: somebody in between answers in the server's place."""
    return response.headers.get_content_type() == "text/html"


def _first_byte(response: http.client.HTTPResponse) -> int | None:
    unit, _, span = (response.headers.get("Content-Range") or "").partition(" ")
    first = span.partition("-")[0]
    return int(first) if unit == "bytes" and first.isdigit() else None


def wrong_checksum(path: Path, checksums: Mapping[str, str]) -> str:
    """What is wrong with the file's checksums, by the name of the method; empty where nothing is."""
    for name, expected in checksums.items():
        with path.open("rb") as file:
            found = hashlib.file_digest(file, name).hexdigest()
        if found != expected:
            return f"wrong {name} ({found}, expected {expected})"
    return ""


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageError(
                f"{path}: the disk is full ({os.strerror(error.errno)}); free some space and run again, "
                "what was fetched is kept"
            ) from error
        if error.errno in _FORBIDDEN:
            raise StorageError(
                f"{path}: cannot be written ({error.strerror}); choose another folder"
            ) from error
        raise
