"""Banks: the noises, voices, music and rooms that views are made with, held in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from voxangle.audio import AUDIO_SUFFIXES, SAMPLE_RATE, Waveform, load, probe
from voxangle.augment.babble import Talkers
from voxangle.augment.clips import Clips
from voxangle.augment.coloured_noise import coloured_noise
from voxangle.augment.config import AugmentConfig
from voxangle.augment.kinds import Added, Babble, Clean, Kind, Reverb, Telephone
from voxangle.augment.rooms import aligned, measured_room, simulated_rooms
from voxangle.errors import AudioError, CorpusError

__all__ = ["Banks", "build_banks"]

_CLIP_SECONDS = 4.0
_SYNTHETIC_CLIPS = 64
_SYNTHETIC_SECONDS = 8

Numbers = np.ndarray[Any, np.dtype[np.int64]]


class LabelledRecordings(Protocol):
    """What babble is made of (``voxangle.data.prepare.Prepared`` is the one to use)."""

    @property
    def manifest(self) -> Any:
        """The ``Manifest`` of the recordings; its ``labels()`` are the speakers."""

    @property
    def samples(self) -> Numbers:
        """Shape (utterances,), int64; the length of each recording at 16 kHz."""

    def read(self, row: int, first: int = 0, samples: int | None = None) -> Waveform:
        """Samples [first, first + samples) of a recording."""


@dataclass(frozen=True)
class Banks:
    """What there is to make views with.

    Attributes:
        kinds: the kinds of views that can be drawn, each with its bank.
        notes: a line a kind for the user: where it comes from, what was skipped, what was left out and why.
    """

    kinds: Mapping[str, Kind]
    notes: tuple[str, ...] = ()

    def to(self, device: torch.device) -> Banks:
        """The same banks on a device; nothing is copied where they are there already."""
        return Banks({name: kind.to(device) for name, kind in self.kinds.items()}, self.notes)


def build_banks(config: AugmentConfig, prepared: LabelledRecordings, *, seed: int, cache: Path) -> Banks:
    """Gather the banks of the kinds that have a weight.

    Each of noise, music and babble is a random subset of ``config.bank_seconds``: of every file a random
    segment of 4 s (longer where there are few files), so that even MUSAN's 109 hours give a bank that
    fits in memory and holds as many files as it can.

    Args:
        config: kinds and sources.
        prepared: the training recordings, for babble.
        seed: of every choice, >= 0.
        cache: folder for the simulated rooms.

    Raises:
        CorpusError: a folder that the config names is missing, or holds no recording that can be read.
        MissingExtraError: rooms are to be simulated and pyroomacoustics is not installed.
    """
    kinds: dict[str, Kind] = {}
    notes = []
    for number, (name, gather) in enumerate(_GATHER.items()):
        if config.drawn_views and getattr(config.kinds, name):
            # A stream a kind: switching one off leaves the others as they were.
            random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2, number)))
            kind, note = gather(_Sources(config, prepared, cache), random)
            notes.append(f"{name}: {note}")
            if kind is not None:
                kinds[name] = kind
    return Banks(kinds, tuple(notes))


@dataclass(frozen=True)
class _Sources:
    config: AugmentConfig
    prepared: LabelledRecordings
    cache: Path


def _clean(_sources: _Sources, _random: np.random.Generator) -> tuple[Kind, str]:
    return Clean(), "the crop itself"


def _reverb(sources: _Sources, random: np.random.Generator) -> tuple[Kind, str]:
    folder, count = sources.config.rirs, sources.config.rooms
    if folder is None:
        rooms = simulated_rooms(count, seed=int(random.integers(2**31)), cache=sources.cache)
        return Reverb(rooms), f"{count} simulated rooms (augment.rirs is not set)"
    layout = "RIRS_NOISES unpacked (simulated_rirs, real_rirs_isotropic_noises), or any impulse responses"
    # RIRS_NOISES keeps noises beside its rooms, and tells them apart by name only.
    files = [file for file in _recordings(folder, layout) if "noise" not in file.stem]
    chosen = random.permutation(len(files))[:count]
    responses, _, bad = _gather(
        chosen, lambda row, _seconds, _place: measured_room(files[row]), np.inf, random
    )
    if not responses:
        raise _nothing(folder, layout, bad)
    note = f"{len(responses)} of the {len(files)} rooms in {folder}{_skipped(bad)}"
    return Reverb(aligned(responses)), note


def _noise(sources: _Sources, random: np.random.Generator) -> tuple[Kind, str]:
    config = sources.config
    if config.musan is not None:
        layout = "MUSAN unpacked, with noise/*/*.wav in it"
        clips, note = _from_folder(config.musan / "noise", layout, config.bank_seconds, random)
        return Added(clips, config.noise_snr), note
    length = _SYNTHETIC_SECONDS * SAMPLE_RATE
    clips = Clips.of([coloured_noise(random, length) for _ in range(_SYNTHETIC_CLIPS)])
    note = f"{_SYNTHETIC_CLIPS} synthetic coloured noises (augment.musan is not set)"
    return Added(clips, config.noise_snr), note


def _babble(sources: _Sources, random: np.random.Generator) -> tuple[Kind | None, str]:
    config, prepared = sources.config, sources.prepared
    labels = prepared.manifest.labels()

    def segment(row: int, seconds: float, place: float) -> Waveform:
        samples = int(prepared.samples[row])
        wanted = min(int(seconds * SAMPLE_RATE), samples)
        return prepared.read(row, int(place * (samples - wanted + 1)), wanted)

    clips, rows, _ = _gather(_by_turns(labels, random), segment, config.bank_seconds, random)
    order = np.argsort(labels[rows], kind="stable")
    heard = labels[rows][order]
    speakers = len(np.unique(heard))
    if speakers < 2:
        return None, "left out, its share goes to the other kinds (babble needs at least two speakers)"
    voices = Talkers.of(Clips.of([clips[i] for i in order]), heard)
    note = f"{len(clips)} segments of {speakers} of the {len(np.unique(labels))} training speakers"
    return Babble(voices, config.babble_snr, config.babble_speakers), note


def _music(sources: _Sources, random: np.random.Generator) -> tuple[Kind | None, str]:
    config = sources.config
    if config.music is not None:
        folder, layout = config.music, "recordings of music, anywhere below it"
    elif config.musan is not None:
        folder, layout = config.musan / "music", "MUSAN unpacked, with music/*/*.wav in it"
    else:
        return None, "left out, its share goes to the other kinds (no augment.music or augment.musan is set)"
    clips, note = _from_folder(folder, layout, config.bank_seconds, random)
    return Added(clips, config.music_snr), note


def _telephone(_sources: _Sources, _random: np.random.Generator) -> tuple[Kind, str]:
    return Telephone(), "300 to 3400 Hz at 8 kHz, companded to eight bits"


_GATHER: dict[str, Callable[[_Sources, np.random.Generator], tuple[Kind | None, str]]] = {
    "clean": _clean,
    "reverb": _reverb,
    "noise": _noise,
    "babble": _babble,
    "music": _music,
    "telephone": _telephone,
}


def _from_folder(folder: Path, layout: str, budget: float, random: np.random.Generator) -> tuple[Clips, str]:
    files = _recordings(folder, layout)

    def segment(row: int, seconds: float, place: float) -> Waveform:
        whole = probe(files[row]).seconds
        if whole <= seconds:
            return load(files[row])
        return load(files[row], start=place * (whole - seconds), seconds=seconds)

    clips, _, bad = _gather(random.permutation(len(files)), segment, budget, random)
    if not clips:
        raise _nothing(folder, layout, bad)
    return Clips.of(clips), f"{len(clips)} of the {len(files)} files in {folder}{_skipped(bad)}"


def _gather(
    rows: Numbers,
    segment: Callable[[int, float, float], Waveform],
    budget: float,
    random: np.random.Generator,
) -> tuple[list[Waveform], Numbers, list[AudioError]]:
    """Segments (of row, seconds, place in [0, 1)) of rows in turn until there are ``budget`` seconds.

    Returns the segments, their rows, and the errors of those that could not be read.
    """
    share = max(_CLIP_SECONDS, budget / max(1, len(rows)))
    kept: list[int] = []
    clips: list[Waveform] = []
    bad: list[AudioError] = []
    seconds = 0.0
    for row, place in zip(rows.tolist(), random.random(len(rows)).tolist(), strict=True):
        if seconds >= budget:
            break
        try:
            clips.append(segment(row, share, place))
        except AudioError as error:
            bad.append(error)
        else:
            kept.append(row)
            seconds += len(clips[-1]) / SAMPLE_RATE
    return clips, np.array(kept, np.int64), bad


def _by_turns(labels: Numbers, random: np.random.Generator) -> Numbers:
    """All rows in random order, but a first one of every speaker before a second of any."""
    shuffled = random.permutation(len(labels))
    by_speaker = shuffled[np.argsort(labels[shuffled], kind="stable")]
    _, counts = np.unique(labels, return_counts=True)
    turn: Numbers = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    order = np.lexsort((random.random(len(labels)), turn))
    return np.asarray(by_speaker[order])


def _recordings(folder: Path, layout: str) -> list[Path]:
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in AUDIO_SUFFIXES)
    if not files:
        what = "holds no recordings" if folder.is_dir() else "no such folder"
        raise CorpusError(f"{folder}: {what}; expected {layout}")
    return files


def _nothing(folder: Path, layout: str, bad: list[AudioError]) -> CorpusError:
    why = f"none of {len(bad)} files can be read (first: {bad[0]})" if bad else "holds no impulse response"
    return CorpusError(f"{folder}: {why}; expected {layout}")


def _skipped(bad: list[AudioError]) -> str:
    return f"; {len(bad)} skipped that cannot be read (first: {bad[0]})" if bad else ""
