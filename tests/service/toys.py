"""A model that needs no weights, made-up recordings, and a real server on a free port."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import soundfile
import uvicorn

from voxangle.runtime.card import Calibration, Threshold
from voxangle.runtime.described import Metric
from voxangle.runtime.embedding import BaseEmbedder
from voxangle.service.app import create_app
from voxangle.service.service import Service

BANDS = 24
PATIENCE = 300.0
"""Seconds after which something does not come any more, on a machine however slow and busy."""


def metric(trials: str, name: str, value: float) -> Metric:
    """What a card says of a list of trials."""
    return Metric(
        trials=trials,
        trials_sha256="",
        name=name,
        value=value,
        low=value / 2,
        high=min(2 * value, 1.0),
        targets=30,
        nontargets=300,
        speakers=12,
        definition="made up",
        notes=("Only 12 speakers.", "minDCF is too low."),
    )


class SpectrumEmbedder(BaseEmbedder):
    """Embeds a recording as the shape of its mean spectrum: made-up voices differ by their resonances.

    Attributes:
        batches: how many recordings each batch had.
        free: while it is not set, the model stands still.
        at_work: set once a batch has begun.
    """

    weights_sha256 = "5" * 64

    def __init__(self) -> None:
        self.card: Any = SimpleNamespace(
            name="spectra",
            thresholds=(Threshold(name="eer", value=0.5, source="no trials"),),
            calibration=Calibration(scale=20.0, offset=-14.0, source="no trials"),
            metrics=tuple(
                metric(trials, name, value)
                for trials, name, value in (
                    ("studio", "EER", 0.011),
                    ("studio", "minDCF(0.01)", 0.2),
                    ("street", "EER", 0.31),
                    ("car", "EER", 0.08),
                    ("shop", "EER", 0.12),
                )
            ),
        )
        self.batches: list[int] = []
        self.free, self.at_work = threading.Event(), threading.Event()
        self.free.set()

    @property
    def dimension(self) -> int:
        return BANDS

    def _embed_padded(self, waveforms: np.ndarray, samples: np.ndarray) -> np.ndarray:
        self.batches.append(len(waveforms))
        self.at_work.set()
        self.free.wait()
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
        eventually(lambda: server.started or not thread.is_alive())
        assert server.started
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


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
