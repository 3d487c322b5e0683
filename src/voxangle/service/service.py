"""All that a running service is made of, and how it starts and ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from voxangle.runtime.embedding import BaseEmbedder
from voxangle.runtime.speech import Hearing
from voxangle.service.access import Access
from voxangle.service.decoding import Decoders
from voxangle.service.engine import Engine
from voxangle.service.hearing import Ear
from voxangle.service.keys import KeyFile
from voxangle.service.logs import event
from voxangle.service.meters import Meters
from voxangle.service.problems import ProblemError
from voxangle.service.rate import Buckets
from voxangle.service.settings import Settings
from voxangle.voiceprints.store import Model, VoiceprintStore

__all__ = ["Service"]


class Service:
    """A model, a store of voiceprints, and what lets many ask at once.

    Args:
        embedder: the model, loaded from a file.
        store: of voiceprints; it stays open when the service ends.
        keys: of callers; None for a service that is open to its own machine.
        settings: limits and sizes.
        hears: what tells speech from other sound.

    Raises:
        VoiceprintError: the model was not loaded from a file.
    """

    def __init__(
        self,
        embedder: BaseEmbedder,
        store: VoiceprintStore,
        keys: KeyFile | None,
        settings: Settings | None = None,
        hears: Hearing = "silero-vad",
    ) -> None:
        self.settings = settings = settings or Settings()
        self.embedder = embedder
        self.store = store
        self.hears = hears
        self.model = Model.of(embedder)
        self.meters = Meters()
        self.access = Access(keys, Buckets(settings.requests_per_minute, settings.burst))
        self.engine = Engine(embedder, settings.batch_seconds, self.meters.batch)
        self._decoders = Decoders(
            settings.decoders, settings.seconds, settings.timeout, hears, self._restarted
        )
        self.ear = Ear(settings, self._decoders, self.engine, self.meters)
        self.ready = False
        self._under_way = 0
        self._streams = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start, and at the end finish what was accepted."""
        self.engine.start()
        try:
            await self._decoders.start()
            self.ready = True
            yield
        finally:
            self.ready = False
            await self.engine.stop()
            await self._decoders.stop()

    @asynccontextmanager
    async def room(self) -> AsyncIterator[None]:
        """Room for a request with audio, which is refused where too many are under way.

        Raises:
            ProblemError: there is none.
        """
        if self._under_way >= self.settings.waiting:
            raise ProblemError(
                "busy",
                f"{self._under_way} requests are under way, and no more are taken.",
                "Come again in a moment.",
                retry_after=1,
            )
        self._under_way += 1
        self.meters.under_way.set(self._under_way)
        try:
            yield
        finally:
            self._under_way -= 1
            self.meters.under_way.set(self._under_way)

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[None]:
        """Room for a stream.

        Raises:
            ProblemError: there is none.
        """
        if self._streams >= self.settings.streams:
            raise ProblemError(
                "busy", f"{self._streams} streams are open already.", "Come again in a moment.", retry_after=5
            )
        self._streams += 1
        self.meters.streams.set(self._streams)
        try:
            yield
        finally:
            self._streams -= 1
            self.meters.streams.set(self._streams)

    async def check_ready(self) -> None:
        """Whether requests can be answered.

        Raises:
            ProblemError: the service starts or ends.
            StorageError: the store cannot be reached.
        """
        if not self.ready:
            raise ProblemError(
                "not-ready", "The service starts or ends.", "Come again in a moment.", retry_after=1
            )
        await asyncio.to_thread(self.store.entries, model=self.model, limit=1)

    def _restarted(self) -> None:
        self.meters.restarts.inc()
        event("decoder-replaced", level=logging.WARNING)
