from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from voxangle.audio import load
from voxangle.audio import probe as audio_probe
from voxangle.corpora import folder as folder_corpus
from voxangle.data import Manifest, Utterance
from voxangle.data import prepare as room
from voxangle.data.prepare import LeftOut, Prepared, prepare
from voxangle.errors import CorpusError, MissingExtraError, StorageError

UTTERANCES = 24


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(room, "_SHARD_SAMPLES", 30_000)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """Two dozen recordings by three speakers, of several formats and rates, each of its own length."""
    folder = tmp_path_factory.mktemp("recordings")
    random = np.random.default_rng(5)
    for number in range(UTTERANCES):
        suffix, rate = [(".wav", 16_000), (".flac", 22_050), (".opus", 16_000), (".mp3", 44_100)][number % 4]
        path = folder / f"speaker{number % 3}" / f"{number:02d}{suffix}"
        path.parent.mkdir(exist_ok=True)
        samples = np.cumsum(random.standard_normal(round((0.3 + 0.05 * number) * rate))) / 200
        kind = {"format": "OGG", "subtype": "OPUS"} if suffix == ".opus" else {}
        soundfile.write(path, 0.5 * np.sin(samples), rate, **kind)
    return folder


@pytest.fixture
def manifest(recordings, tmp_path) -> Manifest:
    """The recordings, in a folder of the test's own, in order of their numbers."""
    corpus = shutil.copytree(recordings, tmp_path / "corpus")
    paths = sorted(corpus.glob("*/*"), key=lambda path: path.name)
    return Manifest.of(
        [Utterance(f"u{int(path.stem)}", path.parent.name, str(path.relative_to(corpus))) for path in paths],
        corpus,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def quantised(waveform):
    return np.clip(np.rint(waveform * 32_768), -32_768, 32_767).astype(np.float32) / 32_768


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """The names of the files that are decoded from now on."""
    names: list[str] = []

    def recording_load(path, **segment):
        names.append(path.name)
        return load(path, **segment)

    monkeypatch.setattr(room, "load", recording_load)
    return names


def test_prepared_audio_is_what_decoding_gives_rounded_to_16_bits(manifest, tmp_path):
    prepared = prepare(manifest, tmp_path / "prepared")
    assert len(list((tmp_path / "prepared").glob("*.pcm"))) > 5
    assert prepared.left_out == ()
    for row, path in enumerate(manifest.files()):
        np.testing.assert_array_equal(prepared.read(row), quantised(load(path)))
        assert prepared.read(row).dtype == np.float32


def test_the_manifest_is_kept_with_measured_durations(manifest, tmp_path):
    prepared = prepare(manifest, tmp_path / "prepared")
    assert prepared.samples.dtype == np.int64
    assert list(prepared.manifest) == [
        replace(row, seconds=float(samples) / 16_000)
        for row, samples in zip(manifest, prepared.samples, strict=True)
    ]
    assert prepared.manifest.files() == manifest.files()


def test_segments_are_read_by_sample(manifest, tmp_path):
    prepared = prepare(manifest, tmp_path / "prepared")
    for row in range(UTTERANCES):
        whole = prepared.read(row)
        assert len(whole) == prepared.samples[row]
        np.testing.assert_array_equal(prepared.read(row, 100, 50), whole[100:150])
        np.testing.assert_array_equal(prepared.read(row, 4000), whole[4000:])
        assert len(prepared.read(row, len(whole), 0)) == 0
        for first, samples in [(-1, 10), (0, len(whole) + 1), (len(whole) + 1, None), (5, -1)]:
            with pytest.raises(IndexError, match=f"of row {row}"):
                prepared.read(row, first, samples)


def test_what_is_read_can_be_changed_without_changing_what_is_stored(manifest, tmp_path):
    prepared = prepare(manifest, tmp_path / "prepared")
    first = prepared.read(0)
    prepared.read(0)[:] = 7
    np.testing.assert_array_equal(prepared.read(0), first)


def test_utterances_may_be_segments_of_one_file(manifest, tmp_path):
    path = str(manifest.files()[23])
    segments = Manifest.of(
        [
            Utterance("a", "x", path, 0.1, 0.5),
            Utterance("b", "x", path, 0.6, 0.5),
            Utterance("c", "y", path, 1.0),
        ],
        manifest.root,
    )
    prepared = prepare(segments, tmp_path / "prepared")
    whole = quantised(load(path))
    for row, first, last in [(0, 1600, 9600), (1, 9600, 17_600), (2, 16_000, None)]:
        assert np.abs(prepared.read(row) - whole[first:last]).max() <= 1 / 32_768


def test_samples_beyond_full_scale_saturate(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.tile([0.0, 1.0, 1.5, -1.0, -3.0], 1000), 16_000, subtype="FLOAT")
    prepared = prepare(Manifest.of([Utterance("a", "a", "a.wav")], tmp_path), tmp_path / "prepared")
    top = 32_767 / 32_768
    np.testing.assert_array_equal(prepared.read(0, 0, 5), np.float32([0, top, top, -1, -1]))


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_the_number_of_workers_changes_no_byte(workers, manifest, tmp_path):
    prepare(manifest, tmp_path / "one", workers=1)
    prepare(manifest, tmp_path / "some", workers=workers)
    assert contents(tmp_path / "some") == contents(tmp_path / "one")


def test_progress_is_told_for_each_utterance(manifest, tmp_path):
    told: list[tuple[int, int]] = []
    prepare(manifest, tmp_path / "prepared", on_progress=lambda done, total: told.append((done, total)))
    assert told == [(done, UTTERANCES) for done in range(UTTERANCES + 1)]


def test_what_is_done_is_not_decoded_again(manifest, tmp_path, decoded):
    first = prepare(manifest, tmp_path / "prepared")
    assert len(decoded) == UTTERANCES
    again = prepare(manifest, tmp_path / "prepared")
    assert len(decoded) == UTTERANCES
    assert list(again.manifest) == list(first.manifest)


def test_bad_recordings_are_left_out_with_their_causes_and_the_rest_is_kept(manifest, tmp_path):
    files = manifest.files()
    files[3].unlink()
    files[8].write_bytes(b"no audio here")
    files[10].write_bytes(b"")
    soundfile.write(files[12], np.zeros(16_000), 16_000)
    soundfile.write(files[16], np.sin(np.arange(399)), 16_000)
    files[4].write_bytes(files[4].read_bytes()[:9000])
    kept = [number for number in range(UTTERANCES) if number not in {3, 4, 8, 10, 12, 16}]
    prepared = prepare(manifest, tmp_path / "prepared")
    assert [row.utterance for row in prepared.manifest] == [f"u{number}" for number in kept]
    for row, number in enumerate(kept):
        np.testing.assert_array_equal(prepared.read(row), quantised(load(files[number])))
    causes = {item.utterance: item.cause for item in prepared.left_out}
    assert causes["u3"] == "no such file"
    assert causes["u4"].startswith("truncated: its header promises")
    assert causes["u8"].startswith("not audio")
    assert causes["u10"] == "the file is empty (0 bytes)"
    assert causes["u12"].startswith("is silent")
    assert causes["u16"] == "lasts 0.0249 s; the shortest usable is one frame of 0.025 s"
    with (tmp_path / "prepared" / "left_out.csv").open(newline="") as file:
        assert [LeftOut(**row) for row in csv.DictReader(file)] == list(prepared.left_out)
    assert Prepared.open(tmp_path / "prepared").left_out == prepared.left_out


def test_a_corpus_of_nothing_but_bad_recordings_is_an_error_with_the_first_causes(manifest, tmp_path):
    for path in manifest.files()[1:]:
        path.write_bytes(b"")
    manifest.files()[0].unlink()
    for _ in range(2):
        with pytest.raises(CorpusError, match="none of the 24 utterances") as caught:
            prepare(manifest, tmp_path / "prepared")
        assert "speaker0/00.wav: no such file\n  speaker1/01.flac: the file is empty (0 bytes)" in str(
            caught.value
        )
    assert len((tmp_path / "prepared" / "left_out.csv").read_text().splitlines()) == 1 + UTTERANCES
    with pytest.raises(CorpusError, match="no prepared audio here"):
        Prepared.open(tmp_path / "prepared")


def test_an_empty_manifest_and_a_missing_corpus_are_errors(manifest, tmp_path):
    with pytest.raises(CorpusError, match="is empty: there is nothing to prepare"):
        prepare(manifest.where(np.zeros(UTTERANCES, bool)), tmp_path / "prepared")
    shutil.rmtree(manifest.root)
    with pytest.raises(CorpusError, match="corpus: no such folder"):
        prepare(manifest, tmp_path / "prepared")
    assert not (tmp_path / "prepared").exists()


def test_a_missing_extra_stops_the_preparation_instead_of_leaving_files_out(manifest, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    manifest.files()[5].write_bytes(b"\0\0\0\x20ftypM4A ")
    with pytest.raises(MissingExtraError, match="media"):
        prepare(manifest, tmp_path / "prepared")


def test_an_unprepared_folder_cannot_be_opened(tmp_path):
    with pytest.raises(CorpusError, match="no prepared audio here"):
        Prepared.open(tmp_path)


@pytest.mark.parametrize("change", ["content", "time", "row", "order", "file back", "root"])
def test_a_change_of_the_corpus_is_prepared_anew_and_nothing_of_the_old_stays(
    change, manifest, tmp_path, decoded
):
    files = manifest.files()
    if change == "file back":
        files[7].rename(tmp_path / "away.mp3")
    prepare(manifest, tmp_path / "prepared")
    old = set(contents(tmp_path / "prepared"))
    if change == "content":
        soundfile.write(files[0], 0.3 * np.sin(np.arange(9000) / 9), 16_000)
    elif change == "time":
        os.utime(files[0], ns=(0, 1))
    elif change == "row":
        manifest = manifest.where(np.arange(UTTERANCES) != 5)
    elif change == "order":
        manifest = Manifest.of(reversed(list(manifest)), manifest.root)
    elif change == "file back":
        (tmp_path / "away.mp3").rename(files[7])
    else:
        shutil.copytree(manifest.root, tmp_path / "copy")
        manifest = Manifest(manifest.table, tmp_path / "copy")
    decoded.clear()
    prepared = prepare(manifest, tmp_path / "prepared")
    assert len(decoded) == len(manifest)
    prepare(manifest, tmp_path / "fresh")
    assert contents(tmp_path / "prepared") == contents(tmp_path / "fresh")
    assert not {name for name in old & set(contents(tmp_path / "prepared")) if name.startswith("shard")}
    np.testing.assert_array_equal(prepared.read(0), quantised(load(prepared.manifest.files()[0])))


def test_audio_opened_before_it_was_prepared_anew_is_never_read_wrongly(manifest, tmp_path):
    before = prepare(manifest, tmp_path / "prepared")
    first = before.read(0)
    prepare(manifest.where(np.arange(UTTERANCES) > 0), tmp_path / "prepared")
    np.testing.assert_array_equal(before.read(0), first)
    with pytest.raises(CorpusError, match="prepare it again"):
        before.read(UTTERANCES - 1)


INTERRUPTED = """
    import os, signal, sys
    from pathlib import Path
    from voxangle.corpora import folder
    from voxangle.data import prepare as room
    from voxangle import storage
    room._SHARD_SAMPLES = 30_000
    {before}
    corpus, out = map(Path, sys.argv[1:])
    room.prepare(folder.read(corpus).splits["all"], out, workers=2{more})
"""


def run_script(manifest: Manifest, out: Path, before: str = "", more: str = "") -> subprocess.Popen[str]:
    script = textwrap.dedent(INTERRUPTED).format(before=textwrap.dedent(before).strip(), more=more)
    return subprocess.Popen(
        [sys.executable, "-c", script, str(manifest.root), str(out)], text=True, stderr=subprocess.PIPE
    )


def killed_after(operations: int) -> str:
    """Code that kills the process at the given one of its changes to the prepared folder."""
    return "\n".join(
        [
            f"left = [{operations}]",
            "def counted(function):",
            "    def call(*args, **more):",
            "        left[0] -= 1",
            "        if left[0] < 0: os.kill(os.getpid(), signal.SIGKILL)",
            "        return function(*args, **more)",
            "    return call",
            "Path.replace = counted(Path.replace)",
            "os.fsync = counted(os.fsync)",
        ]
    )


@pytest.mark.parametrize("operations", [0, 2, 4, 11, 23, 29, 36])
def test_a_run_killed_at_any_moment_goes_on_to_the_same_bytes(operations, manifest, tmp_path, decoded):
    plain = folder_corpus.read(manifest.root).splits["all"]
    prepare(plain, tmp_path / "whole")
    decoded.clear()
    out = tmp_path / "killed"
    process = run_script(manifest, out, killed_after(operations))
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    done = sum(pq.read_metadata(path).num_rows for path in out.glob("shard-*.parquet"))
    prepare(plain, out)
    assert contents(out) == contents(tmp_path / "whole")
    assert sorted(decoded) == sorted(path.name for path in plain.files()[done:])


def test_a_run_killed_from_outside_goes_on_to_the_same_bytes(manifest, tmp_path):
    plain = folder_corpus.read(manifest.root).splits["all"]
    prepare(plain, tmp_path / "whole")
    out = tmp_path / "killed"
    slow = """
    import time
    load = room.load
    def slow_load(*args, **more):
        time.sleep(0.05)
        return load(*args, **more)
    room.load = slow_load
    """
    process = run_script(manifest, out, slow)
    while not list(out.glob("shard-*.parquet")) and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert not (out / "index.parquet").exists()
    prepare(plain, out)
    assert contents(out) == contents(tmp_path / "whole")


def test_a_shard_that_lost_samples_is_decoded_again(manifest, tmp_path, decoded):
    prepare(manifest, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "broken")
    (tmp_path / "broken" / "index.parquet").unlink()
    shard = sorted((tmp_path / "broken").glob("*.pcm"))[2]
    shard.write_bytes(shard.read_bytes()[:-2])
    decoded.clear()
    prepare(manifest, tmp_path / "broken")
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")
    assert 0 < len(decoded) < UTTERANCES


def test_processes_that_prepare_one_folder_at_once_decode_each_file_once(manifest, tmp_path):
    plain = folder_corpus.read(manifest.root).splits["all"]
    prepare(plain, tmp_path / "alone")
    out = tmp_path / "shared"
    count = f"""
    load = room.load
    def counted_load(path, **more):
        with open({str(tmp_path / "decoded")!r}, "a") as file: file.write(path.name + "\\n")
        return load(path, **more)
    room.load = counted_load
    """
    processes = [run_script(manifest, out, count) for _ in range(3)]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert contents(out) == contents(tmp_path / "alone")
    assert sorted((tmp_path / "decoded").read_text().split()) == sorted(path.name for path in plain.files())


def test_a_full_disk_is_said_and_the_run_goes_on_when_there_is_space(manifest, tmp_path):
    plain = folder_corpus.read(manifest.root).splits["all"]
    prepare(plain, tmp_path / "whole")
    out = tmp_path / "full"
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (70_000, 70_000))"
    process = run_script(manifest, out, limit)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "StorageError" in errors
    assert "the disk is full" in errors
    assert list(out.glob("shard-*.parquet"))
    prepare(plain, out)
    assert contents(out) == contents(tmp_path / "whole")


def test_a_folder_that_cannot_be_written_is_named(manifest, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file: cannot be written"):
        prepare(manifest, tmp_path / "file")


@pytest.mark.corpus
def test_real_speech_is_prepared(shared_corpora, tmp_path):
    paths = sorted((shared_corpora / "wuw" / "eval").rglob("*.opus"))[:20]
    manifest = Manifest.of(
        [Utterance(path.stem, path.parent.name, str(path.relative_to(shared_corpora))) for path in paths],
        shared_corpora,
    )
    prepared = prepare(manifest, tmp_path / "prepared")
    assert prepared.left_out == ()
    for row, path in enumerate(paths):
        np.testing.assert_array_equal(prepared.read(row), quantised(load(path)))


def test_a_folder_whose_name_is_not_utf8_is_refused_before_anything_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / os.fsdecode(b"\xe9mile")
    root.mkdir()
    monkeypatch.setattr(room, "load", lambda *_, **__: pytest.fail("decoded before it was said"))
    with pytest.raises(CorpusError, match=r"xe9mile': the name is not UTF-8; rename the folder"):
        prepare(Manifest.of([Utterance("a", "x", "a.wav")], root), tmp_path / "prepared")


# --- rates ---------------------------------------------------------------------------------------------------


def test_resampled_utterances_are_counted_by_the_rate_of_their_file(manifest, tmp_path):
    soundfile.write(manifest.files()[0], np.sin(np.arange(8_000) / 9), 8_000)
    prepared = prepare(manifest, tmp_path / "prepared")
    assert prepared.rates == {8_000: 1, 16_000: 11, 22_050: 6, 44_100: 6}
    assert prepared.where(np.arange(UTTERANCES) < 3).rates == prepared.rates
    (note,) = prepared.notes
    assert note == (
        "13 of 24 utterances resampled to 16,000 Hz, from 8,000 Hz: 1, 22,050 Hz: 6, 44,100 Hz: 6; "
        "1 of less than 16,000 Hz: upsampled, and empty above 4,000 Hz"
    )


def test_what_is_left_out_is_of_no_rate_and_16_khz_is_not_worth_a_note(manifest, tmp_path):
    manifest.files()[0].write_bytes(b"")
    some = manifest.where(np.arange(UTTERANCES) % 4 == 0)
    prepared = prepare(some, tmp_path / "prepared")
    assert prepared.rates == {16_000: 5}
    assert prepared.notes == ()


def test_the_header_of_a_file_of_many_segments_is_read_once(manifest, tmp_path, monkeypatch):
    probed = []
    monkeypatch.setattr(room, "probe", lambda path: probed.append(path) or audio_probe(path))
    path = manifest.files()[3]
    segments = [Utterance(f"s{i}", "a", str(path), 0.01 * i, 0.2) for i in range(20)]
    assert prepare(Manifest.of(segments, manifest.root), tmp_path / "p", workers=1).rates == {44_100: 20}
    assert probed == [path]


def test_audio_that_an_earlier_version_prepared_is_read_and_says_nothing(manifest, tmp_path, decoded):
    folder = tmp_path / "prepared"
    prepare(manifest, folder)
    decoded.clear()
    index = pq.read_table(folder / "index.parquet")
    plan = {b"voxangle.plan": index.schema.metadata[b"voxangle.plan"]}
    pq.write_table(index.replace_schema_metadata(plan), folder / "index.parquet")
    prepared = prepare(manifest, folder)
    assert (len(prepared.manifest), dict(prepared.rates), prepared.notes, decoded) == (UTTERANCES, {}, (), [])


def test_a_run_of_an_earlier_version_that_was_cut_off_goes_on(manifest, tmp_path, decoded):
    folder = tmp_path / "prepared"
    prepare(manifest, folder)
    decoded.clear()
    (folder / "index.parquet").unlink()
    shards = sorted(folder.glob("shard-*.parquet"))
    shards[-1].unlink()
    for path in shards[:-1]:
        pq.write_table(pq.read_table(path).drop_columns("rate"), path)
    prepared = prepare(manifest, folder)
    assert 0 < len(decoded) < UTTERANCES
    assert (len(prepared.manifest), prepared.notes) == (UTTERANCES, ())
