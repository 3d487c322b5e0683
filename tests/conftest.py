"""What every test shares: quiet threads, fixed seeds, the real corpora where they are."""

from __future__ import annotations

import os
from pathlib import Path

# Two spinning OpenMP threads collapse beside another busy process; to be set before torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest

SHARED_CORPORA = Path(__file__).resolve().parents[2] / "shared" / "corpora"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own: no test reads or writes the user's."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("VOXANGLE_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def shared_corpora() -> Path:
    """The folder of real speech beside the checkout; the test skips where it is missing."""
    if not (SHARED_CORPORA / "utterances.csv").exists():
        pytest.skip(f"no real speech at {SHARED_CORPORA}")
    return SHARED_CORPORA
