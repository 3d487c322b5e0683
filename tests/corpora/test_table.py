from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from voxangle.corpora import table
from voxangle.corpora.prepared import prepare_split
from voxangle.errors import CorpusError, TrialError


@pytest.fixture
def corpus(tmp_path):
    """Write a table and trial lists: (text of the CSV, list name=text ...) -> folder."""

    def write(text: str | bytes, name: str = "utterances.csv", **trials: str):
        folder = tmp_path / "voices"
        (folder / "trials").mkdir(parents=True, exist_ok=True)
        content = text if isinstance(text, bytes) else text.encode()
        (folder / name).write_bytes(content)
        for list_name, lines in trials.items():
            (folder / "trials" / f"{list_name}.txt").write_text(lines)
        return folder

    return write


def test_path_and_speaker_are_enough(corpus):
    folder = corpus("path,speaker\na/1.wav,a\n\nb/1.wav,b\n")
    read = table.read(folder)
    assert read.name == "voices"
    assert [(row.utterance, row.speaker, row.path, row.start, row.seconds) for row in read.splits["all"]] == [
        ("a/1.wav", "a", "a/1.wav", 0.0, 0.0),
        ("b/1.wav", "b", "b/1.wav", 0.0, 0.0),
    ]
    assert read.splits["all"].files()[0] == folder / "a" / "1.wav"
    assert read.trials == {}


def test_every_column_finds_its_place_in_any_order(corpus):
    read = table.read(
        corpus(
            "licence,seconds,start,channel,gender,language,session,utterance,speaker,split,corpus,path\n"
            'CC,2.5,1.25,phone,f,en-GB,monday,k1,anna,train,x,"one, two.wav"\n'
        )
    )
    (row,) = read.splits["train"]
    assert (row.utterance, row.speaker, row.path, row.start, row.seconds) == (
        "k1",
        "x/anna",
        "one, two.wav",
        1.25,
        2.5,
    )
    assert (row.session, row.language, row.gender, row.channel) == ("monday", "en-GB", "f", "phone")


@pytest.mark.parametrize(
    ("column", "right"),
    [
        ("duration", "how long an utterance lasts stands in a column 'seconds'"),
        ("dur", "'seconds'"),
        ("Seconds", "'seconds'"),
        ("Duration (ms)", "'seconds', in seconds"),
        ("end", r"how long an utterance lasts \('end' less 'start'\) stands in a column 'seconds'"),
        ("stop_time", r"'stop_time' less 'start'\) stands in a column 'seconds'"),
    ],
)
def test_a_column_that_seems_to_be_the_length_is_refused(column, right, corpus):
    for columns in (f"start,{column}", f"{column},start"):
        with pytest.raises(
            CorpusError,
            match=rf"the column '{re.escape(column)}' would not be read; .*{right}.*: add that column",
        ):
            table.read(corpus(f"path,speaker,{columns}\n1.wav,a,1,2\n"))


@pytest.mark.parametrize("column", ["offset", "begin", "start_sec", "onset", "START"])
def test_a_column_that_seems_to_be_the_start_is_refused(column, corpus):
    with pytest.raises(
        CorpusError, match=rf"column '{column}' would not be read; .*column 'start', in seconds"
    ):
        table.read(corpus(f"path,speaker,seconds,{column}\n1.wav,a,1,2\n"))


def test_a_missing_column_is_answered_with_what_others_call_it(corpus):
    for wrong in ("spk", "speaker_id", "client_id"):
        with pytest.raises(CorpusError, match=rf"has no column 'speaker'; did you mean '{wrong}'"):
            table.read(corpus(f"sepal,path,{wrong}\nx,1.wav,a\n"))


