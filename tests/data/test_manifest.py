from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voxangle.data import Manifest, Utterance
from voxangle.data.manifest import SCHEMA
from voxangle.errors import CorpusError, StorageError

text = st.text(st.characters(codec="utf-8"), max_size=12)
seconds = st.floats(0, 1e6, allow_nan=False)
utterances = st.lists(
    st.builds(
        Utterance,
        utterance=text,
        speaker=text,
        path=text,
        start=seconds,
        seconds=seconds,
        session=text,
        language=text,
        gender=st.sampled_from(["f", "m", ""]),
        channel=text,
    ),
    unique_by=lambda utterance: utterance.utterance,
    max_size=8,
)


def three() -> Manifest:
    return Manifest.of(
        [
            Utterance("a/1", "a", "a/1.wav"),
            Utterance("b/1", "b", "b/1.wav"),
            Utterance("a/2", "a", "/x/a/2.wav"),
        ],
        "/corpus",
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=utterances)
def test_a_manifest_is_read_as_it_was_written(rows, tmp_path):
    manifest = Manifest.of(rows, tmp_path / "corpus é")
    manifest.write(tmp_path / "manifest.parquet")
    read = Manifest.read(tmp_path / "manifest.parquet")
    assert list(read) == rows
    assert read.root == manifest.root
    assert read.table.schema.equals(SCHEMA)


def test_speakers_are_numbered_in_sorted_order():
    assert three().speakers() == ["a", "b"]
    assert three().labels().tolist() == [0, 1, 0]


def test_paths_are_relative_to_the_root_or_absolute():
    assert [str(path) for path in three().files()] == ["/corpus/a/1.wav", "/corpus/b/1.wav", "/x/a/2.wav"]


def test_rows_are_chosen_by_mask_and_by_speaker():
    assert [row.utterance for row in three().where([False, True, True])] == ["b/1", "a/2"]
    assert [row.utterance for row in three().of_speakers(["a", "nobody"])] == ["a/1", "a/2"]
    assert len(three().of_speakers([])) == 0
    assert three().of_speakers(["b"]).root == three().root


def test_the_empty_manifest_has_no_speakers():
    empty = Manifest.of([], "/corpus")
    assert (len(empty), empty.speakers(), empty.labels().tolist(), empty.files()) == (0, [], [], [])


def test_two_utterances_with_one_key_are_refused():
    with pytest.raises(CorpusError, match="utterance 'k' occurs more than once"):
        Manifest.of([Utterance("k", "a", "1.wav"), Utterance("k", "b", "2.wav")], "/corpus")


def test_two_utterances_with_one_key_are_found_however_far_apart():
    columns = {name: [""] * 40_000 for name in SCHEMA.names} | {
        "utterance": [*map(str, range(39_999)), "7"],
        "start": [0.0] * 40_000,
        "seconds": [1.0] * 40_000,
    }
    big = Manifest(pa.table(columns, schema=SCHEMA), Path("/corpus"))
    assert len(Manifest.joined([big.where([True] * 39_999 + [False])])) == 39_999
    with pytest.raises(CorpusError, match="utterance '7' occurs more than once"):
        Manifest.joined([big])


def test_a_file_with_two_utterances_of_one_key_is_refused(tmp_path):
    table = three().table
    pq.write_table(pa.concat_tables([table, table.slice(1, 1)]), tmp_path / "manifest.parquet")
    with pytest.raises(CorpusError, match="utterance 'b/1' occurs more than once"):
        Manifest.read(tmp_path / "manifest.parquet")


@pytest.mark.parametrize("column", ["utterance", "speaker", "path", "start"])
def test_a_file_without_one_of_the_columns_is_refused(column, tmp_path):
    pq.write_table(three().table.drop_columns([column]), tmp_path / "manifest.parquet")
    with pytest.raises(CorpusError, match=rf"manifest\.parquet.*lacks the column\(s\) {column}"):
        Manifest.read(tmp_path / "manifest.parquet")


