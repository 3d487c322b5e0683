"""Shards: what is written, what is read, and what is said of what is wrong."""

from __future__ import annotations

import http.server
import importlib
import json
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from voxangle.audio import load
from voxangle.corpora import folder as folder_corpus
from voxangle.data import Manifest, Utterance, places, shard_writer
from voxangle.data.shard_reader import ShardReader, ShardRecordings
from voxangle.data.shard_writer import rates_of, write_shards
from voxangle.data.shards import Shards
from voxangle.errors import CorpusError, MissingExtraError, StorageError

SPEAKERS, UTTERANCES = 5, 30
BROKEN = {"u28": "empty", "u29": "silent"}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Manifest:
    """Thirty recordings by five speakers, of several formats, a segment among them; two are broken."""
    root = tmp_path_factory.mktemp("corpus")
    random = np.random.default_rng(5)
    rows = []
    for number in range(UTTERANCES):
        suffix, rate = [(".wav", 16_000), (".flac", 22_050), (".opus", 16_000), (".mp3", 44_100)][number % 4]
        path = root / f"{number:02d}{suffix}"
        samples = 0.5 * np.sin(
            np.cumsum(random.standard_normal(round((0.3 + 0.02 * (number % 7)) * rate))) / 200
        )
        if number == 29:
            samples[:] = 0
        kind = {"format": "OGG", "subtype": "OPUS"} if suffix == ".opus" else {}
        soundfile.write(path, samples, rate, **kind)
        if number == 28:
            path.write_bytes(b"")
        segment = {"start": 0.05, "seconds": 0.2} if number == 4 else {}
        rows.append(
            Utterance(
                f"u{number:02d}", f"s{number % SPEAKERS}", path.name, session=f"v{number // 10}", **segment
            )
        )
    return Manifest.of(rows, root)


SETTINGS = {"together": 2, "shard_bytes": 60_000}


@pytest.fixture(scope="module")
def written(manifest, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shards") / "all"
    write_shards(manifest, folder, **SETTINGS)
    return folder


@pytest.fixture
def copied(written, tmp_path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(written, tmp_path / "copy")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def all_batches(url, **settings):
    settings = {"speakers": 2, "recordings": 2, "seconds": 0.1, "seed": 1, "workers": 0} | settings
    return list(ShardReader(Shards.open(url), **settings).stream(0, whole=False))


def test_a_shard_is_a_tar_that_any_tool_unpacks(written, manifest) -> None:
    files = {path.name for path in written.iterdir()}
    assert files == {"index.json", "left_out.csv"} | {
        name for name in files if re.fullmatch(r"shard-\w+-\d{5}\.tar|utterances-\w+\.parquet", name)
    }
    of_key = {utterance.utterance: utterance for utterance in manifest}
    seen = set()
    for path in sorted(written.glob("*.tar")):
        with tarfile.open(path) as tar:
            members = tar.getmembers()
            for described, audio in zip(members[::2], members[1::2], strict=True):
                assert described.name.partition(".")[0] == audio.name.partition(".")[0]
                entry = json.loads(tar.extractfile(described).read())
                utterance = of_key[entry["utterance"]]
                seen.add(utterance.utterance)
                assert (entry["speaker"], entry["session"]) == (utterance.speaker, utterance.session)
                original = manifest.root / utterance.path
                if utterance.seconds:
                    assert audio.name.endswith(".flac")
                    assert entry["samples"] == 3200
                else:
                    assert audio.name.endswith(original.suffix)
                    assert tar.extractfile(audio).read() == original.read_bytes()
                    assert entry["samples"] == len(load(original))
    assert seen == set(of_key) - set(BROKEN)


@pytest.mark.parametrize("coding", ["keep", "flac"])
def test_recordings_are_counted_by_the_rate_of_their_file(coding, manifest, written, tmp_path) -> None:
    if coding == "keep":
        shards = Shards.open(written)
    else:
        shards = write_shards(manifest, tmp_path / "flac", coding=coding, **SETTINGS)
    # The broken ones were of 16,000 and 22,050 Hz.
    assert rates_of(shards) == {16_000: 14, 22_050: 7, 44_100: 7}


def test_shards_of_an_earlier_version_have_no_rates(copied) -> None:
    index = json.loads((copied / "index.json").read_text())
    del index["rates"]
    (copied / "index.json").write_text(json.dumps(index))
    assert rates_of(Shards.open(copied)) == {}


def test_a_run_of_an_earlier_version_goes_on(manifest, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(shard_writer, "_PART", pa.schema([*shard_writer.TABLE, ("cause", pa.string())]))
    monkeypatch.setattr(shard_writer, "_finish", lambda *_: None)
    with pytest.raises(CorpusError, match="not written to the end"):
        write_shards(manifest, tmp_path / "all", **SETTINGS)
    monkeypatch.undo()
    shards = write_shards(manifest, tmp_path / "all", **SETTINGS)
    assert (len(shards), rates_of(shards)) == (UTTERANCES - 2, {})


def test_the_index_counts_what_is_there(written) -> None:
    shards = Shards.open(written)
    assert len(shards) == UTTERANCES - 2
    assert len(shards.shards) > 3
    assert sum(shard.utterances for shard in shards.shards) == len(shards)
    index = json.loads((written / "index.json").read_text())
    assert (index["speakers"], index["left_out"]) == (SPEAKERS, 2)
    shards.verify()


def test_broken_recordings_are_named_counted_and_left_out(written) -> None:
    left = {item.utterance: item.cause for item in Shards.open(written).left_out}
    assert set(left) == set(BROKEN)
    for utterance, word in BROKEN.items():
        assert word in left[utterance]


def test_a_speakers_recordings_lie_together_in_groups_of_different_sessions(written, manifest) -> None:
    shards = Shards.open(written)
    speakers, sessions = shards.manifest.column("speaker"), shards.manifest.column("session")
    for group in np.unique(shards.groups):
        rows = np.flatnonzero(shards.groups == group)
        assert len(rows) <= 2
        assert len(set(speakers[rows])) == 1
        assert len(set(shards.shard_of[rows])) == 1
        assert len(set(sessions[rows])) == len(rows)
        assert np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows)))


