"""What Prometheus is told."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

__all__ = ["CONTENT_TYPE", "Meters"]

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)


class Meters:
    """Counters of one service; labels have few values, and none that a caller chooses."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "voxangle_requests", "Requests answered.", ["route", "method", "status"], registry=registry
        )
        self.seconds = Histogram(
            "voxangle_request_seconds",
            "From a request's first byte to its answer's last.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.problems = Counter("voxangle_problems", "Problems answered.", ["code"], registry=registry)
        self.under_way = Gauge("voxangle_requests_under_way", "Requests with audio now.", registry=registry)
        self.streams = Gauge("voxangle_streams", "Open streams.", registry=registry)
        self.audio = Counter("voxangle_audio_seconds", "Audio decoded.", registry=registry)
        self.decoding = Histogram(
            "voxangle_decode_seconds",
            "Decoding and looking for speech, waiting for a decoder too.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.restarts = Counter(
            "voxangle_decoder_restarts", "Decoders that were replaced.", registry=registry
        )
        self.batches = Histogram(
            "voxangle_batch_recordings", "Waveforms in a batch.", buckets=_SIZES, registry=registry
        )
        self.embedding = Histogram(
            "voxangle_batch_seconds", "Embedding a batch.", buckets=_SECONDS, registry=registry
        )
        self.decisions = Counter(
            "voxangle_decisions", "Decisions made.", ["route", "same_voice"], registry=registry
        )

    def batch(self, recordings: int, seconds: float) -> None:
        """Count a batch of the model."""
        self.batches.observe(recordings)
        self.embedding.observe(seconds)

    def text(self) -> bytes:
        """All of them, in the format of Prometheus."""
        return generate_latest(self._registry)
