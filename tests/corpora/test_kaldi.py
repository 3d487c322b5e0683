"""Kaldi data folders: whole recordings and segments, and every way in which such folders go wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from voxangle.corpora import kaldi
from voxangle.corpora.prepared import prepare_split
from voxangle.errors import CorpusError


@pytest.fixture
def folder(voices: Path, tmp_path: Path):
    """Write a data folder of speakers: (name, speakers, other files by name) -> folder."""

    def write(name: str = "train", speakers: tuple[str, ...] = ("s0", "s1"), **files: str | bytes) -> Path:
        keys = [
            (f"{speaker}-u{i}", speaker, voices / speaker / f"u{i}.wav")
            for speaker in speakers
            for i in (0, 1)
        ]
        place = tmp_path / "data" / name
        place.mkdir(parents=True)
        contents: dict[str, str | bytes] = {
            "wav.scp": "".join(f"{key} {path}\n" for key, _, path in keys),
            "utt2spk": "".join(f"{key} {speaker}\n" for key, speaker, _ in keys),
            **{file.replace("wav_scp", "wav.scp"): content for file, content in files.items()},
        }
        for file, content in contents.items():
            (place / file).write_bytes(content if isinstance(content, bytes) else content.encode())
        return place

    return write


def test_recordings_and_speakers_are_enough(folder, voices: Path) -> None:
    corpus = kaldi.read(folder())
    assert corpus.name == "train"
    assert [(row.utterance, row.speaker, row.path, row.seconds) for row in corpus.splits["all"]] == [
        (f"s{s}-u{u}", f"s{s}", str(voices / f"s{s}" / f"u{u}.wav"), 0.0) for s in (0, 1) for u in (0, 1)
    ]
    assert corpus.notes == ()
    assert prepare_split(corpus, "all").samples.tolist() == [32_000] * 4


def test_everything_else_finds_its_place(folder) -> None:
    corpus = kaldi.read(
        folder(
            spk2gender="s0 f\ns1 m\n",
            utt2lang="s0-u0 en-us\ns1-u0\tzh\n",
            reco2dur="s0-u0 2.0\ns0-u1 2.0\n",
            utt2dur="s0-u1 1.99\n",
        )
    )
    rows = [(row.gender, row.language, row.seconds, row.session) for row in corpus.splits["all"]]
    assert rows == [("f", "en-us", 2.0, ""), ("f", "", 1.99, ""), ("m", "zh", 0.0, ""), ("m", "", 0.0, "")]


def test_segments_are_cut_out_of_their_recordings_which_are_their_sessions(folder) -> None:
    corpus = kaldi.read(
        folder(
            segments="a s0-u0 0.5 1.25\nb s0-u0 1.25 -1\nc s1-u0 0 2.03 1\n",
            utt2spk="a s0\nb s0\nc s1\n",
        )
    )
    rows = {row.utterance: (row.start, row.seconds, row.session) for row in corpus.splits["all"]}
    assert rows == {"a": (0.5, 0.75, "s0-u0"), "b": (1.25, 0.0, "s0-u0"), "c": (0.0, 2.03, "s1-u0")}
    assert prepare_split(corpus, "all").samples.tolist() == [12_000, 12_000, 32_000]


def test_long_files_are_read_a_stretch_at_a_time(folder, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = list(kaldi.read(folder()).splits["all"])
    monkeypatch.setattr(kaldi, "_LINES", 3)
    place = folder("again")
    assert list(kaldi.read(place).splits["all"]) == rows
    (place / "utt2spk").write_text("s0-u0 s0\n\n\ns0-u1 s0\ns1-u0 s1\n\ns0-u1 s1\n")
    with pytest.raises(CorpusError, match=r"utt2spk, line 7: 's0-u1' is there already: .*/utt2spk, line 4$"):
        kaldi.read(place)


def test_trials_are_read_and_belong_to_the_folder(folder) -> None:
    corpus = kaldi.read(folder("test", trials="s0-u0 s0-u1 target\ns0-u0 s1-u1 nontarget\n"))
    assert corpus.trials["test"].target.tolist() == [True, False]
    assert corpus.trials["test"].name == "test"


def test_folders_of_a_folder_are_splits(folder) -> None:
    folder("train")
    data = folder("eval", ("s2", "s3"), trials="s2-u0 s2-u1 target\ns2-u0 s3-u1 nontarget\n").parent
    (data / "lang").mkdir()
    for root in (data, data.parent):
        corpus = kaldi.read(root)
        assert {split: manifest.speakers() for split, manifest in corpus.splits.items()} == {
            "eval": ["s2", "s3"],
            "train": ["s0", "s1"],
        }
        assert list(corpus.trials) == ["eval"]


def test_a_speaker_in_two_folders_is_refused(folder) -> None:
    folder("train")
    data = folder("train_combined").parent
    with pytest.raises(CorpusError, match=r"speaker 's0' is in .*/train and in .*/train_combined"):
        kaldi.read(data)


def test_relative_paths_lead_from_where_the_recipe_was_run(folder, voices: Path, tmp_path: Path) -> None:
    place = folder(wav_scp="s0-u0 downloads/my voices/u0.wav\ns0-u1 downloads/none.wav\n")
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "my voices").symlink_to(voices / "s0")
    manifest = kaldi.read(place).splits["all"]
    assert manifest.files()[0] == tmp_path / "downloads/my voices/u0.wav"
    assert [(left.utterance, left.cause) for left in prepare_split(kaldi.read(place), "all").left_out] == [
        ("s0-u1", "no such file")
    ]


def test_relative_paths_that_lead_nowhere_are_said_to(folder) -> None:
    with pytest.raises(
        CorpusError, match=r"paths are relative \(the first: gone/1\.wav\) and lead nowhere from"
    ):
        kaldi.read(folder(wav_scp="s0-u0 gone/1.wav\n"))


def test_what_has_no_speaker_or_no_recording_is_left_out_and_counted(folder, voices: Path) -> None:
    corpus = kaldi.read(
        folder(
            wav_scp=f"s0-u0 {voices}/s0/u0.wav\nstray {voices}/s0/u1.wav\n",
            utt2spk="s0-u0 s0\ngone-1 s0\ngone-2 s1\n",
        )
    )
    assert list(corpus.splits["all"].column("utterance")) == ["s0-u0"]
    assert corpus.notes == (
        "train: 2 utterance(s) in utt2spk have no recording in wav.scp (gone-1, gone-2); left out.",
        "train: 1 utterance(s) have no speaker in utt2spk (stray); left out.",
    )


def test_segments_of_a_recording_that_is_missing_are_named_with_it(folder) -> None:
    corpus = kaldi.read(
        folder(
            segments="a s0-u0 0 1\n" + "".join(f"b{i} gone {i} {i + 1}\n" for i in range(6)),
            utt2spk="a s0\nc s1\n" + "".join(f"b{i} s1\n" for i in range(6)),
        )
    )
    assert corpus.notes == (
        "train: 1 utterance(s) in utt2spk have no line in segments (c); left out.",
        (
            "train: 6 utterance(s) of segments are cut from 1 recording(s) that wav.scp has not (gone) "
            "(b0, b1, b2, b3, b4, ...); left out."
        ),
    )


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"wav_scp": "a /x/a.wav\nb sox /x/b.mp3 -t wav - |\n"},
            r"wav\.scp, line 2: the recording 'b' is a command .*not run; write the audio to files",
        ),
        ({"wav_scp": "a /x/wav.ark:123\n"}, r"line 1: the recording 'a' lies in an archive .*wav-copy"),
        (
            {"wav_scp": "a /x/a.wav\na /x/b.wav\n"},
            r"wav\.scp, line 2: 'a' is there already: .*wav\.scp, line 1",
        ),
        ({"wav_scp": "a\n"}, r"wav\.scp, line 1: 'a' stands alone; expected KEY VALUE"),
        ({"wav_scp": "\n"}, r"wav\.scp: is empty"),
        ({"utt2spk": b"s0-u0 \xe9mile\n"}, r"utt2spk: is not UTF-8 .*iconv"),
        ({"utt2spk": "other s0\n"}, r"no utterance of utt2spk has a recording in wav\.scp"),
        ({"segments": "s0-u0 s0-u0 0.5\n"}, r"segments, line 1: expected UTTERANCE RECORDING START END"),
        ({"segments": "s0-u0 s0-u0 0.5 x\n"}, r"segments, line 1: 'x' is not a number of seconds"),
        (
            {"segments": "s0-u0 s0-u0 1.5 1\n"},
            r"line 1: the segment ends \(1 s\) before it begins \(1\.5 s\)",
        ),
        ({"segments": "s0-u0 s0-u0 -1 1\n"}, r"segments, line 1: '-1' is not a number of seconds"),
        ({"segments": "s0-u0 s0-u0 0 nan\n"}, r"segments, line 1: 'nan' is not a number of seconds"),
        ({"utt2dur": "s0-u0 long\n"}, r"utt2dur, line 1: 'long' is not a number of seconds"),
    ],
)
def test_a_mistake_is_named_with_its_file_and_line(folder, files, message) -> None:
    with pytest.raises(CorpusError, match=message):
        kaldi.read(folder(**files))


def test_a_recording_that_is_missing_leaves_out_the_list_that_needs_it_and_is_named(folder) -> None:
    folder("train")
    test = folder("test", ("s2", "s3"), trials="s2-u0 s2-u1 target\ns2-u1 s3-u1 nontarget\n")
    folder("other", ("s4", "s5"), trials="s4-u0 s4-u1 target\n")
    scp = test / "wav.scp"
    scp.write_text("".join(scp.read_text().splitlines(keepends=True)[1:]))
    corpus = kaldi.read(test.parent)
    assert set(corpus.splits) == {"train", "test", "other"}
    assert list(corpus.trials) == ["other"]
    assert corpus.notes == (
        "test: 1 utterance(s) in utt2spk have no recording in wav.scp (s2-u0); left out.",
    )
    assert corpus.left_out == {
        "test": f"{test}/trials: 1 of its 3 utterances are not on disk, such as s2-u0; 1 of them stand in utt2spk, "
        "and have no recording in wav.scp"
    }


@pytest.mark.parametrize(
    ("trials", "told"),
    [
        (
            "s0-u0 s0-u1 target\ns0-u0 s9-u0 nontarget\n",
            "1 of its 3 utterances are not on disk, such as s9-u0$",
        ),
        ("s0-u0 s0-u1 target\ns0-u0 s1", "trials, line 2: expected"),
        ("x y target\n", "2 of its 2 .* the list of another release"),
        ("", "the trial list is empty"),
    ],
)
def test_a_list_that_cannot_be_used_is_left_out_and_the_folder_is_read(
    folder, trials: str, told: str
) -> None:
    corpus = kaldi.read(folder(trials=trials))
    assert len(corpus.splits["all"]) == 4
    assert not corpus.trials
    assert re.search(told, corpus.left_out["train"])


def test_a_wrong_place_is_answered_with_the_right_one(folder, tmp_path: Path) -> None:
    place = folder()
    (place / "conf").mkdir()
    with pytest.raises(CorpusError, match=rf"holds no wav\.scp, nor does a folder in it.*: name {place}"):
        kaldi.read(place / "conf")
    with pytest.raises(CorpusError, match="no such folder; name a Kaldi data folder"):
        kaldi.read(place / "wav.scp")
    (place / "utt2spk").unlink()
    with pytest.raises(CorpusError, match="utt2spk: no such file; a Kaldi data folder has"):
        kaldi.read(place)


@pytest.mark.corpus
def test_real_speech_in_a_data_folder_is_prepared(shared_corpora: Path, tmp_path: Path) -> None:
    files = sorted((shared_corpora / "an4" / "eval").rglob("*.opus"))[:20]
    (tmp_path / "wav.scp").write_text("".join(f"{file.stem} {file}\n" for file in files))
    (tmp_path / "utt2spk").write_text("".join(f"{file.stem} {file.parent.name}\n" for file in files))
    (tmp_path / "segments").write_text("".join(f"{file.stem} {file.stem} 0.1 0.6\n" for file in files))
    prepared = prepare_split(kaldi.read(tmp_path), "all")
    assert not prepared.left_out
    assert set(prepared.samples) == {8_000}
    assert len(prepared.manifest.speakers()) > 1
