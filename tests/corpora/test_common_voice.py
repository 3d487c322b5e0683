"""Common Voice: miniature releases of several languages, with the quirks of its tables."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile

from voxangle.corpora import common_voice
from voxangle.corpora.prepared import prepare_split
from voxangle.errors import CorpusError

ANNA, BEN, CHI = (
    f"{letter * 40}{number}".ljust(128, "0") for letter, number in (("a", 1), ("b", 2), ("c", 3))
)
COLUMNS = (
    "client_id\tpath\tsentence_id\tsentence\tsentence_domain\tup_votes\tdown_votes\tage\tgender\taccents\tvariant"
    "\tlocale\tsegment"
)


def line(client: str, path: str, locale: str, gender: str = "", sentence: str = "Words.") -> str:
    return "\t".join([client, path, "id", sentence, "", "2", "0", "", gender, "", "", locale, ""])


def write_language(folder: Path, voices: Path, lines: list[str], header: str = COLUMNS) -> Path:
    """A language's folder: its tables, and a clip of half a second at 32 kHz for every line."""
    (folder / "clips").mkdir(parents=True)
    (folder / "validated.tsv").write_text("\n".join([header, *lines, ""]), encoding="utf-8")
    for name in ("train", "dev", "test", "other", "invalidated", "reported"):
        (folder / f"{name}.tsv").write_text(header + "\n")
    durations = ["clip\tduration[ms]"]
    for number, one in enumerate(lines):
        name = one.split("\t")[1].removesuffix(".mp3") + ".mp3"
        samples, _ = soundfile.read(voices / f"s{number % 6}" / "u0.wav")
        soundfile.write(folder / "clips" / name, samples[:16_000], 32_000, format="MP3")
        durations.append(f"{name}\t504")
    (folder / "clip_durations.tsv").write_text("\n".join(durations) + "\n")
    return folder