@pytest.mark.parametrize("stop", [1, 9, 17, UTTERANCES])
def test_a_run_cut_off_goes_on_and_ends_with_the_same_bytes(manifest, written, tmp_path, stop) -> None:
    folder = tmp_path / "shards"

    def cut(done: int, total: int) -> None:
        if done == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shards(manifest, folder, on_progress=cut, **SETTINGS)
    with pytest.raises(CorpusError, match="not written to the end"):
        Shards.open(folder)
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.tar")}
    seen: list[int] = []
    write_shards(manifest, folder, on_progress=lambda done, _: seen.append(done), **SETTINGS)
    assert contents(folder) == contents(written)
    assert {name: (folder / name).stat().st_mtime_ns for name in before} == before
    assert bool(before) == bool(seen[0])


def test_a_killed_run_leaves_whole_shards_and_the_same_command_goes_on(voices, tmp_path) -> None:
    script = """
import os, signal, sys
from pathlib import Path
from voxangle.corpora import folder
from voxangle.data.shard_writer import write_shards
stop = lambda done, total: done == 20 and os.kill(os.getpid(), signal.SIGKILL)
manifest = folder.read(Path(sys.argv[1])).splits["all"]
write_shards(manifest, sys.argv[2], together=2, shard_bytes=150_000, on_progress=stop)
"""
    out = tmp_path / "out"
    killed = subprocess.run([sys.executable, "-c", script, str(voices), str(out)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert list(out.glob(".*.tmp"))
    for path in out.glob("*.tar"):
        with tarfile.open(path) as tar:
            assert len(tar.getmembers()) > 1
    manifest = folder_corpus.read(voices).splits["all"]
    write_shards(manifest, out, together=2, shard_bytes=150_000)
    write_shards(manifest, tmp_path / "unbroken", together=2, shard_bytes=150_000)
    assert contents(out) == contents(tmp_path / "unbroken")


def test_what_is_finished_is_not_written_again(manifest, copied, monkeypatch) -> None:
    monkeypatch.setattr("voxangle.data.shard_writer._code", None)
    assert len(write_shards(manifest, copied, **SETTINGS)) == UTTERANCES - 2


def test_flac_codes_everything_anew(manifest, tmp_path) -> None:
    shards = write_shards(manifest, tmp_path / "flac", coding="flac", **SETTINGS)
    row = shards.manifest.table["utterance"].to_pylist().index("u03")
    (coded,) = shards.read(np.asarray([row]))
    assert coded[:4] == b"fLaC"
    path = tmp_path / "one.flac"
    path.write_bytes(coded)
    np.testing.assert_allclose(load(path), load(manifest.root / "03.mp3"), atol=2 / 32_768)


def test_crops_are_of_the_recordings(written, manifest) -> None:
    shards = Shards.open(written)
    keys = shards.manifest.table["utterance"].to_pylist()
    whole = {row: load(manifest.root / f) for row, f in enumerate(shards.manifest.table["path"].to_pylist())}
    count = 0
    for batch in all_batches(written, seconds=0.1):
        for crop, row in zip(batch.waveforms.numpy(), batch.rows.tolist(), strict=True):
            windows = np.lib.stride_tricks.sliding_window_view(whole[row], 1600)
            closest = np.abs(windows[:, ::100] - crop[::100]).max(axis=1).argmin()
            assert np.abs(windows[closest] - crop).max() < 1e-4, keys[row]
            count += 1
    assert count >= len(shards)


def test_any_recording_is_read_by_itself(written, manifest) -> None:
    shards = Shards.open(written)
    recordings = ShardRecordings(shards)
    segment = {u.path: {"start": u.start, "seconds": u.seconds or None} for u in manifest}
    for row, path in enumerate(shards.manifest.table["path"].to_pylist()):
        whole = load(manifest.root / path, **segment[path])
        assert recordings.samples[row] == len(whole)
        np.testing.assert_allclose(recordings.read(row), whole, atol=1e-4)
        np.testing.assert_allclose(recordings.read(row, 700, 900), whole[700:1600], atol=1e-4)
    with pytest.raises(IndexError, match="not within"):
        recordings.read(0, 0, 10**6)


@pytest.mark.parametrize("suffix", [".wav", ".opus", ".mp3"])
def test_a_recording_may_begin_with_silence(tmp_path, suffix) -> None:
    kind = {"format": "OGG", "subtype": "OPUS"} if suffix == ".opus" else {}
    sound = np.concatenate([np.zeros(16_000), 0.3 * np.sin(np.arange(8_000) / 3)])
    soundfile.write(tmp_path / f"a{suffix}", sound, 16_000, **kind)
    manifest = Manifest.of([Utterance("a", "s", f"a{suffix}")], tmp_path)
    recordings = ShardRecordings(write_shards(manifest, tmp_path / "out"))
    assert np.abs(recordings.read(0, 2_000, 4_000)).max() < 1e-3
    assert recordings.read(0, 18_000, 2_000).std() > 0.1


def test_some_speakers_alone_can_be_read(written, manifest) -> None:
    shards = Shards.open(written)
    keep = np.isin(shards.manifest.column("speaker"), ["s1", "s3"])
    some = shards.where(keep)
    assert some.manifest.speakers() == ["s1", "s3"]
    reader = ShardReader(some, speakers=2, recordings=2, seconds=0.1, seed=0, workers=0)
    rows = np.concatenate([batch.rows.numpy() for batch in reader.stream(0, whole=False)])
    assert set(rows.tolist()) == set(range(len(some))) == set(range(int(keep.sum())))
    for mine, all_of_them in enumerate(np.flatnonzero(keep)):
        assert some.read(np.asarray([mine])) == shards.read(np.asarray([all_of_them]))


def test_a_short_recording_is_repeated_to_fill_the_crop(written) -> None:
    batch = all_batches(written, seconds=1.0)[0]
    assert batch.waveforms.shape[1] == 16_000
    samples = Shards.open(written).samples[batch.rows[0]]
    np.testing.assert_array_equal(
        batch.waveforms[0, :1000].numpy(), batch.waveforms[0, samples : samples + 1000].numpy()
    )


def test_an_object_store_holds_and_gives_the_same(manifest, written) -> None:
    fsspec = pytest.importorskip("fsspec")
    url = "memory://bucket/corpus"
    shards = write_shards(manifest, url, **SETTINGS)
    shards.verify()
    system = fsspec.filesystem("memory")
    stored = {
        name.rsplit("/", 1)[-1]: system.cat_file(name) for name in system.ls("/bucket/corpus", detail=False)
    }
    assert stored == contents(written)
    for here, there in zip(all_batches(written), all_batches(url, workers=2), strict=True):
        np.testing.assert_array_equal(here.waveforms.numpy(), there.waveforms.numpy())
    system.rm("/bucket", recursive=True)


class _Server(http.server.SimpleHTTPRequestHandler):
    ranges = True
    asked: list[str]
    failures = 0

    def do_GET(self) -> None:
        if _Server.failures:
            _Server.failures -= 1
            self.send_error(503)
            return
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if wanted and self.ranges:
            self.asked.append(path.name)
            first, last = int(wanted[1]), min(int(wanted[2]), len(content) - 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            content = content[first : last + 1]
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture(params=[True, False], ids=["ranges", "no-ranges"])
def ranges(request) -> bool:
    return request.param


@pytest.fixture
def served(ranges, copied, monkeypatch):
    """The address of a real server of a copy of the shards, and what was asked of it in ranges."""
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(places, "_PAUSES", (0.0, 0.0))
    asked: list[str] = []
    monkeypatch.setattr(_Server, "failures", 0)
    handler = type("Handler", (_Server,), {"ranges": ranges, "asked": asked})
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *words: handler(*words, directory=str(copied))
    ) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def test_shards_are_read_from_a_web_server(served, written) -> None:
    url, asked = served
    for here, there in zip(all_batches(written), all_batches(url, workers=2), strict=True):
        np.testing.assert_array_equal(here.waveforms.numpy(), there.waveforms.numpy())
    assert all(name.endswith(".tar") for name in asked)


def test_a_shard_that_a_web_server_lacks_is_named(served, copied) -> None:
    url, _ = served
    lost = sorted(copied.glob("*.tar"))[1]
    lost.unlink()
    with pytest.raises(CorpusError, match=f"{lost.name}: the shard is missing"):
        Shards.open(url)


@pytest.mark.parametrize("ranges", [True])
def test_a_server_that_fails_for_a_moment_is_asked_again(served) -> None:
    shards = Shards.open(served[0])
    expected = shards.read(np.arange(2))
    _Server.failures = 2
    assert shards.read(np.arange(2)) == expected
    _Server.failures = 3
    with pytest.raises(CorpusError, match=r"shard-\w+-00000.tar: cannot be read \(ClientResponseError: 503"):
        shards.read(np.arange(2))


def test_a_truncated_shard_is_named(copied) -> None:
    shards = Shards.open(copied)
    path = sorted(copied.glob("*.tar"))[1]
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(CorpusError, match=rf"{path.name}: truncated: 20000 bytes of \d+; copy"):
        Shards.open(copied)
    rows = np.flatnonzero(shards.shard_of == 1)
    with pytest.raises(CorpusError, match=f"{path.name}: truncated"):
        shards.read(rows)


def test_a_damaged_recording_is_named_as_it_is_read_and_its_shard_by_verify(copied) -> None:
    shards = Shards.open(copied)
    path = copied / shards.shards[2].name
    row = int(np.flatnonzero(shards.shard_of == 2)[1])
    content = bytearray(path.read_bytes())
    content[int(shards.offsets[row]) + 30] ^= 1
    path.write_bytes(content)
    key = shards.manifest.table["utterance"][row].as_py()
    for workers in (0, 2):
        with pytest.raises(CorpusError, match=f"{path.name}: utterance '{key}' has another checksum"):
            all_batches(copied, workers=workers)
    with pytest.raises(CorpusError, match=rf"1 of {len(shards.shards)} shards .*{path.name}"):
        shards.verify()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, "version 99, and this voxangle reads voxangle-shards version 1"),
        ({"format": "other"}, "an index of other version 1"),
        ({"shards": [{"name": "x"}]}, "index.json: broken"),
        ({"table": {}}, "index.json: broken"),
    ],
)
def test_an_index_of_another_kind_is_named(copied, change, message) -> None:
    index = json.loads((copied / "index.json").read_text())
    (copied / "index.json").write_text(json.dumps(index | change))
    with pytest.raises(CorpusError, match=message):
        Shards.open(copied)


