"""Data sets of Hugging Face on disk: metadata, folders of labels, and tables with the recordings in them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from voxangle.corpora import audio_folder, embedded
from voxangle.corpora.prepared import prepare_split
from voxangle.errors import CorpusError, StorageError

AUDIO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def copy(voices: Path, speaker: int, utterance: int, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(voices / f"s{speaker}" / f"u{utterance}.wav", path))


def audio_of(voices: Path, speaker: int, utterance: int) -> dict:
    name = f"s{speaker}-u{utterance}.wav"
    return {"bytes": (voices / f"s{speaker}" / f"u{utterance}.wav").read_bytes(), "path": name}


def write_table(path: Path, audio: list, features: dict | None = None, **columns: list) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"audio": pa.array(audio, AUDIO), **columns})
    if features:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table)
    return path


# --- metadata ------------------------------------------------------------------------------------------------


def test_metadata_in_the_root_names_files_and_who_speaks(voices: Path, tmp_path: Path) -> None:
    copy(voices, 0, 0, tmp_path / "data" / "one.wav")
    copy(voices, 1, 0, tmp_path / "data" / "two.wav")
    (tmp_path / "metadata.csv").write_text(
        "file_name,transcription,speaker_id,sex,locale,chapter_id\n"
        'data/one.wav,"Words, more",17,Female,de,c1\ndata/two.wav,x,18,male,,\n'
    )
    corpus = audio_folder.read(tmp_path)
    assert [
        (row.utterance, row.speaker, row.gender, row.language, row.session, row.seconds)
        for row in corpus.splits["all"]
    ] == [("data/one.wav", "17", "f", "de", "c1", 2.0), ("data/two.wav", "18", "m", "", "", 2.0)]
    assert prepare_split(corpus, "all").samples.tolist() == [32_000, 32_000]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_metadata_in_each_split_s_folder(voices: Path, tmp_path: Path, form: str) -> None:
    for number, split in enumerate(("train", "dev", "test")):
        copy(voices, number, 0, tmp_path / split / "a.wav")
        path = tmp_path / split / f"metadata.{form}"
        if form == "csv":
            path.write_text(f"file_name,speaker\na.wav,{number}\n")
        elif form == "jsonl":
            path.write_text(json.dumps({"file_name": "a.wav", "speaker": number, "words": ["x"]}) + "\n")
        else:
            pq.write_table(pa.table({"file_name": ["a.wav"], "speaker": [number]}), path)
    corpus = audio_folder.read(tmp_path)
    assert {split: manifest.speakers() for split, manifest in corpus.splits.items()} == {
        "train": ["0"],
        "validation": ["1"],
        "test": ["2"],
    }
    assert list(corpus.splits["validation"].column("utterance")) == ["dev/a.wav"]


def test_splits_that_share_speakers_are_read_as_one(voices: Path, tmp_path: Path) -> None:
    for split, speakers in {"train": (0, 1), "test": (1, 2)}.items():
        for speaker in speakers:
            copy(voices, speaker, 0, tmp_path / split / f"s{speaker}" / f"{split}.wav")
    corpus = audio_folder.read(tmp_path)
    assert list(corpus.splits) == ["all"]
    assert len(corpus.splits["all"]) == 4
    assert "1 of 3 speakers are in more than one of" in "\n".join(corpus.remarks)


def test_a_file_that_is_listed_but_missing_or_empty_is_named_when_preparing(
    voices: Path, tmp_path: Path
) -> None:
    copy(voices, 0, 0, tmp_path / "a.wav")
    (tmp_path / "b.wav").touch()
    (tmp_path / "metadata.csv").write_text("file_name,speaker\na.wav,x\nb.wav,x\nc.wav,y\n")
    prepared = prepare_split(audio_folder.read(tmp_path), "all")
    assert [(left.utterance, left.cause) for left in prepared.left_out] == [
        ("b.wav", "the file is empty (0 bytes)"),
        ("c.wav", "no such file"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("speaker\nx\n", r"metadata\.csv, line 1: has no column 'file_name'"),
        (
            "file_name,label\na.wav,x\n",
            r"no column says who speaks \(its columns: file_name, label\); expected one called speaker",
        ),
        ("file_name,speaker\na.wav,\n", r"metadata\.csv, line 2: the speaker is empty"),
        ("file_name,speaker\n,x\n", r"metadata\.csv, line 2: the file_name is empty"),
        ("file_name,speaker\na.wav,x\na.wav,y\n", r"csv, line 3: 'a\.wav' is there already, on line 2"),
        ("file_name,speaker\na.wav\n", r"metadata\.csv, line 2: has 1 values for 2 columns"),
        (b"file_name,speaker\na.wav,\xff\n", r"metadata\.csv: cannot be read as a table"),
    ],
)
def test_a_mistake_in_the_metadata_is_named(tmp_path: Path, text: str | bytes, message: str) -> None:
    (tmp_path / "metadata.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CorpusError, match=message):
        audio_folder.read(tmp_path)


# --- folders of labels ---------------------------------------------------------------------------------------


def test_labels_are_speakers_and_the_folders_above_them_splits(voices: Path, tmp_path: Path) -> None:
    copy(voices, 0, 0, tmp_path / "data" / "train" / "anna" / "a.wav")
    copy(voices, 1, 0, tmp_path / "data" / "valid" / "ben" / "a.wav")
    (tmp_path / "data" / "train" / "zoe").symlink_to(voices / "s2")
    corpus = audio_folder.read(tmp_path)
    assert {split: manifest.speakers() for split, manifest in corpus.splits.items()} == {
        "train": ["anna", "zoe"],
        "validation": ["ben"],
    }
    assert audio_folder.read(tmp_path / "data" / "train").splits["all"].speakers() == ["anna", "zoe"]


def test_a_recording_without_a_label_is_refused(voices: Path, tmp_path: Path) -> None:
    stray = copy(voices, 0, 0, tmp_path / "train" / "a.wav")
    with pytest.raises(CorpusError, match=rf"{stray}: lies in no speaker's folder, and no metadata\.csv"):
        audio_folder.read(tmp_path)


def test_a_folder_that_is_missing_or_holds_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such folder"):
        audio_folder.read(tmp_path / "nowhere")
    with pytest.raises(CorpusError, match=r"holds no data set; expected metadata\.csv"):
        audio_folder.read(tmp_path)


# --- tables with the recordings in them ----------------------------------------------------------------------


def test_recordings_in_parquet_become_files_by_split(voices: Path, tmp_path: Path) -> None:
    for split, speaker in {"train": 0, "validation": 1, "test": 2}.items():
        write_table(
            tmp_path / "data" / f"{split}-00000-of-00001.parquet",
            [audio_of(voices, speaker, i) for i in (0, 1)],
            speaker_id=[speaker, speaker],
            gender=["F", "F"],
            text=["a", "b"],
        )
    corpus = audio_folder.read(tmp_path)
    assert list(corpus.splits) == ["test", "train", "validation"]
    rows = list(corpus.splits["train"])
    assert [(row.utterance, row.speaker, row.gender, row.seconds) for row in rows] == [
        ("s0-u0.wav", "0", "f", 2.0),
        ("s0-u1.wav", "0", "f", 2.0),
    ]
    files = corpus.splits["train"].files()
    assert [file.read_bytes() for file in files] == [audio_of(voices, 0, i)["bytes"] for i in (0, 1)]
    assert prepare_split(corpus, "test").samples.tolist() == [32_000, 32_000]


def test_arrow_as_saved_to_disk_with_numbered_classes(voices: Path, tmp_path: Path) -> None:
    write_table(
        tmp_path / "train" / "data-00000-of-00001.arrow",
        [audio_of(voices, speaker, 0) for speaker in (1, 0)],
        {"speaker": {"names": ["anna", "ben"], "_type": "ClassLabel"}, "text": {"_type": "Value"}},
        speaker=[1, 0],
    )
    (tmp_path / "train" / "cache-1a2b.arrow").write_bytes(b"what datasets computed")
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train"]}')
    assert list(audio_folder.read(tmp_path).splits["train"].column("speaker")) == ["ben", "anna"]


def test_recordings_are_written_once_and_anew_when_their_table_changes(
    voices: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = write_table(tmp_path / "a.parquet", [audio_of(voices, 0, 0)], speaker=["x"])
    first = audio_folder.read(tmp_path).splits["all"].files()
    with monkeypatch.context() as context:
        context.setattr(embedded, "_extract", lambda *_: pytest.fail("written again"))
        assert audio_folder.read(tmp_path).splits["all"].files() == first
    assert first[0].is_relative_to(cache)
    write_table(table, [audio_of(voices, 1, 0), audio_of(voices, 1, 1)], speaker=["x", "x"])
    assert len(audio_folder.read(tmp_path).splits["all"]) == 2


def test_a_run_that_is_cut_off_leaves_no_half_folder_and_goes_on(
    voices: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (0, 1):
        write_table(tmp_path / f"part-{number}.parquet", [audio_of(voices, number, 0)], speaker=[str(number)])
    extract = embedded._extract

    def cut_off(table: Path, *rest) -> None:
        if table.stem == "part-1":
            raise KeyboardInterrupt
        extract(table, *rest)

    monkeypatch.setattr(embedded, "_extract", cut_off)
    with pytest.raises(KeyboardInterrupt):
        audio_folder.read(tmp_path)
    assert [len(list(folder.iterdir())) for folder in (cache / "extracted").iterdir()] == [2]
    done = []
    monkeypatch.setattr(
        embedded, "_extract", lambda table, *rest: (done.append(table.stem), extract(table, *rest))
    )
    assert len(audio_folder.read(tmp_path).splits["all"]) == 2
    assert done == ["part-1"]


def test_a_full_disk_is_said_with_a_way_out(
    voices: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(tmp_path / "a.parquet", [audio_of(voices, 0, 0)], speaker=["x"])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match=r"No space left on device.*VOXANGLE_CACHE"):
        audio_folder.read(tmp_path)
    assert not list((cache / "extracted").iterdir())


def test_rows_may_refer_to_files_or_hold_nothing(voices: Path, tmp_path: Path) -> None:
    copy(voices, 0, 0, tmp_path / "wav" / "a.wav")
    write_table(
        tmp_path / "a.parquet",
        [{"bytes": None, "path": "wav/a.wav"}, {"bytes": None, "path": "wav/gone.wav"}, None],
        speaker=["x", "y", "z"],
    )
    corpus = audio_folder.read(tmp_path)
    assert list(corpus.splits["all"].column("utterance")) == ["a.wav", "gone.wav"]
    assert corpus.notes[-1].endswith("a: 1 row(s) without a recording; left out.")
    prepared = prepare_split(corpus, "all")
    assert [(left.utterance, left.cause) for left in prepared.left_out] == [("gone.wav", "no such file")]


def test_names_that_repeat_are_no_keys(voices: Path, tmp_path: Path) -> None:
    audio = [{**audio_of(voices, i, 0), "path": name} for i, name in enumerate(("a.wav", "a.wav", None))]
    write_table(tmp_path / "en" / "0000.parquet", audio, speaker=["x", "y", "z"])
    rows = list(audio_folder.read(tmp_path).splits["all"])
    assert [row.utterance for row in rows] == ["en/0000/1", "en/0000/2", "en/0000/3"]
    assert [row.seconds for row in rows] == [2.0] * 3


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_a_table_that_is_broken_is_named(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a.{suffix}").write_bytes(b"broken" * 10)
    with pytest.raises(CorpusError, match=rf"a\.{suffix}: cannot be read as a table .*fetch it again"):
        audio_folder.read(tmp_path)
    (tmp_path / f"a.{suffix}").write_bytes(b"")
    with pytest.raises(CorpusError, match=rf"a\.{suffix}: cannot be read as a table"):
        audio_folder.read(tmp_path)


def test_a_table_without_recordings_or_speakers_is_refused(voices: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"path": ["a.wav"], "speaker": ["x"]}), tmp_path / "a.parquet")
    with pytest.raises(CorpusError, match=r"a\.parquet: has no column of recordings .*the corpus 'table'"):
        audio_folder.read(tmp_path)
    write_table(tmp_path / "a.parquet", [audio_of(voices, 0, 0)], text=["x"])
    with pytest.raises(CorpusError, match=r"no column says who speaks \(its columns: audio, text\)"):
        audio_folder.read(tmp_path)
    write_table(tmp_path / "a.parquet", [audio_of(voices, 0, 0)], speaker=pa.array([None], pa.string()))
    with pytest.raises(CorpusError, match=r"a\.parquet, row 1: the speaker is empty"):
        audio_folder.read(tmp_path)
