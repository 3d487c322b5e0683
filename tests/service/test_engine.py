"""The model's thread: batches give what single recordings give, and one request's trouble is its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from tests.conftest import voice
from tests.service.toys import SpectrumEmbedder
from voxangle.errors import AudioError
from voxangle.service.engine import Engine


def with_engine(engine: Engine, job: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    async def run() -> Any:
        engine.start()
        try:
            return await job()
        finally:
            await engine.stop()

    return asyncio.run(run())


WAVEFORMS = [voice(number % 5, number, 0.5 + 0.13 * number) for number in range(24)]


@pytest.mark.parametrize("batch_seconds", [0.0, 3.0, 30.0])
def test_many_at_once_get_what_each_gets_alone(batch_seconds: float) -> None:
    alone = [SpectrumEmbedder().embed([waveform])[0] for waveform in WAVEFORMS]
    embedder = SpectrumEmbedder()
    embedder.free.clear()
    engine = Engine(embedder, batch_seconds)

    async def job() -> list[list[Any]]:
        tasks = [asyncio.create_task(engine.embed([waveform])) for waveform in WAVEFORMS]
        await asyncio.sleep(0)  # all have asked
        embedder.free.set()
        return await asyncio.gather(*tasks)

    found = with_engine(engine, job)
    np.testing.assert_allclose(np.concatenate(found), alone, rtol=0, atol=1e-5)
    assert (max(embedder.batches) > 1) is (batch_seconds > 0)
    if batch_seconds:
        assert sum(embedder.batches) == len(WAVEFORMS)


def test_several_waveforms_of_a_request_come_in_their_order() -> None:
    engine = Engine(SpectrumEmbedder(), 30.0)
    found = with_engine(engine, lambda: engine.embed(WAVEFORMS[:5]))
    for vector, waveform in zip(found, WAVEFORMS, strict=False):
        np.testing.assert_allclose(vector, SpectrumEmbedder().embed([waveform])[0], atol=1e-5)


def test_a_recording_without_an_embedding_spoils_no_other() -> None:
    engine = Engine(SpectrumEmbedder(), 30.0)

    async def job() -> list[Any]:
        silent = np.zeros(16_000, np.float32)
        return await asyncio.gather(engine.embed([WAVEFORMS[0], silent]), engine.embed([WAVEFORMS[1]]))

    (good, bad), (other,) = with_engine(engine, job)
    assert isinstance(bad, AudioError)
    assert good.shape == other.shape == (24,)


def test_a_model_that_fails_fails_its_batch_and_goes_on() -> None:
    class Fragile(SpectrumEmbedder):
        def _embed_padded(self, waveforms: np.ndarray, samples: np.ndarray) -> np.ndarray:
            if not self.batches:
                self.batches.append(0)
                raise RuntimeError("out of luck")
            return super()._embed_padded(waveforms, samples)

    engine = Engine(Fragile(), 30.0)

    async def job() -> Any:
        with pytest.raises(RuntimeError, match="out of luck"):
            await engine.embed([WAVEFORMS[0]])
        return await engine.embed([WAVEFORMS[0]])

    assert len(with_engine(engine, job)) == 1


def test_who_left_is_not_computed_and_who_waits_is_served_at_the_end() -> None:
    embedder = SpectrumEmbedder()
    embedder.free.clear()
    engine = Engine(embedder, 0.0)

    async def run() -> list[Any]:
        engine.start()
        tasks = [asyncio.create_task(engine.embed([waveform])) for waveform in WAVEFORMS[:6]]
        await asyncio.to_thread(embedder.at_work.wait)
        for task in tasks[3:5]:
            task.cancel()
        embedder.free.set()
        await engine.stop()  # accepted is accepted
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = asyncio.run(run())
    assert [isinstance(one, asyncio.CancelledError) for one in found] == [False] * 3 + [True] * 2 + [False]
    assert len(embedder.batches) == 4