def test_columns_that_are_not_read_are_named_in_the_notes(corpus):
    read = table.read(
        corpus(
            "path,speaker,speaker_id,start,seconds,end,licence,lang\n1.wav,a,7,1,2,3,CC,en\n2.wav,a,7,1,2,3,CC,en\n"
        )
    )
    assert read.notes == (
        "utterances.csv: columns that are not read: speaker_id, end, licence, lang (call it language to have it read).",
    )
    assert not table.read(corpus("path,speaker,start,seconds\n1.wav,a,1,2\n")).notes


def test_one_name_in_two_corpora_is_two_speakers(corpus):
    read = table.read(corpus("path,speaker,corpus\n1.wav,anna,x\n2.wav,anna,y\n3.wav,anna,\n"))
    assert read.splits["all"].speakers() == ["anna", "x/anna", "y/anna"]


def test_splits_and_trials_are_read_and_keys_belong_to_any_split(corpus):
    read = table.read(
        corpus(
            "path,speaker,split\n1.wav,a,train\n2.wav,b,eval\n3.wav,b,eval\n",
            short="1 2.wav 3.wav\n",
            across="0 1.wav 2.wav\n",
        )
    )
    assert {name: len(split) for name, split in read.splits.items()} == {"train": 1, "eval": 2}
    assert sorted(read.trials) == ["across", "short"]
    assert read.trials["short"].utterances == ("2.wav", "3.wav")


def test_a_csv_of_any_name_is_read_alone_or_from_its_folder(corpus):
    folder = corpus("path,speaker\n1.wav,a\n", name="mine.csv")
    assert table.read(folder).name == table.read(folder / "mine.csv").name == "mine"
    corpus("path,speaker\n1.wav,a\n", name="other.csv")
    with pytest.raises(
        CorpusError, match=r"not just one other CSV or Parquet file \(found: mine\.csv, other\.csv\)"
    ):
        table.read(folder)


def test_a_table_from_a_spreadsheet_is_read(corpus):
    read = table.read(corpus("﻿path,speaker\r\n1.wav,Émile\r\n".encode()))
    assert read.splits["all"].speakers() == ["Émile"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"line 1: is empty; write it again, with the columns path, speaker"),
        ("path,speakers\n1.wav,a\n", r"line 1: has no column 'speaker'; did you mean 'speakers'\?"),
        ("path,speaker\n", r"the table has no rows"),
        ("path,speaker\n1.wav,a\n2.wav\n", r"line 3: has 1 values for 2 columns"),
        ("path,speaker\n1.wav,a\n2.wav,b,c\n", r"line 3: has 3 values for 2 columns"),
        ("path,speaker\n1.wav,\n", r"line 2: the speaker is empty"),
        ("path,speaker\n,a\n", r"line 2: the path is empty"),
        (
            "path,speaker,seconds\n1.wav,a,2\n2.wav,a,two\n",
            r"line 3: 'two' in column 'seconds' is not a number",
        ),
        ("path,speaker,start\n1.wav,a,-1\n", r"line 2: '-1' in column 'start'"),
        ("path,speaker,start\n1.wav,a,nan\n", r"line 2: 'nan' in column 'start'"),
        ("path,speaker\n1.wav,a\n1.wav,a\n", r"line 3: utterance '1\.wav' is there already, on line 2"),
        (
            "path,speaker,split\n1.wav,a,train\n2.wav,b,eval\n3.wav,a,eval\n",
            r"line 4: speaker 'a' is in split 'eval' here and in 'train' on line 2",
        ),
        ('path,speaker\n1.wav,a\n"2.wav,b\n', r"line 3: not a CSV"),
        (b"path,speaker\n\xff\xfe,a\n", r"cannot be read as a table"),
    ],
)
def test_a_mistake_in_the_table_is_named_with_its_line(text, message, corpus):
    with pytest.raises(CorpusError, match=r"utterances\.csv.*" + message):
        table.read(corpus(text))


