"""Debian packages without root: ``apt-get download`` into a cache, ``dpkg-deb -x`` beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from voxangle.corpora.download import ALTERNATIVES, OnProgress
from voxangle.errors import CorpusError, StorageError

__all__ = ["fetch_packages"]

_POLL = 0.2  # seconds between two looks at a growing file
_SPACE = ("No space left on device", "have enough free space")


def fetch_packages(
    names: Iterable[str], folder: str | Path, on_progress: OnProgress | None = None
) -> list[Path]:
    """Download Debian packages and unpack each into ``folder/NAME``.

    A package's folder appears only when it is unpacked whole, and is then never fetched again; a download that
    was cut off goes on from where it stood. apt checks what it downloads against the archive's signed
    checksums. Where the machine's package lists are empty or too old (a fresh container), lists of our own
    are fetched under ``folder``: neither needs root, and nothing outside ``folder`` is written.

    Args:
        names: binary packages.
        folder: where their folders go.
        on_progress: told the package, and the bytes of all downloads of this call.

    Returns:
        The packages' folders, in the order of the names.

    Raises:
        CorpusError: the machine has no apt-get or dpkg-deb, the archive cannot be reached, or it has no such
            package.
        StorageError: the disk is full.
    """
    names, folder = list(names), Path(folder).absolute()
    missing = [name for name in names if not (folder / name).is_dir()]
    if missing:
        for tool in ("apt-get", "dpkg-deb"):
            if shutil.which(tool) is None:
                raise CorpusError(
                    f"{tool} is not on this machine (it comes with Debian, Ubuntu and their kin). {ALTERNATIVES}"
                )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"{folder}: cannot be written ({error.strerror}); choose another folder"
            ) from error
        _fetch(missing, folder, on_progress)
    return [folder / name for name in names]


def _fetch(names: list[str], folder: Path, on_progress: OnProgress | None) -> None:
    archives, lists = folder / ".archives", folder / ".lists"
    apt = _Apt(lists)
    archives.mkdir(exist_ok=True)
    sizes = apt.sizes(names, archives)
    total, done = sum(sizes.values()), 0
    for name in names:
        archive = apt.download(name, archives / name, _watch(name, archives / name, done, total, on_progress))
        _unpack(archive, folder / name)
        shutil.rmtree(archives / name)
        done += sizes[name]
        if on_progress:
            on_progress(name, done, total)
    for scratch in (archives, lists):
        shutil.rmtree(scratch, ignore_errors=True)


class _Apt:
    """apt-get with the machine's package lists, or, once those fail, with fresh ones in a folder of ours."""

    def __init__(self, lists: Path) -> None:
        self._lists = lists
        self._options = ["-q", "-o", "Acquire::Retries=2", "-o", "Acquire::http::Timeout=30"]
        self._updated = False

    def sizes(self, names: list[str], folder: Path) -> dict[str, int]:
        """The size of each package's archive, in bytes; ``folder`` is one without archives, which apt would skip."""
        output = self._run("download", "--print-uris", *names, folder=folder)
        # A line: 'URL' NAME_VERSION_ARCHITECTURE.deb BYTES CHECKSUM
        rows = [line.split() for line in output.splitlines() if line.startswith("'")]
        return {row[1].partition("_")[0]: int(row[2]) for row in rows}

    def download(self, name: str, folder: Path, watch: Callable[[], None]) -> Path:
        """The package's archive, downloaded into a folder of its own."""
        folder.mkdir(parents=True, exist_ok=True)
        self._run("download", name, folder=folder, watch=watch)
        return next(folder.glob(f"{name}_*.deb"))

    def _run(self, *arguments: str, folder: Path, watch: Callable[[], None] | None = None) -> str:
        status, output = _run(["apt-get", *self._options, *arguments], folder, watch)
        if status and not self._updated:
            output = self._update() + output
            status, again = _run(["apt-get", *self._options, *arguments], folder, watch)
            output = output + again if status else again
        if status:
            raise _failure(f"apt-get could not fetch {arguments[-1]}", output)
        return output

    def _update(self) -> str:
        self._updated = True
        (self._lists / "partial").mkdir(parents=True, exist_ok=True)
        own = {
            "Dir::State::Lists": str(self._lists),
            "Dir::Cache": str(self._lists / "cache"),
            "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "",
            "Acquire::Languages": "none",
            # apt's own user could not enter a folder in somebody's home.
            "APT::Sandbox::User": "root",
        }
        for key, value in own.items():
            self._options += ["-o", f"{key}={value}"]
        # An update that reaches only some archives is a success to apt; what is missing shows when downloading.
        return _run(["apt-get", *self._options, "update"], None, None)[1]


def _unpack(archive: Path, folder: Path) -> None:
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        status, output = _run(["dpkg-deb", "-x", str(archive), str(temporary)], None, None)
        if status:
            archive.unlink()
            raise _failure(f"{archive.name} could not be unpacked and is removed", output)
        temporary.chmod(0o755)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _run(command: list[str], folder: Path | None, watch: Callable[[], None] | None) -> tuple[int, str]:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            while True:
                try:
                    status = process.wait(_POLL)
                    break
                except subprocess.TimeoutExpired:
                    if watch:
                        watch()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        log.seek(0)
        return status, log.read()


def _watch(
    name: str, folder: Path, done: int, total: int, on_progress: OnProgress | None
) -> Callable[[], None]:
    def look() -> None:
        if on_progress:
            on_progress(name, done + sum(file.stat().st_size for file in folder.glob("*.deb*")), total)

    return look


def _failure(what: str, output: str) -> CorpusError | StorageError:
    if any(sign in output for sign in _SPACE):
        return StorageError(f"{what}: the disk is full; free some space and run again, what is there is kept")
    causes = [line for line in output.splitlines() if line.startswith(("E:", "W: Failed", "dpkg-deb: error"))]
    # The first failure is the cause (a name that does not resolve), the last what came of it.
    cause = (
        "; ".join(dict.fromkeys([*causes[:1], *causes[-1:]])) or output.strip()[-200:] or "no reason given"
    )
    return CorpusError(f"{what} ({cause}). {ALTERNATIVES}")
