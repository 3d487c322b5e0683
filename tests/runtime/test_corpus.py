"""A corpus is embedded part by part: a killed run goes on, and what comes out is what would have come out."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from numpy.typing import NDArray

from voxangle.data import Manifest, Utterance
from voxangle.errors import AudioError, StorageError
from voxangle.runtime import BaseEmbedder, sources
from voxangle.runtime.archive import read_embeddings, stream_embeddings, write_embeddings
from voxangle.runtime.card import Calibration, Threshold
from voxangle.runtime.corpus import Written, embed_corpus, here
from voxangle.runtime.embedding import PartSize
from voxangle.runtime.parts import PartFolder
from voxangle.runtime.recording_list import RecordingList
from voxangle.runtime.windows import Windows

RATE = 16_000
PART = PartSize(recordings=5)


class Card:
    name = "sums"
    thresholds: tuple[Threshold, ...] = ()
    calibration: Calibration | None = None


class Sums(BaseEmbedder):
    """A model whose embedding betrays, in its last digits, with how much padding it was made."""

    card = Card()
    weights_sha256 = "0" * 64
    dimension = 3  # type: ignore[assignment]

    def _embed_padded(
        self, waveforms: NDArray[np.float32], samples: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        wide = waveforms.astype(np.float64)
        padding = waveforms.shape[1] / 1e9
        return np.stack([wide.sum(1) / samples, (wide**2).sum(1) / samples, 1 + 0 * samples], 1).astype(
            np.float32
        ) * np.float32(1 + padding)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> RecordingList:
    """Twenty-three recordings, ever shorter; the eighth is no audio and the last is missing."""
    root = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    for number in range(22):
        waveform = 0.1 * rng.standard_normal(round((rng.uniform(0.3, 0.5) + 0.01 * (22 - number)) * RATE))
        soundfile.write(root / f"{number}.wav", waveform, RATE, subtype="FLOAT")
    (root / "7.wav").write_text("no audio")
    return RecordingList.of_files({f"key {number}": f"{number}.wav" for number in range(23)}, root)


def whole(corpus: RecordingList, folder: Path, part: PartSize = PART) -> tuple[Written, list[AudioError]]:
    errors: list[AudioError] = []
    model = Sums()
    written = embed_corpus(model, corpus, folder, here(model), part=part, on_error=errors.append)
    return written, errors


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_recording_has_its_row_in_order(corpus: RecordingList, tmp_path: Path) -> None:
    written, errors = whole(corpus, tmp_path)
    assert written == (0, 21, 2)
    assert [error.path.name for error in errors] == ["7.wav", "22.wav"]
    folder = PartFolder.open(tmp_path)
    assert folder.complete
    assert folder.begins == (0, 5, 10, 15, 20, 23)
    table = pa.concat_tables(folder.tables())
    assert table["key"].to_pylist() == [f"key {number}" for number in range(23)]
    assert table["windows"].to_pylist() == [int(number not in {7, 22}) for number in range(23)]
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), 3)
    assert folder.left_out() == {
        f"key {row}": error.cause for row, error in zip((7, 22), errors, strict=True)
    }
    keys, vectors = read_embeddings(tmp_path)
    expected = Sums().embed_files(list(map(str, sorted(corpus.root.glob("*.wav")))), on_error=lambda _: None)
    order = sorted((n for n in range(22) if n != 7), key=lambda n: f"{n}.wav")
    assert keys == [f"key {number}" for number in range(22) if number != 7]
    np.testing.assert_allclose(
        vectors[[keys.index(f"key {n}") for n in order]], expected.embeddings, rtol=1e-4
    )
    found = table["seconds"].to_pylist()
    assert found[3] == soundfile.info(corpus.root / "3.wav").duration


def test_parts_are_read_by_anything_that_reads_parquet(corpus: RecordingList, tmp_path: Path) -> None:
    whole(corpus, tmp_path)
    table = pq.read_table([str(path) for path in sorted(tmp_path.glob("*.parquet"))])
    assert table.num_rows == 23
    assert table["embedding"].null_count == 2


KILLED = """
import json, os, signal, sys
sys.path.insert(0, {tests!r})
from test_corpus import Sums, PART
from voxangle.runtime.corpus import embed_corpus, here
from voxangle.runtime.recording_list import RecordingList
root, folder, at = sys.argv[1:]
def kill(done, total):
    if done == int(at):
        os.kill(os.getpid(), signal.SIGKILL)