@pytest.mark.parametrize("content", ["", "{", "[]", "7"])
def test_an_index_that_is_none_is_named(copied, content) -> None:
    (copied / "index.json").write_text(content)
    with pytest.raises(CorpusError, match=r"index\.json: not an index of shards"):
        Shards.open(copied)


def test_two_releases_do_not_mix(manifest, copied, tmp_path) -> None:
    with pytest.raises(CorpusError, match=r"holds shards of another release .* choose another place"):
        write_shards(manifest, copied, together=3)
    other = write_shards(manifest, tmp_path / "other", together=4)
    (table,) = copied.glob("*.parquet")
    shutil.copy(tmp_path / "other" / f"utterances-{other.release}.parquet", table)
    with pytest.raises(CorpusError, match=f"{table.name}: is not the table that .*two releases are mixed"):
        Shards.open(copied)


def test_a_place_without_shards_is_named(tmp_path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(CorpusError, match=f"{place}: no shards here"):
            Shards.open(place)


def test_a_url_without_fsspec_names_the_extra(monkeypatch) -> None:
    def gone(name: str):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", gone)
    with pytest.raises(MissingExtraError, match=r"voxangle\[remote\]"):
        Shards.open("s3://bucket/corpus")


def test_an_unknown_protocol_is_named() -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(CorpusError, match="nosuch://bucket: fsspec cannot reach it"):
        Shards.open("nosuch://bucket")


def test_nothing_to_write_is_said(manifest, tmp_path) -> None:
    nobody = manifest.where(np.zeros(len(manifest), dtype=bool))
    with pytest.raises(CorpusError, match="there is nothing to write"):
        write_shards(nobody, tmp_path / "out")
    with pytest.raises(CorpusError, match="no such folder"):
        write_shards(Manifest(manifest.table, tmp_path / "gone"), tmp_path / "out")
    broken = manifest.where(np.isin(manifest.column("utterance"), list(BROKEN)))
    with pytest.raises(CorpusError, match=r"none of the 2 utterances[\s\S]*28.wav: [\s\S]*left_out.csv"):
        write_shards(broken, tmp_path / "out")
    for wrong in ({"together": 0}, {"shard_bytes": 0}, {"coding": "mp3"}):
        with pytest.raises(ValueError, match="at least 1"):
            write_shards(manifest, tmp_path / "out", **wrong)


def test_a_place_that_cannot_be_written_is_named(manifest, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        write_shards(manifest, tmp_path / "file" / "shards")


def test_the_command_line_writes_shards(voices, tmp_path, monkeypatch, capsys) -> None:
    from voxangle import cli

    words = ["voxangle", "corpora", "shard", "folder", "--root", str(voices), "--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", [*words, "--together", "2", "--flac"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert not left.value.code
    assert "all: 24 utterances, 6 speakers, 0.01 h in 1 shards" in capsys.readouterr().out
    shards = Shards.open(tmp_path / "out" / "all")
    assert (shards.together, shards.source) == (2, "folder/all")
    damaged = tmp_path / "out" / "all" / shards.shards[0].name
    content = bytearray(damaged.read_bytes())
    content[600] ^= 1
    damaged.write_bytes(content)
    monkeypatch.setattr("sys.argv", [*words, "--together", "2", "--flac", "--verify"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 2
    assert (
        f"1 of 1 shards have another SHA-256 than their index says: {damaged.name}" in capsys.readouterr().err
    )


def test_the_command_line_names_what_it_left_out(manifest, tmp_path, monkeypatch, capsys) -> None:
    from voxangle import cli

    root = tmp_path / "corpus" / "s0"
    root.mkdir(parents=True)
    for name in ("01.flac", "28.wav"):
        shutil.copy(manifest.root / name, root / name)
    words = ["corpora", "shard", "folder", "--root", str(root.parent), "--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", ["voxangle", *words])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert not left.value.code
    said = capsys.readouterr().out
    assert "all: 1 utterances" in said
    assert "left out: 1, see" in said
    assert "s0/28.wav: the file is empty (0 bytes)" in said
