"""Downloads that survive a dropped connection: resumed, checked, and in place only when whole."""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import shutil
import socket
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from voxangle.errors import CorpusError, StorageError

__all__ = ["ALTERNATIVES", "OnProgress", "extract_tar", "extract_zip", "fetch"]

OnProgress = Callable[[str, int, int | None], None]
"""Called with what is being fetched, the bytes done and the bytes in all (``None`` where unknown)."""

ALTERNATIVES = (
    "What is already there is kept, so the same command goes on later. Other ways to speech: debian-voices "
    "(by apt-get), mini-librispeech (by download), or a folder of your own recordings; "
    "`voxangle corpora list` shows them all"
)

_BLOCK = 1 << 18
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR})
_WORTH_ANOTHER_TRY = frozenset({408, 425, 429, 500, 502, 503, 504})


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
        attempts: tries an address in a row without one new byte before the next mirror is asked.
        pause: seconds before the second try; doubled before each further one.
        timeout: seconds without an answer after which a connection counts as dropped.

    Raises:
        CorpusError: no address gave the file, or what they gave has another checksum (the partial file is
            then removed, since no continuation could mend it).
        StorageError: the disk is full.
    """
    destination = Path(destination)
    checksums = {name: value.lower() for name, value in (("md5", md5), ("sha256", sha256)) if value}
    if destination.is_file() and not _wrong_checksum(destination, checksums):
        return destination
    mirrors = [urls] if isinstance(urls, str) else list(urls)
    partial = destination.with_name(f"{destination.name}.part")
    failures = []
    with _disk_errors(destination):
        destination.parent.mkdir(parents=True, exist_ok=True)
        for url in mirrors:
            try:
                _download(url, partial, on_progress, attempts, pause, timeout)
            except (_RefusedError, _DroppedError) as error:
                failures.append(f"{url}: {error}")
                continue
            if wrong := _wrong_checksum(partial, checksums):
                partial.unlink()
                failures.append(f"{url}: {wrong}; the partial file is removed")
                continue
            partial.replace(destination)
            return destination
    raise CorpusError(f"{destination.name} could not be downloaded: {'; '.join(failures)}. {ALTERNATIVES}")


def extract_tar(archive: str | Path, folder: str | Path) -> Path:
    """Unpack a tar archive (compressed or not) into a new folder, which appears only when all is unpacked.

    Raises:
        CorpusError: the archive is broken, or holds a member that would be written outside the folder.
        StorageError: the disk is full.
    """
    with _unpacking(Path(archive), Path(folder)) as temporary, tarfile.open(archive) as tar:
        tar.extractall(temporary, filter="data")
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


@contextmanager
def _unpacking(archive: Path, folder: Path) -> Iterator[Path]:
    """A folder to unpack into, which becomes ``folder`` when all went well and is removed when not."""
    with _disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            yield temporary
            temporary.chmod(0o755)
            temporary.rename(folder)
        except tarfile.FilterError as error:
            raise CorpusError(f"{archive}: not unpacked, a member is unsafe ({error})") from error
        except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error) as error:
            raise CorpusError(
                f"{archive}: broken archive ({error}); remove it and fetch the corpus again"
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


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
    request = urllib.request.Request(url, headers={"User-Agent": "voxangle"})  # noqa: S310 - checked above
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310 - checked above
            # A server that ignores Range answers 200 and begins at the beginning.
            done = have if response.status == 206 and _first_byte(response) == have else 0
            if response.status == 206 and done != have:
                partial.unlink()
                raise _DroppedError("the server answered with another range than was asked for")
            length = response.headers.get("Content-Length")
            total = done + int(length) if length else None
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
            raise _RefusedError(
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
        partial.unlink()
        raise _DroppedError("the partial file did not belong to the server's") from error
    what = f"HTTP {error.code} {error.reason}"
    raise (_DroppedError if error.code in _WORTH_ANOTHER_TRY else _RefusedError)(what) from error


def _first_byte(response: http.client.HTTPResponse) -> int | None:
    unit, _, span = (response.headers.get("Content-Range") or "").partition(" ")
    first = span.partition("-")[0]
    return int(first) if unit == "bytes" and first.isdigit() else None


def _wrong_checksum(path: Path, checksums: dict[str, str]) -> str:
    """What is wrong with the file's checksum; empty where nothing is."""
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
