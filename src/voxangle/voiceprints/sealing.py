"""Encryption at rest: what a store keeps of vectors and references, in clear or sealed with a key.

AES-256 in Galois/counter mode (NIST SP 800-38D): whoever has no key reads nothing and changes nothing unnoticed. Each
content has a nonce of 96 bits drawn at random, which is safe for 2^32 contents a key, and is bound to its place (the id
of its print and what it is), so that it opens nowhere else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from typing import Protocol

from voxangle.errors import MissingExtraError, StoreKeyError

__all__ = ["KEY_VARIABLE", "Clear", "Sealed", "Sealing", "new_key", "sealing_for"]

KEY_VARIABLE = "VOXANGLE_KEY"
"""The environment variable that holds a store's key."""

_KEY_BYTES = 32
_NONCE_BYTES = 12


class Sealing(Protocol):
    """How contents are kept."""

    @property
    def key_id(self) -> str | None:
        """Which key it is, without telling it; None without one."""

    def seal(self, content: bytes, place: str, /) -> bytes:
        """What to keep of a content."""

    def open(self, kept: bytes, place: str, /) -> bytes:
        """The content again.

        Raises:
            StoreKeyError: it was sealed with another key or for another place, or was changed.
        """


class Clear:
    """Contents as they are."""

    key_id: str | None = None

    def seal(self, content: bytes, _place: str) -> bytes:
        """The content."""
        return content

    def open(self, kept: bytes, _place: str) -> bytes:
        """What was kept."""
        return kept


class Sealed:
    """Contents encrypted.

    Args:
        key: 32 bytes in base64.

    Raises:
        StoreKeyError: the key is malformed.
        MissingExtraError: ``cryptography`` is not installed.
    """

    def __init__(self, key: str) -> None:
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ModuleNotFoundError as error:
            raise MissingExtraError("an encrypted store", "encryption") from error
        content = _decoded(key)
        self._cipher = AESGCM(content)
        self.key_id: str | None = hashlib.sha256(b"voxangle voiceprints\0" + content).hexdigest()[:16]

    def seal(self, content: bytes, place: str) -> bytes:
        """Nonce, ciphertext and tag, 28 bytes longer than the content."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, content, place.encode())

    def open(self, kept: bytes, place: str) -> bytes:
        """The content again."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(kept[:_NONCE_BYTES], kept[_NONCE_BYTES:], place.encode())
        except (InvalidTag, ValueError) as error:
            raise StoreKeyError(
                f"the {place} does not open with the key {self.key_id}: it was changed, or sealed with another"
            ) from error


def sealing_for(key: str | None) -> Sealing:
    """By the key, or in clear without one."""
    return Clear() if key is None else Sealed(key)


def new_key() -> str:
    """A key drawn at random, in base64."""
    return base64.b64encode(os.urandom(_KEY_BYTES)).decode()


def _decoded(key: str) -> bytes:
    try:
        content = base64.b64decode(key.strip(), validate=True)
    except (binascii.Error, ValueError):
        content = b""
    if len(content) != _KEY_BYTES:
        raise StoreKeyError(
            f"a key is {_KEY_BYTES} bytes in base64, 44 characters; this is not one. `voxangle voiceprints new-key` "
            "draws one"
        )
    return content
