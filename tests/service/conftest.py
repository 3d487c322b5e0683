"""A service with API keys on a real server, shared by the tests of the room."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import httpx
import numpy as np
import pytest

from tests.conftest import voice
from tests.service.toys import PATIENCE, SpectrumEmbedder, encoded, served
from voxangle.service.keys import KeyFile, Scope
from voxangle.service.service import Service
from voxangle.service.settings import Settings
from voxangle.voiceprints.opening import open_store


class Running(NamedTuple):
    """A service that runs.

    Attributes:
        address: of the server.
        keys: its API keys.
        texts: a key of each scope, to be sent.
        service: what answers.
    """

    address: str
    keys: KeyFile
    texts: dict[Scope, str]
    service: Service

    def client(self, scope: Scope = Scope.ADMIN) -> httpx.Client:
        """A client with a key of this scope."""
        headers = {"Authorization": f"Bearer {self.texts[scope]}"}
        return httpx.Client(base_url=f"{self.address}/v1", headers=headers, timeout=PATIENCE)


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service; what a test enrols it names after itself."""
    folder = tmp_path_factory.mktemp("service")
    keys = KeyFile(folder / "keys.json")
    texts = {scope: keys.create([scope])[1] for scope in Scope}
    settings = Settings(
        requests_per_minute=1e6,
        burst=1_000_000,
        timeout=PATIENCE,
        decoders=1,
        seconds=20,
        body_bytes=2**20,
        recordings=4,
    )
    with open_store(folder / "prints.sqlite") as store:
        service = Service(SpectrumEmbedder(), store, keys, settings, hears="level")
        with served(service) as address:
            yield Running(address, keys, texts, service)


@pytest.fixture
def client(running: Running) -> Iterator[httpx.Client]:
    """A client that may do everything."""
    with running.client() as client:
        yield client


@pytest.fixture(scope="session")
def wavs() -> list[list[bytes]]:
    """Files of three made-up voices, three recordings each."""
    return [[encoded(voice(speaker, number, 2.0 + number)) for number in range(3)] for speaker in (0, 1, 5)]


@pytest.fixture(scope="session")
def silence() -> bytes:
    return encoded(np.zeros(32_000, np.float32))
