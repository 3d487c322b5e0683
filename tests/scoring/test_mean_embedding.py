"""The mean that is subtracted: against a loop in float64, said whole in the protocol, and blind to who is tested."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from voxangle.corpora import folder
from voxangle.corpora.prepared import prepare_split
from voxangle.data import Trials
from voxangle.encoders import ECAPATDNNConfig, Embedder, ModelCard, build_encoder
from voxangle.errors import AudioError, StorageError, TrialError
from voxangle.features import Filterbank
from voxangle.runtime.archive import write_embeddings
from voxangle.runtime.embedding import Embedding
from voxangle.runtime.parts import Index, PartWriter
from voxangle.scoring import (
    AveragedSplit,
    MeanEmbedding,
    MeanSubtraction,
    Protocol,
    Result,
    compare,
    cosine_scores,
    evaluate,
    products,
)
from voxangle.scoring.embedding_set import drawn_rows, keys_sha256
from voxangle.scoring.system import embed_prepared, embed_to_learn

SPEAKERS = {f"s{s}/{u}": f"s{s}" for s in range(8) for u in range(4)}


def embeddings(offset: float = 3.0, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Speakers around their own points, all far from the origin to one side."""
    generator = np.random.default_rng(seed)
    centres = {speaker: generator.normal(size=6) for speaker in dict.fromkeys(SPEAKERS.values())}
    return {
        key: (offset + centres[speaker] + generator.normal(0, 0.7, 6)).astype(np.float32)
        for key, speaker in SPEAKERS.items()
    }


def trials(name: str = "all") -> Trials:
    keys = list(SPEAKERS)
    pairs = [(SPEAKERS[a] == SPEAKERS[b], a, b) for i, a in enumerate(keys) for b in keys[:i]]
    return Trials.of(name, pairs)


def archive(path: Path, vectors: dict[str, NDArray[np.float32]]) -> Path:
    write_embeddings(path, vectors, np.stack(list(vectors.values())))
    return path


def parts(
    folder: Path,
    vectors: Mapping[str, NDArray[np.float32] | None],
    *,
    recordings: int | None = None,
    weights_sha256: str = "",
    of: int = 20,
) -> Path:
    """The same as ``voxangle embed --out FOLDER`` writes it; None is a recording that could not be used."""
    keys = list(vectors)
    rows = [
        Embedding(None, 0, 0, AudioError(key, "no such file"))
        if (vector := vectors[key]) is None
        else Embedding(vector, 16_000, 1)
        for key in keys
    ]
    dimension = next((len(row.vector) for row in rows if row.vector is not None), 6)
    index = Index(
        model="theirs",
        weights_sha256=weights_sha256,
        dimension=dimension,
        windows=None,
        recordings=len(keys) if recordings is None else recordings,
        list_sha256="",
    )
    with PartWriter.open(folder, index) as writer:
        for first in range(0, len(keys), of):
            writer.write(keys[first : first + of], rows[first : first + of])
    return folder


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """Embeddings of other people, as ``voxangle embed`` writes them."""
    generator = np.random.default_rng(5)
    return archive(
        tmp_path / "training.npz",
        {f"t{i}/{i}.wav": generator.normal(3, 1, 6).astype(np.float32) for i in range(50)},
    )