def test_a_file_with_a_column_of_another_type_is_refused(tmp_path):
    table = three().table
    wrong = table.set_column(
        table.schema.get_field_index("start"), "start", pa.array(["soon", "later", "never"])
    )
    pq.write_table(wrong, tmp_path / "manifest.parquet")
    with pytest.raises(CorpusError, match=r"manifest\.parquet"):
        Manifest.read(tmp_path / "manifest.parquet")


def test_a_file_with_an_empty_cell_is_refused(tmp_path):
    table = three().table
    wrong = table.set_column(table.schema.get_field_index("speaker"), "speaker", pa.array(["a", None, "a"]))
    pq.write_table(wrong, tmp_path / "manifest.parquet")
    with pytest.raises(CorpusError, match=r"manifest\.parquet.*speaker.*no value"):
        Manifest.read(tmp_path / "manifest.parquet")


def test_what_is_no_manifest_is_refused(tmp_path):
    (tmp_path / "text").write_text("utterance,speaker\n")
    for path, cause in [
        ("no", "no such manifest"),
        ("text", "not a Parquet manifest"),
        (".", "not a Parquet manifest"),
    ]:
        with pytest.raises(CorpusError, match=cause):
            Manifest.read(tmp_path / path)


def test_other_columns_of_a_file_are_passed_over(tmp_path):
    table = three().table.append_column("licence", pa.array(["x"] * 3))
    pq.write_table(table.select(table.column_names[::-1]), tmp_path / "manifest.parquet")
    assert list(Manifest.read(tmp_path / "manifest.parquet")) == list(three())


def test_a_manifest_cannot_be_written_below_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        three().write(tmp_path / "file" / "manifest.parquet")


def test_manifests_join_with_paths_that_still_lead_to_the_files(tmp_path: Path) -> None:
    one = Manifest.of([Utterance("a", "x", "a.wav")], tmp_path / "one")
    two = Manifest.of([Utterance("b", "y", "b.wav")], tmp_path / "two")
    more = Manifest.of([Utterance("c", "x", "c.wav")], tmp_path / "one")
    assert Manifest.joined([one, two]).files() == [tmp_path / "one" / "a.wav", tmp_path / "two" / "b.wav"]
    assert Manifest.joined([one, more]).root == tmp_path / "one"
    assert Manifest.joined([one, two, more]).speaker_of() == {"a": "x", "b": "y", "c": "x"}
    with pytest.raises(CorpusError, match="'a' occurs more than once"):
        Manifest.joined([one, one])


def test_an_empty_manifest_adds_nothing_to_others(tmp_path: Path) -> None:
    one = Manifest.of([Utterance("a", "x", "/elsewhere/a.wav")], tmp_path / "one")
    joined = Manifest.joined([Manifest.of([], tmp_path / "two"), one])
    assert list(joined) == list(one)


def test_a_fingerprint_changes_with_the_rows_the_settings_and_the_files(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"1")
    one = Manifest.of([Utterance("a", "x", "a.wav"), Utterance("b", "x", "gone.wav")], tmp_path)
    before = [one.fingerprint(), one.fingerprint(1), one.where([True, False]).fingerprint()]
    assert one.fingerprint() == before[0]
    (tmp_path / "a.wav").write_bytes(b"12")
    after = [one.fingerprint(), one.fingerprint(1), one.where([True, False]).fingerprint()]
    assert len({*before, *after}) == 6


def test_kinds_tell_rows_apart_that_differ_in_a_column() -> None:
    rows = [("a", "f", "en"), ("a", "m", "en"), ("b", "f", "en"), ("c", "f", ""), ("c", "f", "en")]
    manifest = Manifest.of(
        [
            Utterance(f"u{i}", speaker, "x.wav", gender=gender, language=language)
            for i, (speaker, gender, language) in enumerate(rows)
        ],
        ".",
    )
    assert manifest.kinds(["gender"]).tolist() == [0, 1, 0, 0, 0]
    both = manifest.kinds(["gender", "language"])
    assert both[0] == both[2] == both[4]
    assert len({int(both[0]), int(both[1]), int(both[3])}) == 3
    assert manifest.kinds(["channel"]).tolist() == [0] * 5
    assert Manifest.of([], ".").kinds(["gender"]).shape == (0,)
