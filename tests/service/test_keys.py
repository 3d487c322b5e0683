"""API keys: found where valid, useless to whoever reads the file, revoked at once, never lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from voxangle.errors import StorageError, VoxangleError
from voxangle.service.keys import KeyFile, Scope, scopes


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "kept" / "keys.json")


def test_a_key_is_found_and_allows_its_scopes_alone(keys: KeyFile) -> None:
    key, text = keys.create([Scope.EMBED, Scope.SCORE], "a kiosk")
    found = keys.find(text)
    assert found == key
    assert [scope for scope in Scope if key.allows(scope)] == [Scope.EMBED, Scope.SCORE]
    admin, _ = keys.create([Scope.ADMIN])
    assert all(admin.allows(scope) for scope in Scope)


def test_the_file_holds_no_secret_and_is_its_owners(keys: KeyFile) -> None:
    key, text = keys.create([Scope.EMBED])
    secret = text.split("_", 2)[2]
    content = keys.path.read_text()
    assert key.id in content
    assert secret not in content
    assert keys.path.stat().st_mode & 0o077 == 0


def test_what_is_not_exactly_a_key_is_none(keys: KeyFile) -> None:
    (_, text), (_, other) = keys.create([Scope.EMBED]), keys.create([Scope.EMBED])
    identifier, secret = text[4:12], text[13:]
    wrong = [
        "", "vxa__", text[:-1], text + "A", text.upper(), f" {text}", f"vxa_{other[4:12]}_{secret}", secret,
        f"vxa_00000000_{secret}", f"vxa_{identifier}_{'A' * 43}", "é" * 56, text[:-2] + "..",
    ]  # fmt: skip
    assert [text for text in wrong if keys.find(text) is not None] == []


def test_a_revoked_key_is_refused_by_who_has_read_the_file_before(keys: KeyFile) -> None:
    key, text = keys.create([Scope.EMBED])
    _, kept = keys.create([Scope.EMBED])
    running = KeyFile(keys.path)
    assert running.find(text) is not None
    keys.revoke(key.id)
    assert running.find(text) is None
    assert running.find(kept) is not None
    assert [one.revoked is not None for one in running.known()] == [True, False]
    with pytest.raises(VoxangleError, match="was revoked already"):
        keys.revoke(key.id)
    with pytest.raises(VoxangleError, match="has no key 'nix'"):
        keys.revoke("nix")


def test_keys_made_at_once_are_all_kept(keys: KeyFile) -> None:
    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda _: KeyFile(keys.path).create([Scope.EMBED])[1], range(16)))
    assert all(keys.find(text) for text in texts)


def test_a_damaged_file_lets_nobody_in_and_says_why(keys: KeyFile) -> None:
    _, text = keys.create([Scope.EMBED])
    keys.path.write_text(keys.path.read_text()[:-20])
    with pytest.raises(StorageError, match="no file of API keys, or a damaged one"):
        keys.find(text)
    keys.path.unlink()
    assert keys.find(text) is None


def test_a_key_without_scope_or_with_a_label_of_two_lines_is_not_made(keys: KeyFile) -> None:
    with pytest.raises(VoxangleError, match="this key cannot be made: scopes"):
        keys.create([])
    with pytest.raises(VoxangleError, match="this key cannot be made: label"):
        keys.create([Scope.EMBED], "two\nlines")
    assert keys.known() == ()


def test_scopes_are_told_by_name() -> None:
    assert scopes(["embed", "admin"]) == {Scope.EMBED, Scope.ADMIN}
    with pytest.raises(VoxangleError, match="'verfy' is no scope; did you mean 'verify'"):
        scopes(["verfy"])
