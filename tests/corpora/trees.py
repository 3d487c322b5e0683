"""A small whole tree of every layout that has a reader, to be broken by tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.corpora import miniature
from tests.corpora.miniature import write, write_lines

__all__ = ["TREES", "Tree"]

_SPEAKERS = ("anna", "ben", "chi")
_LIBRISPEECH = {
    "train-clean-100": ("103", "1034"),
    "dev-other": ("116",),
    "test-clean": ("61", "121"),
}
_MINI_LIBRISPEECH = {"train-clean-5": ("103", "1034"), "dev-clean-2": ("61", "121")}
_MUSAN = ("speech/librivox", "music/fma", "noise/free-sound")
_RIRS = ("simulated_rirs/smallroom/Room001", "real_rirs_isotropic_noises", "pointsource_noises")


@dataclass(frozen=True)
class Tree:
    """A tree as it should be.

    Attributes:
        corpus: what its reader is called.
        root: what to name as the corpus.
        audio: its recordings, sorted; one utterance each.
        text: its tables and lists.
    """

    corpus: str
    root: Path
    audio: list[Path]
    text: list[Path]


def _voice(speaker: int, utterance: int) -> np.ndarray:
    return miniature.voice(speaker, utterance, 0.25)


def _recordings(folder: Path, suffix: str = ".wav") -> list[Path]:
    """``SPEAKER/UTTERANCE`` of three speakers, two recordings each."""
    return [
        write(folder / speaker / f"{name}{suffix}", _voice(i, j))
        for i, speaker in enumerate(_SPEAKERS)
        for j, name in enumerate(("one", "two"))
    ]


def _tree(corpus: str, root: Path) -> Tree:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    audio = [path for path in files if path.suffix in {".wav", ".flac", ".m4a", ".mp3"}]
    return Tree(corpus, root, audio, [path for path in files if path not in audio])


def _folder(place: Path) -> Tree:
    _recordings(place / "voices")
    return _tree("folder", place / "voices")


def _table(place: Path) -> Tree:
    files = _recordings(place / "own" / "wav")
    keys = [path.relative_to(place / "own").as_posix() for path in files]
    rows = [(key, key.split("/")[1]) for key in keys]
    write_lines(place / "own" / "utterances.csv", [("path", "speaker"), *rows], ",")
    write_lines(place / "own" / "trials" / "pairs.txt", [(1, keys[0], keys[1]), (0, keys[0], keys[2])])
    return _tree("table", place / "own")


def _kaldi(place: Path) -> Tree:
    files = _recordings(place / "data" / "wav")
    keys = [f"{path.parent.name}-{path.stem}" for path in files]
    folder = place / "data" / "train"
    write_lines(folder / "wav.scp", zip(keys, files, strict=True))
    write_lines(folder / "utt2spk", ((key, path.parent.name) for key, path in zip(keys, files, strict=True)))
    write_lines(folder / "trials", [(keys[0], keys[1], "target"), (keys[0], keys[2], "nontarget")])
    return Tree("kaldi", folder, files, sorted(folder.iterdir()))


def _lhotse(place: Path) -> Tree:
    files = _recordings(place / "wav")
    folder = place / "manifests"
    recordings, supervisions = [], []
    for path in files:
        key = f"{path.parent.name}-{path.stem}"
        source = {"type": "file", "channels": [0], "source": str(path)}
        recordings.append({"id": key, "sources": [source], "sampling_rate": 16_000, "duration": 0.25})
        supervisions.append(
            {"id": key, "recording_id": key, "start": 0.0, "duration": 0.25, "channel": 0}
            | {"speaker": path.parent.name}
        )
    for name, rows in (("recordings", recordings), ("supervisions", supervisions)):
        write_lines(folder / f"{name}.jsonl", ([json.dumps(row)] for row in rows))
    return Tree("lhotse", folder, files, sorted(folder.iterdir()))


def _metadata(place: Path) -> Tree:
    files = _recordings(place / "set" / "data")
    rows = [(path.relative_to(place / "set").as_posix(), path.parent.name) for path in files]
    write_lines(place / "set" / "metadata.csv", [("file_name", "speaker"), *rows], ",")
    return _tree("audio-folder", place / "set")


def _labels(place: Path) -> Tree:
    _recordings(place / "set" / "train")
    return _tree("audio-folder", place / "set")


def _parquet(place: Path) -> Tree:
    files = _recordings(place / "aside")
    audio = [{"bytes": path.read_bytes(), "path": f"{path.parent.name}-{path.name}"} for path in files]
    table = pa.table({"audio": audio, "speaker": [path.parent.name for path in files]})
    (place / "set").mkdir()
    pq.write_table(table, place / "set" / "train-00000-of-00001.parquet")
    return Tree("audio-folder", place / "set", [], [place / "set" / "train-00000-of-00001.parquet"])


def _common_voice(place: Path) -> Tree:
    root = place / "cv-corpus-22.0" / "en"
    rows = []
    for i in range(6):
        name = f"common_voice_en_{i}.mp3"
        write(root / "clips" / name, _voice(i // 2, i))
        rows.append((f"{i // 2}" * 128, name, "Words.", "2", "0", "", "", "en"))
    header = ("client_id", "path", "sentence", "up_votes", "down_votes", "age", "gender", "locale")
    write_lines(root / "validated.tsv", [header, *rows], "\t")
    durations = [("clip", "duration[ms]"), *((row[1], 250) for row in rows)]
    write_lines(root / "clip_durations.tsv", durations, "\t")
    return _tree("common-voice", root)


def _voxceleb1(place: Path) -> Tree:
    root = place / "voxceleb1"
    for part in miniature.VOXCELEB1.values():
        keys = miniature.voxceleb(root / "wav", part, voice=_voice)
    miniature.vox1_meta(root / "vox1_meta.csv")
    write_lines(root / "veri_test2.txt", miniature.pairs(keys))
    return _tree("voxceleb1", root)


def _voxceleb2(suffix: str) -> Callable[[Path], Tree]:
    def build(place: Path) -> Tree:
        root = place / "voxceleb2"
        miniature.voxceleb(root / "dev" / "aac", miniature.VOXCELEB2["dev"], suffix=suffix, voice=_voice)
        miniature.voxceleb(root / "test" / "aac", miniature.VOXCELEB2["test"], suffix=suffix, voice=_voice)
        miniature.vox2_meta(root / "vox2_meta.csv")
        return _tree("voxceleb2", root)

    return build


def _cnceleb1(place: Path) -> Tree:
    return _tree("cnceleb1", miniature.cnceleb1(place / "CN-Celeb_flac", voice=_voice))


def _cnceleb2(place: Path) -> Tree:
    return _tree("cnceleb2", miniature.cnceleb2(place / "CN-Celeb2_flac", voice=_voice))


def _librispeech(corpus: str, subsets: dict[str, tuple[str, ...]]) -> Callable[[Path], Tree]:
    def build(place: Path) -> Tree:
        root = place / "LibriSpeech"
        lines = [";ID  |SEX| SUBSET           |MINUTES| NAME"]
        for subset, speakers in subsets.items():
            for number, speaker in enumerate(speakers):
                lines.append(f"{speaker:5}| {'FM'[number % 2]} | {subset:17}| 25.03 | Karel Čapek")
                for i, chapter in enumerate(("10", "20")):
                    name = f"{speaker}-{chapter}-0000.flac"
                    write(root / subset / speaker / chapter / name, _voice(int(speaker) % 97, i))
        write_lines(root / "SPEAKERS.TXT", ([line] for line in lines))
        return _tree(corpus, root)

    return build


def _sounds(corpus: str, folder: str, parts: tuple[str, ...]) -> Callable[[Path], Tree]:
    def build(place: Path) -> Tree:
        for part in parts:
            for i in range(2):
                write(place / folder / part / f"{Path(part).name}-{i}.wav", _voice(i, i))
        return _tree(corpus, place / folder)

    return build


TREES: dict[str, Callable[[Path], Tree]] = {
    "folder": _folder,
    "table": _table,
    "kaldi": _kaldi,
    "lhotse": _lhotse,
    "audio-folder, metadata": _metadata,
    "audio-folder, labels": _labels,
    "audio-folder, parquet": _parquet,
    "common-voice": _common_voice,
    "voxceleb1": _voxceleb1,
    "voxceleb2, wav": _voxceleb2(".wav"),
    "voxceleb2, m4a": _voxceleb2(".m4a"),
    "cnceleb1": _cnceleb1,
    "cnceleb2": _cnceleb2,
    "librispeech": _librispeech("librispeech", _LIBRISPEECH),
    "mini-librispeech": _librispeech("mini-librispeech", _MINI_LIBRISPEECH),
    "musan": _sounds("musan", "musan", _MUSAN),
    "rirs-noises": _sounds("rirs-noises", "RIRS_NOISES", _RIRS),
}
"""By layout: builds the tree below a folder."""
