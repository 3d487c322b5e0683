"""RIRS_NOISES: rooms told from noises, counted against what was published."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.corpora.site import Site, serving
from voxangle.corpora import rirs_noises
from voxangle.corpora.prepared import prepare_split
from voxangle.errors import CorpusError, StorageError

LAYOUT = {
    "simulated_rirs/smallroom/Room001/Room001-00001.wav": 1,
    "simulated_rirs/largeroom/Room001/Room001-00001.wav": 1,
    "real_rirs_isotropic_noises/RWCP_type1_rir_cirline_e2a_imp_rir.wav": 30,
    "real_rirs_isotropic_noises/air_type1_air_binaural_aula_carolina_1_1_90_3.wav": 2,
    "real_rirs_isotropic_noises/RVB2014_type1_noise_largeroom1_1.wav": 8,
    "pointsource_noises/noise-free-sound-0000.wav": 1,
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for name, channels in LAYOUT.items():
        path = tmp_path / "RIRS_NOISES" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, generator.normal(0, 0.1, (4_000, channels)), 16_000)
        (path.parent / "rir_list").write_text(f"--rir-id 1 --room-id 1 {path}\n")
    return tmp_path / "RIRS_NOISES"


def test_rooms_are_told_from_noises(root: Path) -> None:
    corpus = rirs_noises.read(root)
    assert {kind: len(manifest) for kind, manifest in corpus.splits.items()} == {
        "simulated-rirs": 2,
        "real-rirs": 2,
        "isotropic-noises": 1,
        "pointsource-noises": 1,
    }
    assert all(len(manifest.speakers()) == 1 for manifest in corpus.splits.values())
    assert f"augment.rirs to {root}" in "\n".join(corpus.remarks)
    assert "simulated-rirs: 1 speakers, 2 utterances; published: 1 / 60,000" in "\n".join(corpus.remarks)
    assert sum(kind.utterances for kind in rirs_noises.PUBLISHED.values()) == 61_260


def test_check_counts_each_kind(root: Path) -> None:
    found = rirs_noises.check(root)
    assert not found.whole
    assert {part.name: part.utterances for part in found.parts} == {
        "simulated-rirs": 2,
        "real-rirs": 2,
        "isotropic-noises": 1,
        "pointsource-noises": 1,
    }


def test_rooms_of_one_name_in_two_sizes_are_two(root: Path) -> None:
    keys = set(rirs_noises.read(root).splits["simulated-rirs"].column("utterance"))
    assert keys == {
        "simulated_rirs/smallroom/Room001/Room001-00001.wav",
        "simulated_rirs/largeroom/Room001/Room001-00001.wav",
    }


def test_thirty_channels_are_prepared(root: Path) -> None:
    prepared = prepare_split(rirs_noises.read(root.parent), "real-rirs")
    assert prepared.samples.tolist() == [4_000, 4_000]


def test_a_wrong_place_is_answered_with_the_right_one(root: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=rf"one part of RIRS_NOISES only; name the folder above it, {root}"):
        rirs_noises.read(root / "simulated_rirs")
    with pytest.raises(CorpusError, match=r"holds no folder simulated_rirs.*corpora get rirs-noises"):
        rirs_noises.read(tmp_path / "nowhere")
    (tmp_path / "empty" / "simulated_rirs").mkdir(parents=True)
    with pytest.raises(CorpusError, match="unpack it again"):
        rirs_noises.read(tmp_path / "empty")


@pytest.fixture
def site(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with zipfile.ZipFile(tmp_path / "made.zip", "w") as file:
        for name in LAYOUT:
            file.write(root / name, f"RIRS_NOISES/{name}")
    content = (tmp_path / "made.zip").read_bytes()
    with serving({}) as site:
        publish(site, content, monkeypatch)
        yield site


def publish(site: Site, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    site.files["/28/rirs_noises.zip"] = content
    (published,) = rirs_noises.RELEASE.archives.values()
    published = replace(published, md5=hashlib.md5(content).hexdigest(), bytes=len(content), unpacked=99)
    monkeypatch.setitem(rirs_noises.RELEASE.archives, "rirs-noises", published)


def test_the_archive_is_fetched_once_and_readable_where_it_is_put(site: Site, tmp_path: Path) -> None:
    for _ in range(2):
        rirs_noises.get(tmp_path / "got", mirrors=[site.address])
    assert [path for path, _ in site.asked] == ["/28/rirs_noises.zip"]
    assert [path.name for path in (tmp_path / "got").iterdir()] == ["RIRS_NOISES"]
    assert (tmp_path / "got" / "RIRS_NOISES" / "pointsource_noises").is_dir()
    assert len(rirs_noises.read(tmp_path / "got").splits["simulated-rirs"]) == 2


def test_a_broken_archive_leaves_nothing_half(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(site, site.files["/28/rirs_noises.zip"][:-100], monkeypatch)
    with pytest.raises(CorpusError, match=r"rirs_noises\.zip: broken archive"):
        rirs_noises.get(tmp_path / "got", mirrors=[site.address])
    assert [path.name for path in (tmp_path / "got").iterdir()] == ["rirs_noises.zip"]


def test_a_full_disk_keeps_the_archive(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extractall", full)
        with pytest.raises(StorageError, match="disk is full"):
            rirs_noises.get(tmp_path / "got", mirrors=[site.address])
    assert [path.name for path in (tmp_path / "got").iterdir()] == ["rirs_noises.zip"]
    rirs_noises.get(tmp_path / "got", mirrors=[site.address])
    assert len(site.asked) == 1
