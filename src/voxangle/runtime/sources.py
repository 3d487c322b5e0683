"""Recordings to embed, and their pieces: read ahead by threads, in order, a long recording window by window."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from voxangle.audio import SAMPLE_RATE, load, probe
from voxangle.audio.levels import check_finite, check_sounding, is_silent
from voxangle.errors import AudioError, SilenceError
from voxangle.runtime.windows import Window, Windows

__all__ = ["MINIMUM_SECONDS", "AudioFile", "Piece", "Samples", "Source", "pieces"]

MINIMUM_SECONDS = 0.25  # a shorter recording is refused: hardly a syllable

Samples = NDArray[np.floating]
T = TypeVar("T")
R = TypeVar("R")


class Source(Protocol):
    """A recording that is read when its turn comes."""

    @property
    def name(self) -> str | Path:
        """What errors call it."""

    def length(self) -> int:
        """Samples at 16 kHz, as cheaply as can be known.

        Raises:
            AudioError: it cannot be used.
        """

    def read(self, window: Window | None) -> Samples:
        """The samples of a window, or all.

        Raises:
            AudioError: it cannot be used.
        """


@dataclass(frozen=True, slots=True)
class AudioFile:
    """A file, or a segment of one.

    Attributes:
        name: its path.
        start: where the segment begins, in seconds.
        seconds: its length; None for all to the end.
    """

    name: str | Path
    start: float = 0.0
    seconds: float | None = None

    def length(self) -> int:
        """Samples by the segment's length or else the file's header."""
        seconds = probe(self.name).seconds - self.start if self.seconds is None else self.seconds
        return round(seconds * SAMPLE_RATE)

    def read(self, window: Window | None) -> Samples:
        """Decode a window, or all."""
        if window is None:
            if not self.start and self.seconds is None:
                return load(self.name)
            return load(self.name, start=self.start, seconds=self.seconds)
        start = self.start + window.first / SAMPLE_RATE
        return load(self.name, start=start, seconds=window.samples / SAMPLE_RATE)


class Piece(NamedTuple):
    """A recording, or a window of a long one, ready to be embedded.

    Attributes:
        name: of the recording.
        end: how many samples of the recording are read with it, silent or not.
        waveform: the samples; None where there is nothing to embed.
        last: whether no other piece of the recording follows; pieces of two recordings never alternate.
        error: why the recording cannot be used.
    """

    name: str | Path
    end: int
    waveform: Samples | None
    last: bool = True
    error: AudioError | None = None


def _read(source: Source, window: Window | None) -> Samples:
    """Samples that have an embedding; else AudioError, of silence SilenceError."""
    waveform = source.read(window)
    if waveform.ndim != 1 or not np.issubdtype(waveform.dtype, np.floating):
        raise AudioError(
            source.name,
            f"expected one channel of floating-point samples, found {waveform.dtype} {waveform.shape}",
        )
    seconds = len(waveform) / SAMPLE_RATE
    if seconds < MINIMUM_SECONDS:
        raise AudioError(
            source.name,
            f"{seconds:.3f} s is too short for an embedding; give at least {MINIMUM_SECONDS} s of speech",
        )
    check_finite(source.name, waveform)
    check_sounding(source.name, waveform)
    return waveform


def pieces(sources: Iterable[Source], windows: Windows | None, workers: int) -> Generator[Piece]:
    """The pieces of all recordings, in order.

    Four recordings and two windows a worker are read ahead at most.

    Args:
        sources: the recordings.
        windows: how to cut long ones; None to leave them whole.
        workers: threads that read; 0 to read in this one, where there is nothing to wait for.
    """

    def first_look(source: Source) -> Samples | int | AudioError:
        try:
            if windows is not None and len(windows.cut(samples := source.length())) > 1:
                return samples
            return _read(source, None)
        except AudioError as error:
            return error

    with closing(_ahead(first_look, sources, workers, each=4)) as looked:
        for source, seen in looked:
            if isinstance(seen, AudioError):
                yield Piece(source.name, 0, None, error=seen)
            elif isinstance(seen, int):
                assert windows is not None  # noqa: S101 - for the type checker
                yield from _long(source, windows.cut(seen), workers)
            else:
                # A header may have promised less than there is.
                cut = [Window(0, len(seen))] if windows is None else windows.cut(len(seen))
                yield from _slices(source, seen, cut)


def _slices(source: Source, waveform: Samples, cut: list[Window]) -> Iterator[Piece]:
    for number, (first, samples) in enumerate(cut, start=1):
        part = waveform[first : first + samples]
        silent = len(cut) > 1 and is_silent(part)
        yield Piece(source.name, first + samples, None if silent else part, last=number == len(cut))


def _long(source: Source, cut: list[Window], workers: int) -> Iterator[Piece]:
    """The windows of a recording, of which two a worker are in memory."""

    def read(window: Window) -> Samples | AudioError | None:
        try:
            return _read(source, window)
        except SilenceError:
            return None
        except AudioError as error:
            return error

    with closing(_ahead(read, cut, workers, each=2)) as stream:
        for number, (window, waveform) in enumerate(stream, start=1):
            if isinstance(waveform, AudioError):
                yield Piece(source.name, 0, None, error=waveform)
                return
            end = window.first + (window.samples if waveform is None else len(waveform))
            yield Piece(source.name, end, waveform, last=number == len(cut))


def _ahead(call: Callable[[T], R], items: Iterable[T], workers: int, *, each: int) -> Generator[tuple[T, R]]:
    """Items and what a call makes of them, in order; ``each`` a thread are worked out before they are asked for."""
    if not workers:
        for item in items:
            yield item, call(item)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    waiting: deque[tuple[T, Future[R]]] = deque()
    try:
        for item in items:
            waiting.append((item, pool.submit(call, item)))
            if len(waiting) >= each * workers:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
