"""``voxangle embed`` on lists, corpora and long recordings, into an .npz or a folder that is gone on with."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from voxangle import cli
from voxangle.encoders import ECAPATDNN, ECAPATDNNConfig, Embedder, ModelCard
from voxangle.features import Filterbank, FilterbankConfig
from voxangle.runtime.archive import read_embeddings

CONFIG = ECAPATDNNConfig(bins=20, channels=16, dimension=12, squeeze=8, aggregation=24, attention=8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    card = ModelCard(name="tiny", encoder=CONFIG, filterbank=FilterbankConfig(bins=20))
    Embedder(Filterbank(card.filterbank), ECAPATDNN(CONFIG).eval(), card).save(folder)
    return folder


class Told:
    """What ``voxangle embed`` said."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], model: Path
    ) -> None:
        self._patch, self._capsys, self._model = monkeypatch, capsys, model

    def __call__(self, *words: object) -> tuple[int, str, str]:
        self._patch.setattr(sys, "argv", ["voxangle", "embed", "--model", str(self._model), *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = self._capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err


@pytest.fixture
def embed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], model: Path) -> Told:
    return Told(monkeypatch, capsys, model)


def test_a_folder_holds_what_an_archive_holds(embed: Told, voices: Path, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("s0/u0.wav\nmissing.wav\ns3/u2.wav\n")
    words = ["--list", tmp_path / "list", "--root", voices]
    assert embed(*words, "--out", tmp_path / "e.npz")[0] == 0
    code, said, err = embed(*words, "--out", tmp_path / "parts")
    assert code == 0
    assert "2 embeddings of 12 dimensions" in said
    assert "1 recording was left out" in said
    assert "missing.wav: no such file" in err
    (keys, vectors), (expected_keys, expected) = map(
        read_embeddings, (tmp_path / "parts", tmp_path / "e.npz")
    )
    assert keys == expected_keys == ["s0/u0.wav", "s3/u2.wav"]
    np.testing.assert_array_equal(vectors, expected)
    code, said, _ = embed(*words, "--out", tmp_path / "parts")
    assert code == 0
    assert "2 embeddings" in said
    assert "3 recordings had been done before" in said


def test_a_corpus_is_embedded_by_utterance(embed: Told, voices: Path, tmp_path: Path) -> None:
    words = ["--corpus", "folder", "--root", voices, "--out", tmp_path / "e"]
    assert embed(*words)[0] == 0
    keys, _ = read_embeddings(tmp_path / "e")
    assert len(keys) == 24
    code, _, err = embed(*words[:-1], tmp_path / "f", "--split", "al")
    assert code == 2
    assert "no split 'al'" in err
    assert "all" in err


def test_windows_are_chosen_and_belong_to_the_folder(embed: Told, voices: Path, tmp_path: Path) -> None:
    wav = voices / "s0" / "u0.wav"
    found = {}
    for name, window in {"whole": 0, "windows": 1}.items():
        assert embed(wav, "--window", window, "--out", tmp_path / name)[0] == 0
        found[name] = read_embeddings(tmp_path / name)[1]
    cosine = (found["whole"] * found["windows"]).sum() / np.prod([np.linalg.norm(v) for v in found.values()])
    assert 0.9 < cosine < 0.999999
    code, _, err = embed(wav, "--out", tmp_path / "windows")
    assert code == 2
    assert "windows" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--window", "0.2"], "--window 0.2: give 1 s or more, or 0 to embed recordings whole"),
        (["--window", "-1"], "--window -1: give 1 s or more, or 0 to embed recordings whole"),
        (["--overlap", "-1"], "--overlap -1: give 0 s or more, up to half a window"),
        (["--window", "10", "--overlap", "6"], "--overlap 6: overlap (6 s) must be at most half a window"),
        (["--corpus", "folder"], "a --list of them, or a --corpus"),
        (["--split", "all"], "--split goes with --corpus"),
        (["--models", "2"], "--models with --ray"),
    ],
)
def test_what_cannot_be_is_told(embed: Told, voices: Path, words: list[str], message: str) -> None:
    code, _, err = embed(voices / "s0" / "u0.wav", *words)
    assert code == 2
    assert err.startswith("error: ")
    assert message in err


def test_a_folder_of_nothing_usable_says_why(embed: Told, tmp_path: Path) -> None:
    code, _, err = embed(tmp_path / "missing.wav", "--out", tmp_path / "e")
    assert code == 2
    assert "of 1 recording none can be used" in err
