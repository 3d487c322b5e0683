"""A model that needs no weights, made-up recordings, and a real server on a free port."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import soundfile
import uvicorn

from voxangle.runtime.card import Calibration, Threshold
from voxangle.runtime.embedding import BaseEmbedder
from voxangle.service.app import create_app
from voxangle.service.service import Service

BANDS = 24


class SpectrumEmbedder(BaseEmbedder):
    """Embeds a recording as the shape of its mean spectrum: made-up voices differ by their resonances.

    Attributes:
        batches: how many recordings each batch had.
        pause: seconds that a batch takes.
    """

    weights_sha256 = "5" * 64

    def __init__(self, pause: float = 0.0) -> None:
        self.card: Any = SimpleNamespace(
            name="spectra",
            thresholds=(Threshold(name="eer", value=0.5, source="no trials"),),
            calibration=Calibration(scale=20.0, offset=-14.0, source="no trials"),
        )
        self.batches: list[int] = []
        self.pause = pause

    @property
    def dimension(self) -> int:
        return BANDS

    def _embed_padded(self, waveforms: np.ndarray, samples: np.ndarray) -> np.ndarray:
        self.batches.append(len(waveforms))
        time.sleep(self.pause)
        return np.stack([self._one(row[:count]) for row, count in zip(waveforms, samples, strict=True)])

    def _one(self, waveform: np.ndarray) -> np.ndarray:
        frames = np.lib.stride_tricks.sliding_window_view(waveform, 512)[::256]
        power = np.square(np.abs(np.fft.rfft(frames * np.hanning(512)))).mean(axis=0)
        bands = np.log([part.mean() + 1e-9 for part in np.array_split(power[1:129], BANDS)])
        return (bands - bands.mean()).astype(np.float32)


def encoded(
    waveform: np.ndarray, rate: int = 16_000, container: str = "WAV", subtype: str | None = None
) -> bytes:
    """A file's bytes."""
    file = io.BytesIO()
    soundfile.write(file, waveform, rate, format=container, subtype=subtype)
    return file.getvalue()


@contextmanager
def served(service: Service) -> Iterator[str]:
    """A real server on a free port, in a thread; its address."""
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(service), port=0, log_config=None, access_log=False, timeout_graceful_shutdown=5
        )
    )
    thread = threading.Thread(target=asyncio.run, args=(server.serve(),))
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def problem(answer: httpx.Response) -> str:
    """The code of a problem, once it is one in every respect."""
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status_code
    assert body["request"] == answer.headers["x-request-id"]
    assert body["type"] == f"urn:voxangle:problem:{body['code']}"
    assert body["title"]
    assert body["detail"].endswith((".", "!"))
    assert body["cure"]
    code: str = body["code"]
    return code
