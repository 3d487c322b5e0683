"""What is sealed cannot be read, moved or changed without the key."""

from __future__ import annotations

import base64
import sqlite3
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="the extra 'encryption' is not installed")

from tests.voiceprints.toys import MODEL, recording, vector
from voxangle.errors import MissingExtraError, StoreKeyError
from voxangle.voiceprints import open_store
from voxangle.voiceprints.sealing import Sealed, new_key
from voxangle.voiceprints.sqlite_store import SqliteStore


def content(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_what_was_sealed_opens_in_its_place_with_its_key_alone() -> None:
    key = new_key()
    sealed = Sealed(key)
    kept = sealed.seal(b"a voice", "here")
    assert Sealed(key).open(kept, "here") == b"a voice"
    assert kept != sealed.seal(b"a voice", "here")
    for other, place, what in (
        (Sealed(new_key()), "here", kept),
        (sealed, "there", kept),
        (sealed, "here", kept[:-1] + bytes([kept[-1] ^ 1])),
        (sealed, "here", b""),
    ):
        with pytest.raises(StoreKeyError, match="does not open with the key"):
            other.open(what, place)
    assert Sealed(key).key_id == sealed.key_id != Sealed(new_key()).key_id
    assert sealed.key_id not in key


@pytest.mark.parametrize("key", ["", "short", "ü" * 44, base64.b64encode(b"x" * 31).decode()])
def test_a_malformed_key_is_told_and_not_shown(key: str) -> None:
    with pytest.raises(StoreKeyError, match="32 bytes in base64") as told:
        Sealed(key)
    assert not key or key not in str(told.value)


def test_a_sealed_store_shows_neither_vectors_nor_references(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = [vector(1).tobytes(), recording(1).reference.sha256.encode(), b"voice-1-0.wav"]
    path = tmp_path / "clear" / "prints.sqlite"
    path.parent.mkdir()
    with SqliteStore(path) as store:
        store.enrol("ada", MODEL, [recording(1)], actor="me")
        assert all(secret in content(path) for secret in secrets)
        store.rotate(new_key(), actor="me")
        # What was in clear before is gone from the file, too.
        assert not [secret for secret in secrets if secret in content(path)]
    path = tmp_path / "sealed" / "prints.sqlite"
    path.parent.mkdir()
    monkeypatch.setenv("VOXANGLE_KEY", new_key())
    with open_store(path) as store:
        store.enrol("ada", MODEL, [recording(1)], actor="me")
        assert not [secret for secret in secrets if secret in content(path)]
    monkeypatch.delenv("VOXANGLE_KEY")
    with pytest.raises(
        StoreKeyError, match=r"is encrypted with the key [0-9a-f]{16}; put it into \$VOXANGLE_KEY"
    ):
        open_store(path)


def test_a_vector_that_was_moved_to_another_person_does_not_open(tmp_path: Path) -> None:
    key = new_key()
    path = tmp_path / "prints.sqlite"
    with SqliteStore(path, key=key) as store:
        store.enrol("ada", MODEL, [recording(1)], actor="me")
        store.enrol("eve", MODEL, [recording(2)], actor="me")
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(
        "UPDATE prints SET mean = (SELECT mean FROM prints WHERE name = 'eve') WHERE name = 'ada'"
    )
    connection.close()
    with SqliteStore(path, key=key) as store, pytest.raises(StoreKeyError, match="mean of voiceprint"):
        store.get("ada", MODEL)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cryptography", "cryptography.hazmat.primitives.ciphers.aead"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(MissingExtraError, match="'encryption' extra"):
        Sealed(new_key())


def test_a_store_in_clear_and_a_key_do_not_go_together(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "prints.sqlite").close()
    with pytest.raises(StoreKeyError, match=r"is not encrypted, but \$VOXANGLE_KEY holds a key: unset"):
        SqliteStore(tmp_path / "prints.sqlite", key=new_key())
