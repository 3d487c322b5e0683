"""A real PostgreSQL server of the tests' own: from PyPI's ``pgserver`` (it has pgvector), or Debian's packages."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Programs", "programs", "server"]

Programs = Path
"""The folder with ``initdb`` and ``pg_ctl``."""


def programs() -> dict[str, Programs]:
    """What servers are installed here, by where they came from."""
    found = {}
    wheel = importlib.util.find_spec("pgserver")
    if wheel is not None and wheel.origin is not None:
        found["pgserver"] = Path(wheel.origin).parent / "pginstall" / "bin"
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if debian:
        found["debian"] = debian[-1].parent
    return {name: folder for name, folder in found.items() if (folder / "initdb").exists()}


@contextmanager
def server(folder: Programs) -> Iterator[str]:
    """A server in a folder of its own, reached by a socket only; the address of its database."""
    memory = Path("/dev/shm")
    home = Path(tempfile.mkdtemp(prefix="voxangle-pg-", dir=memory if memory.is_dir() else "/tmp"))
    user = None
    if os.geteuid() == 0:
        # A server refuses to run as root.
        user = next(name for name in ("postgres", "nobody") if _exists(name))
        shutil.chown(home, user)
        folder = _reachable(folder, home)
    try:
        options = ["--auth=trust", "--username=voxangle", "--no-sync", "--encoding=UTF8", "--no-locale"]
        _run(user, folder / "initdb", "-D", home / "data", *options)
        settings = f"-k {home} -c listen_addresses='' -c fsync=off -c shared_buffers=32MB"
        start = ["-w", "-o", settings, "-l", home / "log", "start"]
        _run(user, folder / "pg_ctl", "-D", home / "data", *start)
        try:
            yield f"postgresql://voxangle@/postgres?host={home}"
        finally:
            _run(user, folder / "pg_ctl", "-D", home / "data", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _reachable(folder: Programs, home: Path) -> Programs:
    """The programs where another user than root may run them: copied, where root's own folders are around them."""
    if all(above.stat().st_mode & 0o001 for above in (folder, *folder.parents)):
        return folder
    package = folder.parents[1]
    shutil.copytree(package, home / package.name, symlinks=True)
    if (
        libraries := package.with_name(f"{package.name}.libs")
    ).exists():  # where the wheel's programs look for them
        shutil.copytree(libraries, home / libraries.name)
    return home / folder.relative_to(package.parent)


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _run(user: str | None, *command: object) -> None:
    done = subprocess.run(
        [str(word) for word in command],
        user=user,
        cwd="/tmp",
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr}")