corpus = RecordingList.of_files({{f"key {{number}}": f"{{number}}.wav" for number in range(23)}}, root)
embed_corpus(Sums(), corpus, folder, here(Sums()), part=PART, on_progress=kill)
"""


def test_a_killed_run_goes_on_and_nothing_differs(
    corpus: RecordingList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole(corpus, tmp_path / "whole")
    script = KILLED.format(tests=str(Path(__file__).parent))
    killed = subprocess.run(
        [sys.executable, "-c", script, corpus.root, tmp_path / "killed", "12"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -9, killed.stderr
    assert PartFolder.open(tmp_path / "killed").begins[-1] == 10
    with pytest.raises(StorageError, match=r"10 of 23 recordings are embedded; run the same"):
        read_embeddings(tmp_path / "killed")
    assert sum(len(keys) for keys, _ in stream_embeddings(tmp_path / "killed", incomplete=True)) == 9
    # What a kill during a write leaves behind.
    (tmp_path / "killed" / ".part-0000000010.parquet.x.tmp").write_bytes(b"PAR1")

    decoded: list[str] = []
    load = sources.load
    monkeypatch.setattr(sources, "load", lambda path: (decoded.append(Path(path).name), load(path))[1])
    written, errors = whole(corpus, tmp_path / "killed")
    assert written == (10, 12, 1)
    assert len(errors) == 1
    assert sorted(decoded) == sorted(f"{number}.wav" for number in range(10, 22))
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    decoded.clear()
    assert whole(corpus, tmp_path / "killed")[0] == (23, 0, 0)
    assert decoded == []


def test_parts_end_by_length_too(corpus: RecordingList, tmp_path: Path) -> None:
    whole(corpus, tmp_path, PartSize(recordings=100, samples=2 * RATE))
    folder = PartFolder.open(tmp_path)
    for table in folder.tables():
        seconds = table["seconds"].to_pylist()
        assert sum(seconds[:-1]) < 2
    assert all(sum(table["seconds"].to_pylist()) >= 2 for table in list(folder.tables())[:-1])


def test_a_folder_of_something_else_is_not_touched(corpus: RecordingList, tmp_path: Path) -> None:
    whole(corpus, tmp_path / "parts")
    before = contents(tmp_path / "parts")
    other = Sums()
    other.weights_sha256 = "1" * 64
    other.windows = Windows(seconds=30)
    with pytest.raises(StorageError, match=r"weights_sha256 .* windows .*choose another folder"):
        embed_corpus(other, corpus, tmp_path / "parts", here(other))
    renamed = Sums()
    renamed.card = Card()
    renamed.card.name = "by another name"
    assert embed_corpus(renamed, corpus, tmp_path / "parts", here(renamed)).before == 23
    fewer = RecordingList(corpus.table.slice(1), corpus.root)
    with pytest.raises(StorageError, match="recordings 23, now 22; list_sha256"):
        embed_corpus(Sums(), fewer, tmp_path / "parts", here(Sums()))
    assert contents(tmp_path / "parts") == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(StorageError, match=r"holds 'thesis.txt' and no index.json"):
        whole(corpus, tmp_path / "mine")
    with (tmp_path / "parts" / "index.json").open() as index:
        fcntl.flock(index, fcntl.LOCK_EX)
        with pytest.raises(StorageError, match="another run is writing into it"):
            whole(corpus, tmp_path / "parts")


def test_a_folder_with_a_gap_or_a_broken_part_is_named(corpus: RecordingList, tmp_path: Path) -> None:
    whole(corpus, tmp_path)
    part = tmp_path / "part-0000000010.parquet"
    content = part.read_bytes()
    part.write_bytes(content[:-7])
    with pytest.raises(StorageError, match=r"part-0000000010.parquet: not a whole part"):
        read_embeddings(tmp_path)
    part.unlink()
    with pytest.raises(StorageError, match="begins with row 10 is missing"):
        read_embeddings(tmp_path)
    (tmp_path / "index.json").write_text(json.dumps({"format": 2}))
    with pytest.raises(StorageError, match="not an index of embeddings"):
        read_embeddings(tmp_path)
    (tmp_path / "index.json").unlink()
    with pytest.raises(StorageError, match=r"no folder of `voxangle embed`"):
        read_embeddings(tmp_path)


def test_an_archive_is_read_in_its_order(tmp_path: Path) -> None:
    vectors = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_embeddings(tmp_path / "e.npz", ["z", "a/b"], vectors)
    keys, found = read_embeddings(tmp_path / "e.npz")
    assert keys == ["z", "a/b"]
    np.testing.assert_array_equal(found, vectors)
    np.save(tmp_path / "array.npy", vectors)
    for name in ("array.npy", "missing.npz"):
        with pytest.raises(StorageError, match="not an archive"):
            read_embeddings(tmp_path / name)


def test_a_manifest_is_a_list(tmp_path: Path) -> None:
    manifest = Manifest.of(
        [Utterance("a", "s", "x.wav", start=1.5, seconds=2.0), Utterance("b", "s", "y.wav")], tmp_path
    )
    listed = RecordingList.of_manifest(manifest.table, manifest.root)
    assert [(one.name, one.start, one.seconds) for one in listed.files()] == [
        (tmp_path / "x.wav", 1.5, 2.0),
        (tmp_path / "y.wav", 0.0, None),
    ]
    assert listed.keys(1) == ["b"]
    rechunked = RecordingList(pa.concat_tables([listed.table.slice(0, 1), listed.table.slice(1)]), tmp_path)
    assert rechunked.sha256() == listed.sha256()
    assert RecordingList(listed.table, tmp_path / "z").sha256() != listed.sha256()