@pytest.fixture(scope="module")
def root(voices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of English and French; Anna reads in both."""
    release = tmp_path_factory.mktemp("common-voice") / "cv-corpus-22.0-2025-06-20"
    write_language(
        release / "en",
        voices,
        [
            line(ANNA, "common_voice_en_1.mp3", "en", "female_feminine"),
            line(ANNA, "common_voice_en_2.mp3", "en", "female_feminine", 'He said "no.'),
            line(
                BEN,
                "common_voice_en_3.mp3",
                "en",
                "male_masculine",
                "A form\x0cfeed and a line\u2028separator",
            ),
            line(CHI, "common_voice_en_4.mp3", "en", "do_not_wish_to_say"),
        ],
    )
    write_language(release / "fr", voices, [line(ANNA, "common_voice_fr_9.mp3", "fr", "female")])
    return release


def test_validated_clips_are_one_split_with_speakers_languages_and_genders(root: Path) -> None:
    corpus = common_voice.read(root)
    assert list(corpus.splits) == ["all"]
    rows = [
        (row.utterance, row.speaker, row.language, row.gender, row.seconds) for row in corpus.splits["all"]
    ]
    assert rows == [
        ("common_voice_en_1", f"cv-{ANNA[:32]}", "en", "f", 0.504),
        ("common_voice_en_2", f"cv-{ANNA[:32]}", "en", "f", 0.504),
        ("common_voice_en_3", f"cv-{BEN[:32]}", "en", "m", 0.504),
        ("common_voice_en_4", f"cv-{CHI[:32]}", "en", "", 0.504),
        ("common_voice_fr_9", f"cv-{ANNA[:32]}", "fr", "f", 0.504),
    ]
    assert all(file.is_file() for file in corpus.splits["all"].files())
    assert "not exactly a person" in "\n".join(corpus.remarks)


def test_a_speaker_of_two_languages_is_one(root: Path) -> None:
    assert len(common_voice.read(root).splits["all"].speakers()) == 3


def test_clips_are_prepared_and_missing_or_empty_ones_are_named(voices: Path, tmp_path: Path) -> None:
    names = [f"common_voice_eo_{number}.mp3" for number in range(4)]
    folder = write_language(tmp_path / "eo", voices, [line(ANNA, name, "eo") for name in names])
    (folder / "clips" / names[1]).unlink()
    (folder / "clips" / names[2]).write_bytes(b"")
    prepared = prepare_split(common_voice.read(folder), "all")
    assert list(prepared.manifest.column("utterance")) == ["common_voice_eo_0", "common_voice_eo_3"]
    assert all(abs(samples - 8_000) < 1_600 for samples in prepared.samples)
    assert [left.cause for left in prepared.left_out] == ["no such file", "the file is empty (0 bytes)"]


@pytest.mark.parametrize("place", ["", "en", ".."])
def test_a_language_a_release_and_the_folder_above_are_roots(root: Path, place: str) -> None:
    corpus = common_voice.read(root / place)
    assert len(corpus.splits["all"]) == (4 if place == "en" else 5)
    assert all(file.is_file() for file in corpus.splits["all"].files())


def test_releases_that_hold_the_same_clips_are_not_mixed(root: Path, tmp_path: Path) -> None:
    for release in ("cv-corpus-21.0", "cv-corpus-22.0"):
        (tmp_path / release).symlink_to(root)
    with pytest.raises(CorpusError, match=r"cv-corpus-22\.0/en: 'en' is there in another release too"):
        common_voice.read(tmp_path)


def test_an_early_release_has_no_suffixes_and_no_durations(voices: Path, tmp_path: Path) -> None:
    header = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccent"
    early = f"{ANNA}\tabc\tWords\t2\t0\t\tmale\t"
    folder = write_language(tmp_path / "tr", voices, [early], header)
    (folder / "clip_durations.tsv").unlink()
    (row,) = common_voice.read(folder).splits["all"]
    assert (row.utterance, row.path, row.seconds, row.language, row.gender) == (
        "abc",
        "clips/abc.mp3",
        0.0,
        "tr",
        "m",
    )


def test_broken_lines_are_passed_over_and_counted(voices: Path, tmp_path: Path) -> None:
    lines = [
        line(ANNA, "1.mp3", "eo"),
        "half a line",
        line("", "2.mp3", "eo"),
        line(BEN, "3.mp3", "eo", sentence="a\ttab"),
    ]
    folder = write_language(tmp_path / "eo", voices, [lines[0]])
    (folder / "validated.tsv").write_text("\r\n".join([COLUMNS, *lines]))
    corpus = common_voice.read(folder)
    assert len(corpus.splits["all"]) == 1
    told = "3 broken line(s) of eo/validated.tsv, first 'half a line': unpack the archive again; they are passed over."
    assert f"common-voice: {told}" in corpus.notes
    assert not common_voice.check(folder).whole


def test_a_repeated_line_is_counted_and_the_clip_read_once(voices: Path, tmp_path: Path) -> None:
    lines = [line(ANNA, "1.mp3", "eo"), line(BEN, "2.mp3", "eo")]
    folder = write_language(tmp_path / "eo", voices, [*lines, lines[0], lines[0]])
    corpus = common_voice.read(folder)
    assert [row.utterance for row in corpus.splits["all"]] == ["1", "2"]
    assert any("2 repeated line(s) of validated.tsv, first 1: none needed" in note for note in corpus.notes)
    assert common_voice.check(folder).whole


def test_a_clip_of_two_speakers_is_left_out_and_named(voices: Path, tmp_path: Path) -> None:
    folder = write_language(tmp_path / "eo", voices, [line(ANNA, "1.mp3", "eo"), line(ANNA, "2.mp3", "eo")])
    with (folder / "validated.tsv").open("a") as file:
        file.write(line(BEN, "1.mp3", "eo") + "\n")
    corpus = common_voice.read(folder)
    assert [row.utterance for row in corpus.splits["all"]] == ["2"]
    told = "1 clip(s) of more than one speaker by validated.tsv, first 1: unpack the archive again; they are left out."
    assert f"common-voice: {told}" in corpus.notes
    assert not common_voice.check(folder).whole


def test_a_language_that_lies_there_twice_is_read_once(voices: Path, tmp_path: Path) -> None:
    for name in ("eo", "eo-copy"):
        write_language(tmp_path / name, voices, [line(ANNA, "1.mp3", "eo")])
    corpus = common_voice.read(tmp_path)
    assert [row.path for row in corpus.splits["all"]] == ["eo/clips/1.mp3"]
    assert "first eo/clips/1.mp3 and eo-copy/clips/1.mp3: remove one copy" in corpus.notes[0]
    assert not common_voice.check(tmp_path).whole


def test_a_clip_with_two_durations_is_measured(voices: Path, tmp_path: Path) -> None:
    folder = write_language(tmp_path / "eo", voices, [line(ANNA, f"{key}.mp3", "eo") for key in "123"])
    with (folder / "clip_durations.tsv").open("a") as file:
        file.write("1.mp3\t504\n2.mp3\t9000\n")
    corpus = common_voice.read(folder)
    assert [row.seconds for row in corpus.splits["all"]] == [0.504, 0.0, 0.504]
    assert "1 clip(s) with more than one duration in clip_durations.tsv, first 2.mp3: none" in corpus.notes[0]


@pytest.mark.parametrize("removed", [["validated.tsv"], "all"])
def test_a_language_without_its_table_is_named_and_not_whole(
    removed: list[str] | str, voices: Path, tmp_path: Path
) -> None:
    for name in ("cs", "eo"):
        write_language(tmp_path / name, voices, [line(ANNA, f"{name}_{i}.mp3", name) for i in range(2)])
    assert common_voice.check(tmp_path).whole
    for path in (tmp_path / "cs").glob("*.tsv"):
        if removed == "all" or path.name in removed:
            path.unlink()
    told = "cs: clips/ without validated.tsv, 2 clips not read"
    found = common_voice.check(tmp_path)
    assert not found.whole
    assert f"1 language(s) unpacked by half: {told}; unpack their archives again" in str(found)
    corpus = common_voice.read(tmp_path)
    assert len(corpus.splits["all"]) == 2
    assert any(told in note for note in corpus.notes)
    for root in (tmp_path / "cs", tmp_path):
        with pytest.raises(CorpusError, match=rf"{told}; unpack the archive again"):
            common_voice.read(root)
        (tmp_path / "eo" / "validated.tsv").unlink(missing_ok=True)


def test_tables_without_clips_are_half_a_language_too(voices: Path, tmp_path: Path) -> None:
    write_language(tmp_path / "eo", voices, [line(ANNA, "1.mp3", "eo")])
    (tmp_path / "cs").mkdir()
    (tmp_path / "cs" / "train.tsv").write_text(COLUMNS + "\n")
    (tmp_path / "notes").mkdir()
    assert "1 language(s) unpacked by half: cs: no validated.tsv and no clips;" in str(
        common_voice.check(tmp_path)
    )


def test_mistakes_are_named_with_what_to_do(root: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such folder"):
        common_voice.read(tmp_path / "nowhere")
    with pytest.raises(CorpusError, match=rf"holds no LANGUAGE/validated\.tsv.*: name {root}/en"):
        common_voice.read(root / "en" / "clips")
    (tmp_path / "validated.tsv").write_text("")
    with pytest.raises(CorpusError, match=r"validated\.tsv: is empty; unpack the archive again"):
        common_voice.read(tmp_path)
    (tmp_path / "validated.tsv").write_text(COLUMNS + "\n")
    with pytest.raises(CorpusError, match="has no clips; unpack the archive again"):
        common_voice.read(tmp_path)
    (tmp_path / "validated.tsv").write_bytes(COLUMNS.encode() + b"\n\xff\xfe")
    with pytest.raises(CorpusError, match="cannot be read as a table"):
        common_voice.read(tmp_path)
