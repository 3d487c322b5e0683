"""Corpora in miniature: the real layouts and file names, a few speakers, made-up or given voices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile

Voice = Callable[[int, int], np.ndarray]
"""(speaker, utterance) -> waveform at 16 kHz."""

# VoxCeleb1 by part; id10270 and id10309 bound the test part.
VOXCELEB1 = {"dev": ("id10001", "id10269", "id10310"), "test": ("id10270", "id10309")}
VOXCELEB2 = {"dev": ("id00012", "id09272"), "test": ("id00017",)}
VIDEOS = ("1zcIwhmdeo4", "_-6VYcKhHXk")
SEGMENTS = ("00001", "00023")


def voice(speaker: int, utterance: int, seconds: float = 1.0) -> np.ndarray:
    """A hum of the speaker's own pitch, loud at times that differ by utterance; quick to make."""
    time = np.arange(round(seconds * 16_000)) / 16_000
    pitch = 90 + 23 * speaker
    wave = sum(np.sin(2 * np.pi * harmonic * pitch * time) / harmonic for harmonic in range(1, 8))
    wave = wave * (0.6 + 0.4 * np.sin(2 * np.pi * (2 + utterance) * time))
    return (0.3 * wave / np.abs(wave).max()).astype(np.float32)


def write(path: Path, waveform: np.ndarray) -> Path:
    """A recording in the format that its suffix names; m4a by PyAV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".m4a":
        _write_m4a(path, waveform)
    else:
        soundfile.write(path, waveform, 16_000)
    return path


def _write_m4a(path: Path, waveform: np.ndarray) -> None:
    import av

    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        for first in range(0, len(waveform), 1024):
            frame = av.AudioFrame.from_ndarray(
                waveform[None, first : first + 1024].astype(np.float32), format="fltp", layout="mono"
            )
            frame.sample_rate, frame.pts = 16_000, first
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def voxceleb(
    folder: Path, speakers: Sequence[str], *, suffix: str = ".wav", voice: Voice = voice
) -> list[str]:
    """Two videos of two segments of each speaker below ``folder``; their keys."""
    keys = []
    for speaker in speakers:
        numbers = iter(range(len(VIDEOS) * len(SEGMENTS)))
        for video in VIDEOS:
            for segment in SEGMENTS:
                waveform = voice(int(speaker[2:]) % 97, next(numbers))
                write(folder / speaker / video / f"{segment}{suffix}", waveform)
                keys.append(f"{speaker}/{video}/{segment}.wav")
    return keys


def pairs(keys: Iterable[str]) -> list[tuple[int, str, str]]:
    """Every pair of keys ``idNNNNN/...``, with the truth."""
    keys = list(keys)
    return [(int(a[:7] == b[:7]), a, b) for i, a in enumerate(keys) for b in keys[i + 1 :]]


def write_lines(path: Path, rows: Iterable[Iterable[object]], between: str = " ") -> Path:
    """Lines of words."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(between.join(map(str, row)) + "\n" for row in rows), encoding="utf-8")
    return path


def vox1_meta(path: Path, speakers: Mapping[str, Sequence[str]] = VOXCELEB1) -> Path:
    """``vox1_meta.csv``: tabs, despite its name; every other speaker is a woman."""
    rows = [(speaker, part) for part, ids in speakers.items() for speaker in ids]
    return write_lines(
        path,
        [
            ("VoxCeleb1 ID", "VGGFace1 ID", "Gender", "Nationality", "Set"),
            *((speaker, "A._Name", "mf"[i % 2], "Ireland", part) for i, (speaker, part) in enumerate(rows)),
        ],
        "\t",
    )


def vox2_meta(path: Path, speakers: Mapping[str, Sequence[str]] = VOXCELEB2) -> Path:
    """``vox2_meta.csv``: a space before each comma."""
    rows = [(speaker, part) for part, ids in speakers.items() for speaker in ids]
    return write_lines(
        path,
        [
            ("VoxCeleb2 ID", "VGGFace2 ID", "Gender", "Set"),
            *((speaker, "n000012", "mf"[i % 2], part) for i, (speaker, part) in enumerate(rows)),
        ],
        " ,",
    )


DEV = ("id00000", "id00001")
ENROLLED = ("id00800", "id00801")
ONLY_TESTED = "id00999"
CNCELEB2 = ("id10000", "id11999")
FILES = ("singing-01-001", "singing-01-002", "live_broadcast-02-001")


def cnceleb_data(
    folder: Path, speakers: Sequence[str], *, suffix: str = ".flac", voice: Voice = voice
) -> None:
    """``data``: three utterances of each speaker, two of one session."""
    for speaker in speakers:
        for number, name in enumerate(FILES):
            write(folder / "data" / speaker / f"{name}{suffix}", voice(int(speaker[2:]) % 97, number))


def cnceleb1(folder: Path, *, suffix: str = ".flac", voice: Voice = voice) -> Path:
    """The release: ``data`` of everybody, ``dev.lst``, and an evaluation whose lists name ``.wav``."""
    cnceleb_data(folder, [*DEV, *ENROLLED, ONLY_TESTED], suffix=suffix, voice=voice)
    write_lines(folder / "dev" / "dev.lst", ([speaker] for speaker in DEV))
    tests = []
    for speaker in (*ENROLLED, ONLY_TESTED):
        own = int(speaker[2:]) % 97
        if speaker in ENROLLED:
            joined = np.concatenate([voice(own, 0), voice(own, 1)])
            write(folder / "eval" / "enroll" / f"{speaker}-enroll{suffix}", joined)
        test = f"{speaker}-{FILES[2]}"
        write(folder / "eval" / "test" / f"{test}{suffix}", voice(own, 2))
        tests.append(f"test/{test}.wav")
    lists = folder / "eval" / "lists"
    write_lines(lists / "enroll.lst", ((f"{s}-enroll", f"enroll/{s}-enroll.wav") for s in ENROLLED))
    write_lines(
        lists / "enroll.map", ((f"{s}-enroll", *(f"{s}/{name}.wav" for name in FILES[:2])) for s in ENROLLED)
    )
    write_lines(lists / "test.lst", ([test] for test in tests))
    write_lines(
        lists / "trials.lst", ((f"{s}-enroll", test, int(s in test)) for s in ENROLLED for test in tests)
    )
    return folder


def cnceleb2(folder: Path, *, suffix: str = ".flac", voice: Voice = voice) -> Path:
    """The release: ``data`` and ``spk.lst``."""
    cnceleb_data(folder, CNCELEB2, suffix=suffix, voice=voice)
    write_lines(folder / "spk.lst", ([speaker] for speaker in CNCELEB2))
    return folder