def test_a_trial_of_an_unknown_utterance_is_named_with_its_line(corpus):
    folder = corpus("path,speaker\n1.wav,a\n2.wav,b\n", short="1 1.wav 2.wav\n0 1.wav 9.wav\n")
    with pytest.raises(TrialError, match=r"short\.txt, line 2: there is no utterance '9\.wav'"):
        table.read(folder)


def test_a_missing_table_is_refused(tmp_path):
    with pytest.raises(CorpusError, match=r"no such table; name a CSV or Parquet file, or the folder"):
        table.read(tmp_path / "nowhere")
    with pytest.raises(CorpusError, match=r"holds no utterances\.csv .*\(found: none\)"):
        table.read(tmp_path)


@pytest.mark.corpus
def test_the_shared_corpora_are_read_whole(shared_corpora):
    read = table.read(shared_corpora)
    assert {name: len(split) for name, split in read.splits.items()} == {"train": 7843, "eval": 2502}
    assert len(read.splits["train"].speakers()) + len(read.splits["eval"].speakers()) == 700
    assert len(read.trials["pooled"]) == sum(len(t) for name, t in read.trials.items() if name != "pooled")
    assert set(read.trials["pooled"].utterances) <= set(read.splits["eval"].column("utterance"))


# --- Parquet -------------------------------------------------------------------------------------------------


def test_a_parquet_table_is_read_like_a_csv(tmp_path):
    columns = {
        "path": ["1.wav", "2.wav"],
        "speaker": [1, 2],
        "split": ["train", "eval"],
        "seconds": [2.5, None],
        "vector": [[0.5], [0.25]],
        "audio": [b"x", b"y"],
    }
    pq.write_table(pa.table(columns), tmp_path / "utterances.parquet")
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials" / "short.txt").write_text("1 1.wav 1.wav\n0 1.wav 2.wav\n")
    for root in (tmp_path, tmp_path / "utterances.parquet"):
        read = table.read(root)
        assert read.name == tmp_path.name
        (row,) = read.splits["train"]
        assert (row.utterance, row.speaker, row.path, row.seconds) == ("1.wav", "1", "1.wav", 2.5)
        (row,) = read.splits["eval"]
        assert (row.speaker, row.seconds) == ("2", 0.0)
        assert len(read.trials["short"]) == 2


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"path": ["1.wav"], "speakers": ["a"]}, r"has no column 'speaker'; did you mean 'speakers'\?"),
        ({"path": ["1.wav"], "speaker": [None]}, r"row 1: the speaker is empty"),
        (
            {"path": ["1.wav", "1.wav"], "speaker": ["a", "a"]},
            r"row 2: utterance '1\.wav' is there .* row 1;",
        ),
        ({"path": ["1.wav"], "speaker": ["a"], "start": [-1.0]}, r"row 1: '-1\.0' in column 'start'"),
        ({"path": [], "speaker": []}, r"the table has no rows"),
    ],
)
def test_a_mistake_in_a_parquet_table_is_named_with_its_row(columns, message, tmp_path):
    pq.write_table(pa.table(columns), tmp_path / "mine.parquet")
    with pytest.raises(CorpusError, match=r"mine\.parquet.*" + message):
        table.read(tmp_path)


def test_what_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "mine.parquet").write_bytes(b"")
    with pytest.raises(CorpusError, match=r"mine\.parquet: cannot be read as a table"):
        table.read(tmp_path)


def test_a_table_of_made_up_voices_is_prepared(voices, tmp_path):
    files = sorted(voices.glob("s[01]/*.wav"))
    columns = {"path": [str(file) for file in files], "speaker": [file.parent.name for file in files]}
    columns["path"].append("gone.wav")
    columns["speaker"].append("s9")
    pq.write_table(pa.table(columns), tmp_path / "mine.parquet")
    prepared = prepare_split(table.read(tmp_path), "all")
    assert prepared.samples.tolist() == [32_000] * 8
    assert [(left.utterance, left.cause) for left in prepared.left_out] == [("gone.wav", "no such file")]
