"""Lhotse manifests, as lhotse 1.33 writes them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from voxangle.corpora import columns, lhotse_manifests
from voxangle.corpora.prepared import prepare_split
from voxangle.errors import CorpusError


def recording(path: Path, name: str, **other: Any) -> dict[str, Any]:
    return {
        "id": name,
        "sources": [{"type": "file", "channels": [0], "source": str(path)}],
        "sampling_rate": 16000,
        "num_samples": 32000,
        "duration": 2.0,
        "channel_ids": [0],
        **other,
    }


def supervision(
    name: str, on: str, speaker: str, start: float = 0.0, length: float = 2.0, **other: Any
) -> dict:
    return {
        "id": name,
        "recording_id": on,
        "start": start,
        "duration": length,
        "channel": 0,
        "text": "words",
        "language": "English",
        "speaker": speaker,
        "gender": "female",
        "custom": {"room": 1},
        **other,
    }


def cut(name: str, of: dict, supervisions: list[dict], start: float = 0.0, length: float = 2.0) -> dict:
    return {
        "id": name,
        "start": start,
        "duration": length,
        "channel": 0,
        "supervisions": supervisions,
        "recording": of,
        "type": "MonoCut",
    }


def write(path: Path, rows: list[dict]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


@pytest.fixture
def made(voices: Path) -> list[dict]:
    """The recordings ``r0`` ... ``r3``: one of each of four speakers."""
    return [recording(voices / f"s{i}" / "u0.wav", f"r{i}") for i in range(4)]


def test_supervisions_of_recordings_are_utterances(made, tmp_path: Path, voices: Path) -> None:
    write(tmp_path / "recordings.jsonl.gz", made)
    rows = [
        supervision("a", "r0", "anna", 0.25, 1.0),
        supervision("b", "r0", "anna", 1.25, 0.75, gender="M", language=None),
        supervision("c", "r1", "ben", gender=None),
    ]
    write(tmp_path / "supervisions.jsonl", rows)
    corpus = lhotse_manifests.read(tmp_path)
    assert list(corpus.splits) == ["all"]
    found = [
        (row.utterance, row.speaker, row.start, row.seconds, row.session, row.gender, row.language)
        for row in corpus.splits["all"]
    ]
    assert found == [
        ("a", "anna", 0.25, 1.0, "r0", "f", "English"),
        ("b", "anna", 1.25, 0.75, "r0", "m", ""),
        ("c", "ben", 0.0, 2.0, "", "", "English"),
    ]
    assert corpus.splits["all"].files()[0] == voices / "s0" / "u0.wav"
    assert prepare_split(corpus, "all").samples.tolist() == [16_000, 12_000, 32_000]
    assert corpus.notes == ()


def test_a_million_rows_are_gathered_some_at_a_time(
    made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "recordings.jsonl", made)
    rows = [supervision(str(i), f"r{i % 2}" if i < 4 else "r2", f"s{i % 3}", 0.25 * i, 0.5) for i in range(5)]
    write(tmp_path / "supervisions.jsonl", rows)
    expected = list(lhotse_manifests.read(tmp_path).splits["all"])
    monkeypatch.setattr(columns, "_ROWS", 2)
    assert list(lhotse_manifests.read(tmp_path).splits["all"]) == expected
    assert [row.session for row in expected] == ["r0", "r1", "r0", "r1", ""]


def test_names_tell_the_splits(made, tmp_path: Path) -> None:
    for number, split in enumerate(("train-clean-5", "dev-clean-2")):
        write(tmp_path / f"librispeech_recordings_{split}.jsonl.gz", made)
        rows = [supervision(f"{split}-1", f"r{number}", f"speaker-{number}")]
        write(tmp_path / f"librispeech_supervisions_{split}.jsonl.gz", rows)
    corpus = lhotse_manifests.read(tmp_path)
    assert {split: len(rows) for split, rows in corpus.splits.items()} == {
        "train-clean-5": 1,
        "dev-clean-2": 1,
    }


def test_cuts_are_stretches_whose_supervisions_count_from_their_beginning(made, tmp_path: Path) -> None:
    path = write(
        tmp_path / "cuts_train.jsonl.gz",
        [
            cut("c0", made[0], [supervision("a", "r0", "anna", 0.25, 0.5)], start=0.5, length=1.0),
            # Beyond the cut's ends on both sides.
            cut("c1", made[1], [supervision("b", "r1", "ben", -0.5, 3.0)], start=0.75, length=1.0),
        ],
    )
    for root in (path, tmp_path):
        corpus = lhotse_manifests.read(root)
        found = [(row.utterance, row.start, row.seconds) for row in corpus.splits["train"]]
        assert found == [("a", 0.75, 0.5), ("b", 0.75, 1.0)]
    assert prepare_split(corpus, "train").samples.tolist() == [8_000, 16_000]


def test_windows_of_one_supervision_are_told_apart_by_their_cuts(made, tmp_path: Path) -> None:
    windows = [
        cut(f"w{i}", made[0], [supervision("a", "r0", "anna", -i, 2.0)], start=i, length=1) for i in (0, 1)
    ]
    write(tmp_path / "cuts.jsonl", windows)
    rows = lhotse_manifests.read(tmp_path).splits["all"]
    assert [(row.utterance, row.start, row.seconds) for row in rows] == [("a", 0.0, 1.0), ("a@w1", 1.0, 1.0)]


def test_recordings_are_preferred_to_cuts_made_of_them(made, tmp_path: Path) -> None:
    write(tmp_path / "recordings.jsonl", made)
    write(tmp_path / "supervisions.jsonl", [supervision("a", "r0", "anna")])
    write(tmp_path / "cuts.jsonl", [cut("c", made[1], [supervision("b", "r1", "ben")])])
    assert lhotse_manifests.read(tmp_path).splits["all"].speakers() == ["anna"]


def test_relative_paths_lead_from_where_the_manifests_were_made(made, tmp_path: Path, voices: Path) -> None:
    (tmp_path / "download").symlink_to(voices)
    (tmp_path / "data" / "manifests").mkdir(parents=True)
    made[0]["sources"][0]["source"] = "download/s0/u0.wav"
    write(tmp_path / "data/manifests/recordings.jsonl", made)
    write(tmp_path / "data/manifests/supervisions.jsonl", [supervision("a", "r0", "anna")])
    manifest = lhotse_manifests.read(tmp_path / "data/manifests").splits["all"]
    assert manifest.files() == [tmp_path / "download/s0/u0.wav"]


def test_what_cannot_be_said_is_left_out_and_counted(made, tmp_path: Path, voices: Path) -> None:
    path = voices / "s3" / "u0.wav"
    sources = {
        "stereo": [{"type": "file", "channels": [0, 1], "source": str(path)}],
        "url": [{"type": "url", "channels": [0], "source": "https://x.example/a.wav"}],
        "command": [{"type": "command", "channels": [0], "source": "sox a.wav -t wav -"}],
        "split": [{"type": "file", "channels": [i], "source": str(path)} for i in (0, 1)],
    }
    write(
        tmp_path / "recordings.jsonl",
        [
            made[0],
            *(recording(path, name, sources=source) for name, source in sources.items()),
            recording(path, "fast", transforms=[{"name": "Speed", "kwargs": {"factor": 1.1}}]),
            recording(path, "resampled", transforms=[{"name": "Resample", "kwargs": {}}]),
        ],
    )
    rows = [
        supervision(f"on-{on}", on, "anna")
        for on in ("r0", "gone", "stereo", "url", "command", "fast", "resampled")
    ]
    rows += [
        supervision("nobody", "r0", ""),
        supervision("empty", "r0", "anna", length=0),
        supervision("right", "split", "anna", channel=1),
        supervision("both", "stereo", "anna", channel=[0, 1]),
    ]
    write(tmp_path / "supervisions.jsonl", rows)
    corpus = lhotse_manifests.read(tmp_path)
    assert list(corpus.splits["all"].column("utterance")) == ["on-r0", "on-resampled", "right", "both"]
    for reason in (
        "1 supervision(s) whose recording is not there",
        "1 supervision(s) without a speaker",
        "1 supervision(s) that are empty",
        "1 supervision(s) of some channels of several",
        "1 supervision(s) of recordings changed on the way",
        "1 supervision(s) whose audio is no file but of type 'url'",
        "1 supervision(s) whose audio is no file but of type 'command'",
    ):
        assert reason in "\n".join(corpus.remarks)


def test_mixed_cuts_are_left_out_and_counted(made, tmp_path: Path) -> None:
    mixed = {"id": "m", "type": "MixedCut", "tracks": [{"cut": cut("x", made[0], []), "offset": 0.0}]}
    write(tmp_path / "cuts.jsonl", [mixed, cut("c", made[1], [supervision("b", "r1", "ben")])])
    corpus = lhotse_manifests.read(tmp_path)
    assert corpus.splits["all"].speakers() == ["ben"]
    assert corpus.notes == ("Left out: 1 mixed or padding cut(s).",)
    write(tmp_path / "cuts.jsonl", [mixed])
    with pytest.raises(
        CorpusError, match=r"no supervision in it can be used \(1 mixed or padding cut\(s\)\)"
    ):
        lhotse_manifests.read(tmp_path)


def test_missing_files_are_named_when_preparing(made, tmp_path: Path) -> None:
    made.append(recording(tmp_path / "gone.wav", "r9"))
    write(tmp_path / "recordings.jsonl", made)
    write(tmp_path / "supervisions.jsonl", [supervision("a", "r0", "anna"), supervision("z", "r9", "zoe")])
    prepared = prepare_split(lhotse_manifests.read(tmp_path), "all")
    assert [(left.utterance, left.cause) for left in prepared.left_out] == [("z", "no such file")]


def test_a_speaker_in_two_splits_is_refused(made, tmp_path: Path) -> None:
    for split in ("dev", "test"):
        write(tmp_path / f"cuts_{split}.jsonl", [cut("c", made[0], [supervision("a", "r0", "anna")])])
    with pytest.raises(
        CorpusError, match=r"speaker 'anna' is in .*cuts_dev\.jsonl and in .*cuts_test\.jsonl"
    ):
        lhotse_manifests.read(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", r"supervisions\.jsonl, line 1: not JSON .*written to the end"),
        (b"[1]\n", r"supervisions\.jsonl, line 1: not a JSON object"),
        (b"\xff\xfe\n", r"supervisions\.jsonl: cannot be read"),
        (
            b'{"id": "a", "recording_id": "r0", "speaker": "anna"}\n',
            r"supervisions\.jsonl, line 1: not as lhotse writes it \(KeyError: 'start'\)",
        ),
        (b"", r"no supervision in it can be used \(there are none\)"),
    ],
)
def test_a_broken_line_is_named(made, tmp_path: Path, content: bytes, message: str) -> None:
    write(tmp_path / "recordings.jsonl", made)
    (tmp_path / "supervisions.jsonl").write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        lhotse_manifests.read(tmp_path)


def test_a_truncated_archive_is_said_to_be_unreadable(made, tmp_path: Path) -> None:
    path = write(tmp_path / "cuts.jsonl.gz", [cut("c", made[0], [supervision("a", "r0", "anna")])])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CorpusError, match=r"cuts\.jsonl\.gz: cannot be read"):
        lhotse_manifests.read(tmp_path)


def test_the_same_id_twice_is_named(made, tmp_path: Path) -> None:
    write(tmp_path / "recordings.jsonl", made)
    write(tmp_path / "supervisions.jsonl", [supervision("a", "r0", "anna"), supervision("a", "r1", "ben")])
    with pytest.raises(CorpusError, match=r"supervisions\.jsonl, line 2: the id 'a' is there already"):
        lhotse_manifests.read(tmp_path)


def test_a_wrong_place_is_answered_with_what_is_needed(made, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such folder; name the one that holds lhotse's manifests"):
        lhotse_manifests.read(tmp_path / "nowhere")
    with pytest.raises(CorpusError, match=r"holds no recordings\.jsonl\.gz"):
        lhotse_manifests.read(tmp_path)
    only = write(tmp_path / "recordings.jsonl", made)
    with pytest.raises(CorpusError, match=r"recordings\.jsonl: stands alone"):
        lhotse_manifests.read(tmp_path)
    with pytest.raises(CorpusError, match=r"name the folder of the manifests, or a file cuts\.jsonl"):
        lhotse_manifests.read(only)
