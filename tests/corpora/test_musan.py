"""MUSAN: sounds by kind, counted against what was published, and refused as speakers."""

from __future__ import annotations

import hashlib
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.corpora.site import serving
from voxangle.corpora import musan
from voxangle.corpora.prepared import prepare_split
from voxangle.errors import CorpusError

LAYOUT = (
    "speech/librivox/speech-librivox-0000.wav",
    "speech/us-gov/speech-us-gov-0000.wav",
    "music/fma/music-fma-0000.wav",
    "noise/free-sound/noise-free-sound-0000.wav",
    "noise/sound-bible/noise-sound-bible-0000.wav",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for name in LAYOUT:
        path = tmp_path / "musan" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, generator.normal(0, 0.1, 8_000), 16_000)
        (path.parent / "LICENSE").write_text("public domain")
        (path.parent / "ANNOTATIONS").write_text(path.stem)
    return tmp_path / "musan"


def test_each_kind_is_a_split_with_one_label(root: Path) -> None:
    corpus = musan.read(root)
    assert {kind: len(manifest) for kind, manifest in corpus.splits.items()} == {
        "speech": 2,
        "music": 1,
        "noise": 2,
    }
    (row,) = corpus.splits["music"]
    assert (row.utterance, row.speaker, row.channel) == ("music/fma/music-fma-0000.wav", "musan/music", "fma")
    for kind, manifest in corpus.splits.items():
        assert manifest.speakers() == [f"musan/{kind}"], "nothing to tell speakers apart by"


def test_what_is_missing_is_counted_and_a_recipe_s_entry_is_told(root: Path) -> None:
    notes = "\n".join(musan.read(root).remarks)
    assert "noise: 1 speakers, 2 utterances; published: 1 / 930" in notes
    assert f"augment.musan to {root}" in notes
    assert sum(kind.utterances for kind in musan.PUBLISHED.values()) == 2016


def test_check_misses_the_rest_and_the_broken(root: Path) -> None:
    (root / "music/fma/music-fma-0001.wav").touch()
    found = musan.check(root, headers=True)
    assert not found.whole
    assert [(part.name, part.utterances) for part in found.parts] == [
        ("speech", 2),
        ("music", 2),
        ("noise", 2),
    ]
    assert found.parts[2].hours == pytest.approx(2 * 0.5 / 3600)
    assert "1 empty file(s) (0 bytes)" in str(found)


def test_the_folder_that_is_named_is_the_one_that_augmentation_reads(root: Path) -> None:
    top = musan.read(root.parent).splits["noise"].root
    assert top == root
    assert (top / "noise" / "free-sound").is_dir()


def test_a_part_alone_is_read(root: Path, tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "noise").symlink_to(root / "noise")
    corpus = musan.read(tmp_path / "half")
    assert list(corpus.splits) == ["noise"]
    assert not musan.check(tmp_path / "half").whole


def test_broken_sounds_are_named_when_preparing(root: Path) -> None:
    (root / "noise/free-sound/noise-free-sound-0001.wav").touch()
    prepared = prepare_split(musan.read(root), "noise")
    assert len(prepared.manifest) == 2
    assert [left.path for left in prepared.left_out] == ["noise/free-sound/noise-free-sound-0001.wav"]


def test_a_wrong_place_is_answered_with_the_right_one(root: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=rf"one kind of MUSAN only; name the folder above it, {root}"):
        musan.read(root / "noise")
    with pytest.raises(CorpusError, match=r"holds no folder speech, music or noise.*corpora get musan"):
        musan.read(tmp_path / "nowhere")
    (tmp_path / "empty" / "noise").mkdir(parents=True)
    with pytest.raises(CorpusError, match=r"holds no recordings.*unpack the archive again"):
        musan.read(tmp_path / "empty")


def test_the_archive_is_fetched_once_and_readable_where_it_is_put(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tarfile.open(tmp_path / "made.tar.gz", "w:gz") as tar:
        tar.add(root, arcname="musan")
    content = (tmp_path / "made.tar.gz").read_bytes()
    (published,) = musan.RELEASE.archives.values()
    published = replace(published, md5=hashlib.md5(content).hexdigest(), bytes=len(content), unpacked=99)
    monkeypatch.setitem(musan.RELEASE.archives, "musan", published)
    with serving({"/17/musan.tar.gz": content}) as site:
        for _ in range(2):
            musan.get(tmp_path / "got", mirrors=[site.address])
        assert [path for path, _ in site.asked] == ["/17/musan.tar.gz"]
    assert sorted(path.name for path in (tmp_path / "got/musan").iterdir()) == ["music", "noise", "speech"]
    assert len(musan.read(tmp_path / "got").splits["speech"]) == 2
