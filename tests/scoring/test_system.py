"""A model on trial lists, through files and through prepared audio."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from voxangle.corpora import folder
from voxangle.corpora.prepared import prepare_split, split_of
from voxangle.data import Trials
from voxangle.encoders import ECAPATDNNConfig, Embedder, ModelCard, build_encoder
from voxangle.errors import CorpusError, TrialError
from voxangle.features import Filterbank
from voxangle.runtime.archive import write_embeddings
from voxangle.scoring.system import embed_prepared, embed_trials, evaluate_lists, model_of


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    torch.manual_seed(0)
    encoder = ECAPATDNNConfig(
        architecture="ecapa_tdnn", channels=16, aggregation=24, squeeze=8, attention=8, dimension=6
    )
    card = ModelCard(name="untrained", encoder=encoder)
    return Embedder(Filterbank(card.filterbank), build_encoder(encoder).eval(), card)


LISTS = [
    Trials.of("one", [(True, "s0/u0.wav", "s0/u1.wav"), (False, "s0/u0.wav", "s1/u0.wav")]),
    Trials.of("two", [(True, "s1/u0.wav", "s1/u2.wav"), (False, "s0/u0.wav", "s1/u2.wav")]),
]


def test_files_and_prepared_audio_give_the_same_embeddings(embedder: Embedder, voices: Path) -> None:
    from_files = embed_trials(embedder, LISTS, voices)
    assert sorted(from_files) == ["s0/u0.wav", "s0/u1.wav", "s1/u0.wav", "s1/u2.wav"]
    seen: list[tuple[int, int]] = []
    prepared = prepare_split(folder.read(voices), "all")
    from_cache = embed_prepared(embedder, prepared, lambda done, total: seen.append((done, total)))
    assert len(from_cache) == 24
    assert seen[-1] == (24, 24)
    for key, vector in from_files.items():
        np.testing.assert_allclose(vector, from_cache[key], atol=1e-4)


def test_one_result_a_list_with_the_model_named(embedder: Embedder, voices: Path, tmp_path: Path) -> None:
    embedder.save(tmp_path / "run" / "model")
    model = model_of(Embedder.load(tmp_path / "run"))
    assert model.name == "untrained"
    assert model == model_of(Embedder.load(tmp_path / "run" / "model"))
    assert len(model.sha256) == 64
    results = evaluate_lists(embed_trials(embedder, LISTS, voices), LISTS, model=model, replicates=100)
    assert [result.name for result in results] == ["one", "two"]
    assert {result.model for result in results} == {model}


def test_a_list_that_names_a_missing_file_is_refused_before_anything_is_embedded(
    embedder: Embedder, voices: Path
) -> None:
    wrong = Trials.of("wrong", [(True, "s0/u0.wav", "s7/u0.wav"), (False, "s8/u0.wav", "s1/u0.wav")])
    with pytest.raises(TrialError, match=r"wrong: the list names 's7/u0\.wav'.*2 of the 4"):
        embed_trials(embedder, [LISTS[0], wrong], voices)


def test_an_unknown_split_names_the_nearest(voices: Path) -> None:
    with pytest.raises(CorpusError, match="did you mean 'all'"):
        split_of(folder.read(voices), "al")


def test_any_text_can_be_a_key_of_an_archive(tmp_path: Path) -> None:
    keys = ["file", "a/b c.wav", "ünï", "x.npy"]
    matrix = np.arange(12, dtype=np.float32).reshape(4, 3)
    write_embeddings(tmp_path / "e.npz", keys, matrix)
    with np.load(tmp_path / "e.npz") as archive:
        assert sorted(archive.files) == sorted(keys)
        for key, row in zip(keys, matrix, strict=True):
            np.testing.assert_array_equal(archive[key], row)
