"""Every kind of store, each empty, behind the one interface."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.voiceprints.servers import programs, server
from voxangle.voiceprints import VoiceprintStore
from voxangle.voiceprints.sealing import new_key
from voxangle.voiceprints.sqlite_store import SqliteStore

Opener = Callable[..., VoiceprintStore]
"""Opens the same store once more."""

KINDS = [
    "sqlite",
    "sqlite-sealed",
    "postgres-pgserver",  # which has pgvector
    "postgres-pgserver-sealed",
    "postgres-debian",  # which has not
]


@pytest.fixture(autouse=True)
def own_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test meets the user's store or key."""
    for name in ("VOXANGLE_KEY", "VOXANGLE_NEW_KEY", "VOXANGLE_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VOXANGLE_STORE", str(tmp_path / "prints.sqlite"))


@pytest.fixture(autouse=True)
def speech(made_up_voices_are_speech: None) -> None:
    """All that sounds, but where a test asks for silero-vad."""


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[str], str]]:
    """Addresses of real servers, each started when the first test asks for it."""
    from contextlib import ExitStack

    started: dict[str, str] = {}
    with ExitStack() as stack:

        def address(origin: str) -> str:
            if origin not in started:
                pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")
                found = programs()
                if origin not in found:
                    pytest.skip(f"no PostgreSQL server from {origin} here")
                started[origin] = stack.enter_context(server(found[origin]))
            return started[origin]

        yield address


@pytest.fixture
def postgres(servers: Callable[[str], str]) -> Callable[[str], str]:
    """Addresses of databases without a store."""

    def address(origin: str) -> str:
        import psycopg

        with psycopg.connect(servers(origin), autocommit=True) as connection:
            connection.execute("SET client_min_messages = warning")
            connection.execute("DROP SCHEMA IF EXISTS voxangle CASCADE")
        return servers(origin)

    return address


def opener_of(kind: str, tmp_path: Path, postgres: Callable[[str], str]) -> Opener:
    base, _, rest = kind.partition("-")
    key = None
    if kind.endswith("sealed"):
        pytest.importorskip("cryptography", reason="the extra 'encryption' is not installed")
        key = new_key()
    if base == "sqlite":
        return lambda **given: SqliteStore(tmp_path / "prints.sqlite", **{"key": key, **given})
    address = postgres(rest.removesuffix("-sealed"))
    from voxangle.voiceprints.postgres_store import PostgresStore

    return lambda **given: PostgresStore(address, **{"key": key, **given})


@pytest.fixture(params=KINDS)
def opener(request: pytest.FixtureRequest, tmp_path: Path, postgres: Callable[[str], str]) -> Opener:
    return opener_of(request.param, tmp_path, postgres)


@pytest.fixture
def store(opener: Opener) -> Iterator[VoiceprintStore]:
    with opener() as opened:
        yield opened
