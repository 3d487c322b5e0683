"""From files to embeddings, against the encoder alone on ready features."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from benchmarks.ratio import Measurement, in_turns
from voxangle.audio import SAMPLE_RATE
from voxangle.encoders import ECAPATDNN, ECAPATDNNConfig, Embedder, ModelCard
from voxangle.features import Filterbank, FilterbankConfig
from voxangle.runtime.embedding import BATCH_SECONDS

__all__ = ["embedding"]

_FORMATS = ("wav", "flac", "opus")
_BARE_SECONDS = 7.5  # four fill a batch; VoxCeleb's are 8.2 s on average


def embedding(rounds: int, minutes: float = 10.0, channels: int = 512) -> Iterator[Measurement]:
    """The share of the bare encoder's throughput that embedding a folder of files reaches, by format.

    Args:
        rounds: how often each is timed, in turns.
        minutes: of audio; few leave more padding (7 % of 3 minutes, 2 % of 10, 0.5 % of hours).
        channels: of the ECAPA-TDNN.
    """
    torch.manual_seed(0)
    config = ECAPATDNNConfig(channels=channels)
    features_of = FilterbankConfig()
    card = ModelCard(name="benchmark", encoder=config, filterbank=features_of)
    embedder = Embedder(Filterbank(features_of), ECAPATDNN(config).eval(), card)
    with tempfile.TemporaryDirectory() as name:
        seconds = _write(Path(name), minutes * 60)
        files = {kind: sorted(Path(name).glob(f"*.{kind}")) for kind in _FORMATS}
        bare_batches = round(seconds / BATCH_SECONDS)
        rows = round(BATCH_SECONDS / _BARE_SECONDS)
        noise = torch.randn(rows, round(_BARE_SECONDS * SAMPLE_RATE), device=embedder.device)
        features, _ = embedder.filterbank(0.1 * noise)

        def bare() -> None:
            with torch.inference_mode():
                for _ in range(bare_batches):
                    embedder.encoder(features).cpu()

        calls = [_Clocked(bare)]
        calls += [_Clocked(partial(embedder.embed_files, files[kind])) for kind in _FORMATS]
        alone, *ours = in_turns(*calls, rounds=rounds, warm_up=1)
    audio = bare_batches * BATCH_SECONDS
    yield Measurement.of(
        "encoder alone", audio / alone, "s/s", f"ECAPA-{channels}, {rows} x {_BARE_SECONDS:g} s, no padding"
    )
    for kind, taken, clocked in zip(_FORMATS, ours, calls[1:], strict=True):
        yield Measurement.of(
            f"embed_files, {kind}, share of the encoder alone",
            (seconds / taken) / (audio / alone),
            "",
            f"{len(files[kind])} files of 4 s and more, {np.median(seconds / taken):,.0f} s/s with decoding, "
            "features and padding",
            least=0.9,
        )
        yield Measurement.of(
            f"embed_files, {kind}, the same by processor time",
            (seconds / clocked.of_rounds(rounds)) / (audio / calls[0].of_rounds(rounds)),
            "",
            "of all threads; what others run on the machine has less of a part in it",
        )


class _Clocked:
    """A call whose processor time is noted."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._seconds: list[float] = []

    def __call__(self) -> None:
        began = time.process_time()
        self._call()
        self._seconds.append(time.process_time() - began)

    def of_rounds(self, rounds: int) -> NDArray[np.float64]:
        """The last ones: those before were to warm up."""
        return np.array(self._seconds[-rounds:])


def _write(folder: Path, seconds: float) -> float:
    """Noise in lengths as VoxCeleb's in every format; how many seconds."""
    rng = np.random.default_rng(0)
    written = 0.0
    for number in range(1_000_000):
        length = round(min(4 + rng.exponential(4.2), 60) * SAMPLE_RATE)
        # Coloured, so that it takes a coder about what speech takes.
        noise = np.convolve(rng.standard_normal(length), np.exp(-np.arange(64) / 8), mode="same")
        loud = 0.05 * noise * (0.6 + 0.4 * np.sin(np.arange(length) / 2000))
        for kind in _FORMATS:
            soundfile.write(
                folder / f"{number:05d}.{kind}",
                loud,
                SAMPLE_RATE,
                **({"format": "OGG", "subtype": "OPUS"} if kind == "opus" else {}),
            )
        written += length / SAMPLE_RATE
        if written >= seconds:
            return written
    raise ValueError(f"{seconds} s are too many")
