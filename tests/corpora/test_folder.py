from __future__ import annotations

import os

import numpy as np
import pytest
import soundfile

from voxangle.corpora import folder
from voxangle.errors import CorpusError


@pytest.fixture
def record(tmp_path):
    """Write a second (or so) of noise at a path below the corpus."""

    def record_at(name: str, seconds: float = 1.0, rate: int = 16_000):
        path = tmp_path / "voices" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, round(seconds * rate)), rate)
        return path

    return record_at


def test_speakers_sessions_and_durations_come_from_the_layout_and_the_headers(record, tmp_path):
    record("anna/b.wav", 1.5)
    record("anna/a.flac", 0.5, 44_100)
    record("Émile Zola/2019-01-01/tape one/x.ogg", 2.0)
    corpus = folder.read(tmp_path / "voices")
    assert corpus.name == "voices"
    assert list(corpus.splits) == ["all"]
    rows = [(row.utterance, row.speaker, row.session, row.seconds) for row in corpus.splits["all"]]
    assert rows == [
        ("anna/a.flac", "anna", "", 0.5),
        ("anna/b.wav", "anna", "", 1.5),
        ("Émile Zola/2019-01-01/tape one/x.ogg", "Émile Zola", "2019-01-01/tape one", 2.0),
    ]
    assert all(path.is_file() for path in corpus.splits["all"].files())


def test_other_files_and_hidden_ones_are_ignored(record, tmp_path):
    record("anna/a.wav")
    record("anna/._a.wav")
    record(".trash/b.wav")
    for name in ("README.txt", "anna/notes.pdf", "anna/a.wav.md5"):
        (tmp_path / "voices" / name).write_text("x")
    assert [row.utterance for row in folder.read(tmp_path / "voices").splits["all"]] == ["anna/a.wav"]


def test_suffixes_count_in_any_case(record, tmp_path):
    record("anna/A.WAV")
    assert len(folder.read(tmp_path / "voices").splits["all"]) == 1


def test_linked_folders_are_followed(record, tmp_path):
    record("anna/a.wav")
    (tmp_path / "assembled").mkdir()
    (tmp_path / "assembled" / "bob").symlink_to(tmp_path / "voices" / "anna")
    assert folder.read(tmp_path / "assembled").splits["all"].speakers() == ["bob"]


def test_a_link_to_a_folder_above_is_not_followed_forever(record, tmp_path):
    record("anna/a.wav")
    (tmp_path / "voices" / "anna" / "up").symlink_to(tmp_path / "voices")
    assert [row.utterance for row in folder.read(tmp_path / "voices").splits["all"]] == ["anna/a.wav"]


def test_an_unreadable_recording_stays_with_unknown_duration(record, tmp_path):
    record("anna/a.wav")
    record("anna/b.wav").write_bytes(b"broken")
    assert [row.seconds for row in folder.read(tmp_path / "voices").splits["all"]] == [1.0, 0.0]


def test_a_recording_in_no_speakers_folder_is_counted_and_the_others_are_read(record, tmp_path):
    record("anna/a.wav")
    record("stray.wav")
    record("other.wav")
    corpus = folder.read(tmp_path / "voices")
    assert [row.utterance for row in corpus.splits["all"]] == ["anna/a.wav"]
    (note,) = corpus.notes
    assert "2 recording(s) or folder(s) at the wrong depth" in note
    assert f"first {tmp_path / 'voices' / 'other.wav'}: move or rename" in note


def test_recordings_that_are_all_in_no_speakers_folder_are_refused(record, tmp_path):
    record("stray.wav")
    record("other.wav")
    with pytest.raises(
        CorpusError, match=r"other\.wav: lies in no speaker's folder, nor .* 2 recording\(s\)"
    ):
        folder.read(tmp_path / "voices")


def test_a_missing_or_empty_folder_is_refused(tmp_path):
    with pytest.raises(CorpusError, match="no such folder"):
        folder.read(tmp_path / "nowhere")
    (tmp_path / "empty" / "anna").mkdir(parents=True)
    with pytest.raises(CorpusError, match="holds no recordings; expected speaker/utterance"):
        folder.read(tmp_path / "empty")


def test_a_name_that_is_not_utf8_is_named(tmp_path):
    speaker = tmp_path / "me"
    speaker.mkdir()
    (speaker / os.fsdecode(b"u\xfe.wav")).write_bytes(b"RIFF")
    with pytest.raises(
        CorpusError, match=r"holds no recordings.*1 file\(s\) whose name is not UTF-8, first .*u\\xfe\.wav"
    ):
        folder.read(tmp_path)
