"""API keys: what a caller may do, kept so that who reads the file cannot call.

A key is ``vxa_ID_SECRET``: the id is public and stands in logs; the secret is 32 random bytes, of which the file has
only the SHA-256. A slow hash (scrypt, argon2) protects secrets that people choose, because those can be guessed; 256
random bits cannot, so that slowness would buy nothing and would let anyone keep the service busy with wrong keys.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from voxangle.config import Config, first_problem
from voxangle.errors import StorageError, VoxangleError, nearest
from voxangle.storage import atomic_write, writable_folder

__all__ = ["ApiKey", "KeyFile", "Scope", "scopes"]

_KEY = re.compile(r"vxa_([0-9a-f]{8})_([A-Za-z0-9_-]{43})")
_NO_SECRET = "0" * 64  # what a secret is compared with where there is none, so that both take the same time


class Scope(StrEnum):
    """What a key allows."""

    EMBED = "embed"
    SCORE = "score"
    ENROL = "enrol"
    VERIFY = "verify"
    IDENTIFY = "identify"
    DELETE = "delete"
    METRICS = "metrics"
    ADMIN = "admin"
    """All of the others, and to list and show voiceprints."""


class ApiKey(Config):
    """A key as it is kept.

    Attributes:
        id: public; it stands in logs.
        label: for a person: who has it.
        scopes: what it allows.
        sha256: of the secret, in hexadecimal.
        created: when.
        revoked: when; None while it is valid.
    """

    id: str = Field(pattern="^[0-9a-f]{8}$")
    label: Annotated[str, Field(max_length=100, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")] = ""
    scopes: frozenset[Scope] = Field(min_length=1)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    created: datetime
    revoked: datetime | None = None

    def allows(self, scope: Scope) -> bool:
        """Whether the key may do this."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


class _Kept(Config):
    format: int = Field(default=1, ge=1, le=1)
    keys: tuple[ApiKey, ...] = ()


class KeyFile:
    """The keys of a service, in a file that only its owner reads.

    The file is read again when it was written, so that a revoked key is refused by services that run.

    Args:
        path: of the file; it need not be there yet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._read_at: tuple[int, int, int] | None = None
        self._by_id: dict[str, ApiKey] = {}

    def create(self, scopes: Iterable[Scope], label: str = "") -> tuple[ApiKey, str]:
        """Make a key; the text that a caller has to send is returned here and never again.

        Raises:
            VoxangleError: there is no scope, or the label is no line of text.
            StorageError: the file cannot be read or written.
        """
        secret = secrets.token_urlsafe(32)
        with self._locked():
            known = self._load()
            identifier = secrets.token_hex(4)
            while identifier in known:
                identifier = secrets.token_hex(4)
            try:
                key = ApiKey(
                    id=identifier,
                    label=label,
                    scopes=frozenset(scopes),
                    sha256=_hashed(secret),
                    created=_now(),
                )
            except ValidationError as error:
                raise VoxangleError(f"this key cannot be made: {first_problem(error)}") from error
            self._write([*known.values(), key])
        return key, f"vxa_{identifier}_{secret}"

    def revoke(self, identifier: str) -> ApiKey:
        """Make a key useless, at once and for good.

        Raises:
            VoxangleError: there is no key of this id, or it was revoked before.
            StorageError: the file cannot be read or written.
        """
        with self._locked():
            known = self._load()
            key = known.get(identifier)
            if key is None:
                raise VoxangleError(
                    f"{self.path}: has no key '{identifier}'"
                    + (nearest(identifier, known) if known else "; it has none at all")
                )
            if key.revoked is not None:
                raise VoxangleError(
                    f"key '{identifier}' was revoked already, {key.revoked:%Y-%m-%d %H:%M} UTC"
                )
            known[identifier] = key = key.model_copy(update={"revoked": _now()})
            self._write(known.values())
        return key

    def known(self) -> tuple[ApiKey, ...]:
        """All of them, revoked ones too, oldest first.

        Raises:
            StorageError: the file cannot be read.
        """
        self._refresh()
        return tuple(self._by_id.values())

    def find(self, text: str) -> ApiKey | None:
        """The key that a caller sent, if it is valid; how long that takes says nothing about why it is not.

        Raises:
            StorageError: the file cannot be read.
        """
        self._refresh()
        parts = _KEY.fullmatch(text)
        identifier, secret = parts.groups() if parts else ("", "")
        key = self._by_id.get(identifier)
        same = hmac.compare_digest(_hashed(secret), key.sha256 if key else _NO_SECRET)
        return key if key is not None and same and key.revoked is None else None

    def _refresh(self) -> None:
        try:
            now = self.path.stat()
        except FileNotFoundError:
            self._by_id, self._read_at = {}, None
            return
        except OSError as error:
            raise StorageError(f"{self.path}: cannot be read ({error.strerror})") from error
        # Every write makes another file, so that its number tells what a clock might not.
        seen = (now.st_ino, now.st_mtime_ns, now.st_size)
        if seen != self._read_at:
            self._by_id = self._load()
            self._read_at = seen

    def _load(self) -> dict[str, ApiKey]:
        try:
            kept = _Kept.model_validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StorageError(f"{self.path}: cannot be read ({error.strerror})") from error
        except ValidationError as error:
            raise StorageError(
                f"{self.path}: no file of API keys, or a damaged one ({first_problem(error, 'content')}); put it "
                "back from a copy, or move it away and create keys anew"
            ) from error
        return {key.id: key for key in kept.keys}

    def _write(self, keys: Iterable[ApiKey]) -> None:
        content = _Kept(keys=tuple(keys)).model_dump_json(indent=2) + "\n"
        with _private(), atomic_write(self.path) as temporary:
            temporary.write_text(content)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Two who write at once would lose one key; a service that reads waits for nobody."""
        folder = writable_folder(self.path.absolute().parent)
        with (folder / f".{self.path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def scopes(names: Iterable[str]) -> frozenset[Scope]:
    """Scopes by name.

    Raises:
        VoxangleError: one is not known.
    """
    found = set()
    for name in names:
        try:
            found.add(Scope(name))
        except ValueError as error:
            raise VoxangleError(f"'{name}' is no scope{nearest(name, Scope)}") from error
    return frozenset(found)


@contextmanager
def _private() -> Iterator[None]:
    """Files made meanwhile are for their owner alone."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