@pytest.mark.parametrize("density", [0, 1 << 30])
def test_scores_are_cosines_as_seen_from_the_mean(density: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_DENSE", density)
    generator = np.random.default_rng(1)
    x = generator.normal(2, 5, (30, 7)).astype(np.float32)
    m = generator.normal(2, 1, 7)
    models = {"m": ["u1", "u2", "u3"], "n": ["u4"]}
    pairs = [(True, a, f"u{b}") for a in ("m", "n", "u5", "u6") for b in range(30)]
    listed = Trials.of("t", pairs, models=models)
    of_key = {f"u{i}": row.astype(np.float64) for i, row in enumerate(x)}
    expected = []
    for _, enrolled, tested in pairs:
        members = models.get(enrolled, [enrolled])
        # From each utterance of a model; the code subtracts from the model's mean.
        e = sum(of_key[key] - m for key in members) / len(members)
        t = of_key[tested] - m
        expected.append(float(e @ t) / float(np.sqrt((e @ e) * (t @ t))))
    matrix = np.stack([x[int(key[1:])] for key in listed.utterances])
    np.testing.assert_allclose(cosine_scores(matrix, listed, mean=m), expected, atol=2e-6)


def test_the_mean_is_subtracted_before_anything_has_unit_length() -> None:
    listed = Trials.of("t", [(True, "a", "b")])
    x = np.array([[4.0, 1.0], [1.0, 3.0]])
    # (3, 0) and (0, 2), whatever the lengths were before.
    assert cosine_scores(x, listed, mean=np.array([1.0, 1.0])) == pytest.approx(0)
    np.testing.assert_array_equal(
        cosine_scores(x, listed, mean=np.zeros(2)), cosine_scores(x, listed), "a mean of zero changes nothing"
    )


def test_the_mean_of_an_archive_is_that_of_a_loop(training: Path) -> None:
    with np.load(training) as vectors:
        total = [0.0] * 6
        for key in vectors.files:
            for place, value in enumerate(vectors[key].astype(np.float64)):
                total[place] += value
        keys = list(vectors.files)
    mean = MeanEmbedding.read(training)
    np.testing.assert_allclose(mean.vector, np.array(total) / 50, rtol=1e-12)
    assert mean.record == MeanSubtraction(
        file=str(training),
        file_sha256=hashlib.sha256(training.read_bytes()).hexdigest(),
        utterances=50,
        available=50,
        utterances_sha256=hashlib.sha256("".join(f"{key}\n" for key in sorted(keys)).encode()).hexdigest(),
    )


def test_a_result_has_the_figures_and_the_protocol_of_the_subtraction(training: Path) -> None:
    mean = MeanEmbedding.read(training)
    shifted = {key: vector - mean.vector for key, vector in embeddings().items()}
    by_hand = evaluate(shifted, trials(), replicates=20)
    result = evaluate(embeddings(), trials(), mean=mean, replicates=20)
    plain = evaluate(embeddings(), trials(), replicates=20)
    assert result.eer.value == by_hand.eer.value < plain.eer.value
    assert plain.protocol.mean_subtraction == "none"
    assert result.protocol.mean_subtraction == mean.record
    assert Result.model_validate_json(result.model_dump_json()).protocol == result.protocol
    assert str(mean.record) == f"the mean of 50 embeddings of {training}"
    with pytest.raises(TrialError, match="differ in protocol"):
        compare(result, plain)
    assert compare(result, plain, across_protocols=True, replicates=10).eer < 0


def test_two_systems_each_with_its_own_mean_of_the_same_utterances_are_compared(
    training: Path, tmp_path: Path
) -> None:
    with np.load(training) as vectors:
        again = archive(
            tmp_path / "again.npz", {key: vectors[key] + np.float32(0.5) for key in vectors.files}
        )
        others = archive(tmp_path / "others.npz", {f"x{key}": vectors[key] for key in vectors.files})
    first, second, third = (
        evaluate(embeddings(seed=seed), trials(), mean=MeanEmbedding.read(path), replicates=10)
        for seed, path in enumerate((training, again, others))
    )
    assert first.protocol != second.protocol, "two files are told apart"
    assert compare(first, second, replicates=10).eer == pytest.approx(first.eer.value - second.eer.value)
    with pytest.raises(TrialError, match="differ in protocol"):
        compare(first, third)


def test_a_sample_is_the_same_in_any_order_and_says_so(training: Path) -> None:
    keys = [f"k{i}" for i in range(100)]
    drawn = {keys[row] for row in drawn_rows(keys, 30)}
    assert len(drawn) == 30
    assert drawn == {keys[::-1][row] for row in drawn_rows(keys[::-1], 30)}
    assert drawn_rows(keys, 100).tolist() == drawn_rows(keys, None).tolist() == list(range(100))
    mean = MeanEmbedding.read(training, utterances=20)
    with np.load(training) as vectors:
        expected = np.mean([vectors[key] for key in mean.keys], axis=0, dtype=np.float64)
    np.testing.assert_allclose(mean.vector, expected)
    record = mean.record
    assert (record.utterances, record.available, record.seed) == (20, 50, 0)
    assert (
        record.utterances_sha256
        == keys_sha256(mean.keys)
        != MeanEmbedding.read(training).record.utterances_sha256
    )
    assert "the mean of 20 of 50 (drawn, seed 0)" in str(record)
    assert MeanEmbedding.read(training, utterances=50).record.seed is None


def test_who_is_tested_may_not_be_in_the_mean(tmp_path: Path) -> None:
    vectors = embeddings()
    mean = MeanEmbedding.read(
        archive(tmp_path / "tested.npz", {key: vectors[key] for key in ("s1/2", "s3/0")})
    )
    with pytest.raises(
        TrialError, match=r"all: 2 of its 32 utterances, such as 's1/2', are also among those"
    ):
        evaluate(vectors, trials(), mean=mean, replicates=5)
    below = {f"../other/{key}": vector for key, vector in vectors.items()}
    mean = MeanEmbedding.read(archive(tmp_path / "below.npz", below))
    with pytest.raises(TrialError, match=r"all: 32 of its 32 utterances, such as 's0/0', are also among"):
        evaluate(vectors, trials(), mean=mean, replicates=5)
    others = {key.replace("/", "-"): vector for key, vector in vectors.items()}
    of = {key.replace("/", "-"): speaker for key, speaker in SPEAKERS.items()}
    mean = MeanEmbedding.read(archive(tmp_path / "same.npz", others), speaker_of=of)
    with pytest.raises(TrialError, match=r"all: 8 of its 8 speakers, such as 's0', are also among"):
        evaluate(vectors, trials(), mean=mean, speakers=SPEAKERS, replicates=5)
    # Without the speakers of the list only utterances can be compared.
    result = evaluate(vectors, trials(), mean=mean, replicates=5)
    assert result.protocol.mean_subtraction == mean.record
    said = (
        "Of the mean to subtract and of the list it is not known who speaks: only utterances were compared."
    )
    assert said in result.notes


def test_a_protocol_that_names_another_mean_is_refused(training: Path) -> None:
    with pytest.raises(
        TrialError, match=r"all: the protocol asks for the mean subtraction 'none', but given is"
    ):
        evaluate(
            embeddings(),
            trials(),
            protocol=Protocol(mean_subtraction="none"),
            mean=MeanEmbedding.read(training),
            replicates=5,
        )


def test_an_embedding_that_is_the_mean_cannot_be_scored() -> None:
    listed = Trials.of("list", [(True, "a", "b"), (False, "a", "c")])
    x = np.array([[3.0, 1.0], [0.0, 0.0], [0.1, 0.7]], dtype=np.float32)
    # As float64 the mean is not quite the float32 embedding: what is left is rounding, and points anywhere.
    with pytest.raises(
        TrialError, match=r"list: the embedding of 'c' is the mean that is subtracted.*1 of 3"
    ):
        cosine_scores(x, listed, mean=np.array([0.1, 0.7]))


@pytest.mark.parametrize(
    ("mean", "message"),
    [
        (np.ones(3), "the mean to subtract has 3 dimensions, but the embeddings have 2"),
        (np.array([1, np.nan]), "not finite"),
    ],
)
def test_a_mean_that_does_not_fit_is_refused(mean: NDArray[np.float64], message: str) -> None:
    with pytest.raises(TrialError, match=message):
        cosine_scores(np.ones((2, 2)), Trials.of("t", [(True, "a", "b")]), mean=mean)


def test_what_is_no_archive_of_embeddings_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("not numpy")
    (tmp_path / "zero.npz").touch()
    np.save(tmp_path / "one.npy", np.ones(3))
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    np.savez(tmp_path / "empty.npz")
    np.savez(tmp_path / "square.npz", a=np.ones((2, 2)))
    np.savez(tmp_path / "nan.npz", a=np.ones(2), b=np.array([1, np.nan]))
    np.savez(tmp_path / "mixed.npz", a=np.ones(2), b=np.ones(3))
    for name, message in {
        "none": "not an archive of `voxangle embed`",
        "text": "not an archive",
        "zero": "not an archive",
        "one": "one array, where an archive",
        "empty": "holds no embedding",
        "square": r"'a' is no embedding, but float64 of shape \(2, 2\)",
        "nan": "the embedding of 'b' is not finite",
        "mixed": "'b' has 3 dimensions, those before it 2",
    }.items():
        with pytest.raises(TrialError, match=rf"{name}\.npz: .*{message}"):
            MeanEmbedding.read(tmp_path / f"{name}.npz")


@pytest.fixture
def vectors(training: Path) -> dict[str, NDArray[np.float32]]:
    with np.load(training) as archive:
        return {key: archive[key] for key in archive.files}


def test_a_folder_of_parts_has_the_mean_of_an_archive(
    training: Path, vectors: dict[str, NDArray[np.float32]], tmp_path: Path
) -> None:
    gaps = {"missing.wav": None, **vectors, "broken.wav": None}
    folder = parts(tmp_path / "parts", gaps)
    for utterances in (None, 20):
        expected = MeanEmbedding.read(training, utterances=utterances)
        mean = MeanEmbedding.read(folder, utterances=utterances)
        np.testing.assert_allclose(mean.vector, expected.vector, rtol=1e-12)
        assert mean.keys == expected.keys
        files = [folder / "index.json", *sorted(folder.glob("*.parquet"))]
        assert mean.record == expected.record.model_copy(
            update={
                "file": str(folder),
                "file_sha256": hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest(),
                "left_out": 2,
            }
        )
    # Of the same utterances, so that systems which subtract them compare.
    first, second = (
        evaluate(embeddings(), trials(), mean=MeanEmbedding.read(path), replicates=10)
        for path in (folder, training)
    )
    assert compare(first, second, replicates=10).eer == 0


def test_a_folder_is_never_all_in_memory(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    block = generator.normal(1, 1, (2000, 256)).astype(np.float32)
    folder = parts(tmp_path / "parts", {f"{i}": block[i % 2000] for i in range(20_000)}, of=1000)
    tracemalloc.start()
    mean = MeanEmbedding.read(folder)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_allclose(mean.vector, block.mean(0, dtype=np.float64))
    assert most < 20_000 * 256 * 4 / 2


def test_a_folder_that_knows_who_is_tested_is_refused(tmp_path: Path) -> None:
    vectors = embeddings()
    mean = MeanEmbedding.read(parts(tmp_path / "tested", {key: vectors[key] for key in ("s1/2", "s3/0")}))
    with pytest.raises(TrialError, match=r"all: 2 of its 32 utterances, such as 's1/2', are also among"):
        evaluate(vectors, trials(), mean=mean, replicates=5)
    below = {f"../other/{key}": vector for key, vector in vectors.items()}
    mean = MeanEmbedding.read(archive(tmp_path / "below.npz", below))
    with pytest.raises(TrialError, match=r"all: 32 of its 32 utterances, such as 's0/0', are also among"):
        evaluate(vectors, trials(), mean=mean, replicates=5)
    others = {key.replace("/", "-"): vector for key, vector in vectors.items()}
    of = {key.replace("/", "-"): speaker for key, speaker in SPEAKERS.items()}
    mean = MeanEmbedding.read(parts(tmp_path / "same", others), speaker_of=of)
    with pytest.raises(TrialError, match=r"all: 8 of its 8 speakers, such as 's0', are also among"):
        evaluate(vectors, trials(), mean=mean, speakers=SPEAKERS, replicates=5)


def test_another_model_s_mean_is_refused(vectors: dict[str, NDArray[np.float32]], tmp_path: Path) -> None:
    folder = parts(tmp_path / "parts", vectors, weights_sha256="a" * 64)
    for ours in ("", "a" * 64):
        assert MeanEmbedding.read(folder, weights_sha256=ours).record.utterances == 50
    with pytest.raises(
        TrialError, match=r"parts: holds embeddings of another model \('theirs', weights a{12}, not b{12}\)"
    ):
        MeanEmbedding.read(folder, weights_sha256="b" * 64)


def test_a_folder_that_is_none_of_embeddings_or_unfinished_is_refused(
    vectors: dict[str, NDArray[np.float32]], tmp_path: Path
) -> None:
    (tmp_path / "music").mkdir()
    with pytest.raises(StorageError, match=r"music: no folder of `voxangle embed` \(it has no index\.json\)"):
        MeanEmbedding.read(tmp_path / "music")
    parts(tmp_path / "begun", vectors, recordings=70)
    with pytest.raises(
        StorageError, match=r"begun: 50 of 70 recordings are embedded; run the same `voxangle"
    ):
        MeanEmbedding.read(tmp_path / "begun")
    parts(tmp_path / "empty", {"missing.wav": None})
    with pytest.raises(TrialError, match="empty: holds no embedding"):
        MeanEmbedding.read(tmp_path / "empty")
    parts(tmp_path / "nan", {**vectors, "last": np.full(6, np.nan, np.float32)})
    with pytest.raises(TrialError, match="nan: the embedding of 'last' is not finite"):
        MeanEmbedding.read(tmp_path / "nan")
    folder = parts(tmp_path / "mixed", vectors)
    other = parts(tmp_path / "other", {key: vector[:3] for key, vector in vectors.items()})
    second = sorted(folder.glob("*.parquet"))[1]
    second.write_bytes((other / second.name).read_bytes())
    with pytest.raises(StorageError, match=rf"{second.name}: not a part of this folder.* of 6 dimensions"):
        MeanEmbedding.read(folder)
    second.write_bytes(second.read_bytes()[:-20])
    with pytest.raises(StorageError, match=rf"{second.name}: not a whole part"):
        MeanEmbedding.read(folder)


def test_a_part_that_is_torn_inside_is_named(vectors: dict[str, NDArray[np.float32]], tmp_path: Path) -> None:
    folder = parts(tmp_path / "parts", vectors)
    second = sorted(folder.glob("*.parquet"))[1]
    content = bytearray(second.read_bytes())
    content[4:300] = bytes(296)
    second.write_bytes(content)
    with pytest.raises(StorageError, match=rf"{second.name}: not a whole part"):
        MeanEmbedding.read(folder)


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    torch.manual_seed(0)
    encoder = ECAPATDNNConfig(
        architecture="ecapa_tdnn", channels=16, aggregation=24, squeeze=8, attention=8, dimension=6
    )
    card = ModelCard(name="untrained", encoder=encoder)
    return Embedder(Filterbank(card.filterbank), build_encoder(encoder).eval(), card)


def test_the_mean_of_recordings_is_that_of_their_embeddings(
    embedder: Embedder, voices: Path, tmp_path: Path
) -> None:
    import soundfile

    for name in ("s0/u0", "s0/u1", "s1/u0", "s2/u3"):
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / f"{name}.wav").write_bytes((voices / f"{name}.wav").read_bytes())
    soundfile.write(
        tmp_path / "own" / "s2" / "short.wav", np.random.default_rng(0).normal(0, 0.1, 1600), 16_000
    )
    prepared = prepare_split(folder.read(tmp_path / "own"), "all")
    own = [AveragedSplit(corpus="own", split="all")]
    seen: list[tuple[int, int]] = []
    learnt_from = embed_to_learn(
        embedder, prepared, own, unreadable=2, on_progress=lambda done, total: seen.append((done, total))
    )
    mean = MeanEmbedding.of(learnt_from)
    usable = prepared.where(prepared.samples > 4000)
    expected = np.mean(list(embed_prepared(embedder, usable).values()), axis=0, dtype=np.float64)
    np.testing.assert_allclose(mean.vector, expected, atol=1e-5)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert mean.speakers == {"s0", "s1", "s2"}
    assert mean.record == MeanSubtraction(
        corpora=tuple(own),
        utterances=4,
        available=4,
        left_out=3,
        utterances_sha256=keys_sha256(usable.manifest.column("utterance")),
    )
    assert str(mean.record) == "the mean of 4 embeddings of own/all"
    assert learnt_from.speakers == tuple(usable.manifest.column("speaker"))
    by_key = embed_prepared(embedder, usable)
    np.testing.assert_allclose(learnt_from.vectors, [by_key[key] for key in learnt_from.keys], atol=1e-5)
    two = MeanEmbedding.of(embed_to_learn(embedder, prepared, own, recipe="tiny", utterances=2))
    assert (two.record.utterances, two.record.available, two.record.seed) == (2, 4, 0)
    assert str(two.record) == "the mean of 2 of 4 (drawn, seed 0) embeddings of recipe tiny: own/all"
    with pytest.raises(TrialError, match=r"own/all: none of its 1 utterances has an embedding"):
        embed_to_learn(embedder, prepared.where(prepared.samples < 4000), own)
