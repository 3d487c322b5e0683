"""The whole road of every corpus: a tree as downloaded, checked, prepared, learnt from, and measured on.

Each speaker of a tree has a melody of her own, which all her recordings repeat: any encoder tells them apart, so an
error rate above zero means that a trial met another recording than its own.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from typer.testing import CliRunner

from tests.corpora import miniature
from tests.corpora.miniature import CNCELEB2, DEV, ENROLLED, ONLY_TESTED, VOXCELEB1, VOXCELEB2
from voxangle.cli import app
from voxangle.corpora import CORPORA
from voxangle.encoders.model_files import read_model

RATE = 16_000
STEPS = 3
SOUNDS_ONLY = {"musan", "rirs-noises"}
ELSEWHERE = {"debian-voices"}  # tests/corpora/test_debian_voices.py, and the demo

RECIPE = f"""
name: tiny
seed: 3
data: {{corpus: folder}}
batch: {{speakers: 2, recordings: 2, seconds: 0.4}}
augment: {{views: 2, kinds: {{reverb: 0, music: 0}}, bank_seconds: 20}}
encoder: {{architecture: ecapa_tdnn, channels: 16, aggregation: 24, squeeze: 8, attention: 8, dimension: 12}}
objective: {{contrast_from: 0.2}}
schedule: {{steps: {STEPS}}}
training: {{precision: fp32, checkpoint_every: {STEPS}, validate_every: 0, log_every: {STEPS}}}
"""


@lru_cache(maxsize=200)
def melody(speaker: int, utterance: int) -> np.ndarray:
    """Eight tones in the speaker's own order above one hiss; each utterance ends at its own moment."""
    own, random = np.random.default_rng((1, speaker)), np.random.default_rng((2, speaker, utterance))
    tones = own.uniform(200, 6000, (8, 3)).repeat(RATE // 10, axis=0)
    wave = 0.1 * np.sin(2 * np.pi * np.cumsum(tones, axis=0) / RATE).sum(axis=1)
    wave = wave + 0.01 * np.random.default_rng(3).standard_normal(len(wave))
    wave = wave[: len(wave) - random.integers(RATE // 50)]
    return (wave + 1e-4 * random.standard_normal(len(wave))).astype(np.float32)


def in_whole_frames(speaker: int, utterance: int) -> np.ndarray:
    """The melody, gone on with until AAC's frames are full: what fills them else is silence, and that is heard."""
    wave = melody(speaker, utterance)
    return np.resize(wave, -(-len(wave) // 1024) * 1024)


def tape(speaker: int, utterances: int = 3) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """The speaker's utterances on one tape, and where each begins and how long it lasts, in seconds."""
    waves = [melody(speaker, utterance) for utterance in range(utterances)]
    lengths = np.array([len(wave) for wave in waves]) / RATE
    return np.concatenate(waves), list(
        zip((np.cumsum(lengths) - lengths).tolist(), lengths.tolist(), strict=True)
    )


class Terminal:
    """Types ``voxangle ...``; a command that ends otherwise than expected fails the test with what it said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recipe = folder / "tiny.yaml"
        self.recipe.write_text(RECIPE)

    def __call__(self, *words: object, code: int = 0) -> str:
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == code, f"{words}\n{done.output}\n{done.exception!r}"
        return done.output + ("" if done.exception is None else str(done.exception))

    def train(self, *settings: str) -> Path:
        """A run's folder; what was said is kept in ``said`` beside it."""
        run = self.folder / "run"
        words = [word for setting in settings for word in ("--set", setting)]
        said = self("train", self.recipe, "--out", run, *words)
        (self.folder / "said").write_text(said)
        return run

    def evaluate(self, run: Path, *words: object, out: str = "results") -> dict[str, dict[str, Any]]:
        """Result JSONs by file name, of this evaluation alone."""
        place = self.folder / out
        self("evaluate", "--model", run, *words, "--out", place, "--replicates", 100)
        return {path.stem: json.loads(path.read_text()) for path in sorted(place.glob("*.json"))}


@pytest.fixture
def voxangle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    # Each picture takes as long as a training here, and tests/test_cli.py has them drawn.
    for drawing in ("plot_scores", "plot_det", "evaluation_page.write_evaluation_page"):
        monkeypatch.setattr(f"voxangle.reporting.{drawing}", lambda *_, **__: None)
    return Terminal(tmp_path)


def sound(result: Mapping[str, Any], counts: tuple[int, int, int], enrolment: str = "one utterance") -> None:
    """A result's targets, non-targets and speakers, its protocol, and figures within their bounds."""
    found = result["counts"]
    assert (found["targets"], found["nontargets"], found["speakers"]) == counts
    assert found["trials"] == counts[0] + counts[1]
    protocol = result["protocol"]
    assert (protocol["scoring"], protocol["crop"]) == ("cosine", "full utterance")
    assert (protocol["enrolment"], protocol["normalisation"]) == (enrolment, "none")
    assert result["model"]["name"] == "tiny"
    assert len(result["model"]["sha256"]) == len(result["trials_sha256"]) == 64
    for figure in (result["eer"], *result["min_dcf"]):
        assert 0 <= figure["low"] <= figure["value"] + 1e-12
        assert figure["value"] - 1e-12 <= figure["high"] <= 1
    assert [cost["p_target"] for cost in result["min_dcf"]] == [0.01, 0.05]


def faultless(
    result: Mapping[str, Any], counts: tuple[int, int, int], enrolment: str = "one utterance"
) -> None:
    """The result of a model that knows every melody."""
    sound(result, counts, enrolment)
    assert result["protocol"]["mean_subtraction"] == "none"
    for figure in (result["eer"], *result["min_dcf"]):
        assert figure["value"] == 0, "a trial met another recording than its own"


def centred(
    result: Mapping[str, Any],
    plain: Mapping[str, Any],
    counts: tuple[int, int, int],
    enrolment: str = "one utterance",
) -> dict[str, Any]:
    """What was subtracted. From the mean of two voices others may look alike: the error rate may be anything."""
    sound(result, counts, enrolment)
    assert result["trials_sha256"] == plain["trials_sha256"]
    assert result["eer"]["threshold"] != plain["eer"]["threshold"]
    mean: dict[str, Any] = result["protocol"]["mean_subtraction"]
    assert mean["rule"] == "mean of full-utterance embeddings, subtracted before unit length"
    assert len(mean["utterances_sha256"]) == 64
    return mean


def of_all_pairs(manifest_speakers: Iterable[int]) -> tuple[int, int, int]:
    """Targets, non-targets and speakers of all pairs, by the recordings each speaker has."""
    sizes = list(manifest_speakers)
    targets = sum(size * (size - 1) // 2 for size in sizes)
    return targets, sum(sizes) * (sum(sizes) - 1) // 2 - targets, len(sizes)


def learnt_from(run: Path) -> tuple[str, ...]:
    card, _, _ = read_model(run)
    assert card.training is not None
    assert (card.training.recipe, card.training.steps) == ("tiny", STEPS)
    return card.training.corpora


# --- a corpus alone ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Road:
    """A corpus that is learnt from and measured on.

    Attributes:
        corpus: its reader.
        build: makes the tree in a folder, and gives what to name as its root.
        prepared: utterances and speakers by split.
        tested: split whose pairs are drawn as trials; empty where the corpus has lists of its own.
        lists: targets, non-targets and speakers of the results.
        whole: whether ``check`` finds all that was published; a miniature of a published corpus never is.
    """

    corpus: str
    build: Callable[[Path], Path]
    prepared: Mapping[str, tuple[int, int]]
    tested: str
    lists: Mapping[str, tuple[int, int, int]]
    whole: bool = True


def put(path: Path, speaker: int, utterance: int) -> Path:
    return miniature.write(path, melody(speaker, utterance))


def folder_tree(root: Path, speakers: Sequence[int] = range(4)) -> Path:
    for speaker in speakers:
        for utterance in range(3):
            put(root / f"anna-{speaker}" / f"{utterance}.flac", speaker, utterance)
    return root


def table_tree(root: Path) -> Path:
    """A CSV with splits and a trial list."""
    folder_tree(root / "audio")
    rows = [("path", "speaker", "split", "gender")]
    for speaker in range(4):
        split, gender = "train" if speaker < 2 else "eval", "fm"[speaker % 2]
        rows += [(f"audio/anna-{speaker}/{u}.flac", f"anna-{speaker}", split, gender) for u in range(3)]
    miniature.write_lines(root / "utterances.csv", rows, ",")
    a, b = ([f"audio/anna-{speaker}/{u}.flac" for u in range(3)] for speaker in (2, 3))
    lines = [(1, a[0], a[1]), (1, b[2], b[1]), (0, a[2], b[0]), (0, b[1], a[1]), (0, a[0], b[2])]
    miniature.write_lines(root / "trials" / "mine.txt", lines)
    return root


def parquet_tree(root: Path) -> Path:
    """A Parquet of stretches of long files."""
    rows = []
    for speaker in range(3):
        wave, stretches = tape(speaker)
        path = miniature.write(root / f"{speaker}.wav", wave)
        rows += [(path.name, f"s{speaker}", f"s{speaker}-{u}", *one) for u, one in enumerate(stretches)]
    names = ("path", "speaker", "utterance", "start", "seconds")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(columns), root / "utterances.parquet")
    return root / "utterances.parquet"


def kaldi_folder(folder: Path, speakers: Sequence[int], *, segments: bool = False) -> list[str]:
    """A data folder, its recordings beside the others; the keys of its utterances."""
    wav = folder.parent / "wav"
    recordings, utterances, stretches = [], [], []
    for speaker in speakers:
        keys = [f"s{speaker}-{u}" for u in range(3)]
        utterances += [(key, f"s{speaker}") for key in keys]
        if segments:
            wave, places = tape(speaker)
            recordings.append((f"tape-{speaker}", miniature.write(wav / f"s{speaker}.wav", wave)))
            stretches += [
                (key, f"tape-{speaker}", f"{start:.4f}", f"{start + seconds:.4f}")
                for key, (start, seconds) in zip(keys, places, strict=True)
            ]
        else:
            recordings += [(key, put(wav / f"{key}.wav", speaker, u)) for u, key in enumerate(keys)]
    miniature.write_lines(folder / "wav.scp", recordings)
    miniature.write_lines(folder / "utt2spk", utterances)
    miniature.write_lines(folder / "spk2gender", ((f"s{speaker}", "fm"[speaker % 2]) for speaker in speakers))
    if segments:
        miniature.write_lines(folder / "segments", stretches)
    return [key for key, _ in utterances]


def kaldi_tree(root: Path) -> Path:
    kaldi_folder(root / "data" / "train", (0, 1))
    keys = kaldi_folder(root / "data" / "test", (2, 3))
    pairs = [
        (a, b, "target" if a[:2] == b[:2] else "nontarget") for i, a in enumerate(keys) for b in keys[i + 1 :]
    ]
    miniature.write_lines(root / "data" / "test" / "trials", pairs)
    return root


def segments_tree(root: Path) -> Path:
    kaldi_folder(root / "data" / "all", (0, 1, 2), segments=True)
    return root / "data" / "all"


def lhotse_tree(root: Path) -> Path:
    """Recordings and supervisions of two splits; each recording holds what one speaker says."""
    for split, speakers in {"train": (0, 1), "dev": (2, 3)}.items():
        recordings, supervisions = [], []
        for speaker in speakers:
            wave, places = tape(speaker)
            path = miniature.write(root / "audio" / f"r{speaker}.flac", wave)
            recordings.append(
                {
                    "id": f"r{speaker}",
                    "sources": [{"type": "file", "channels": [0], "source": str(path)}],
                    "sampling_rate": RATE,
                    "num_samples": len(wave),
                    "duration": len(wave) / RATE,
                    "channel_ids": [0],
                }
            )
            supervisions += [
                {
                    "id": f"r{speaker}-{u}",
                    "recording_id": f"r{speaker}",
                    "start": start,
                    "duration": seconds,
                    "channel": 0,
                    "speaker": f"lucy-{speaker}",
                    "gender": "female",
                }
                for u, (start, seconds) in enumerate(places)
            ]
        for kind, rows in (("recordings", recordings), ("supervisions", supervisions)):
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (root / f"mini_{kind}_{split}.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    return root


def audio_folder_tree(root: Path) -> Path:
    for split, speakers in {"train": (0, 1), "test": (2, 3)}.items():
        rows = [("file_name", "speaker_id", "gender")]
        for speaker in speakers:
            for u in range(3):
                put(root / split / f"{speaker}-{u}.wav", speaker, u)
                rows.append((f"{speaker}-{u}.wav", str(speaker), "female"))
        miniature.write_lines(root / split / "metadata.csv", rows, ",")
    return root


def common_voice_tree(root: Path) -> Path:
    """A language of a release: MP3 at 32 kHz."""
    folder = root / "cv-corpus-22.0-2025-06-20" / "eo"
    (folder / "clips").mkdir(parents=True)
    rows, durations = [("client_id", "path", "sentence", "gender", "locale")], [("clip", "duration[ms]")]
    for speaker in range(3):
        for u in range(3):
            name = f"common_voice_eo_{speaker}{u}.mp3"
            wave = melody(speaker, u)
            wave = np.interp(np.arange(0, len(wave), 0.5), np.arange(len(wave)), wave)
            soundfile.write(folder / "clips" / name, wave, 2 * RATE, format="MP3")
            rows.append((f"{speaker}".ljust(128, "a"), name, "Vortoj.", "female_feminine", "eo"))
            durations.append((name, round(1000 * len(wave) / (2 * RATE))))
    for table in ("validated", "train", "dev", "test", "other", "invalidated", "reported"):
        miniature.write_lines(folder / f"{table}.tsv", rows if table == "validated" else rows[:1], "\t")
    miniature.write_lines(folder / "clip_durations.tsv", durations, "\t")
    return folder.parent


def librispeech_tree(top: Path, subsets: Mapping[str, Sequence[int]]) -> Path:
    """``LibriSpeech``: two chapters of two utterances of each reader."""
    lines = [";ID  |SEX| SUBSET           |MINUTES| NAME"]
    for subset, readers in subsets.items():
        for reader in readers:
            lines.append(f"{reader:<5}| {'FM'[reader % 2]} | {subset:17}| 25.03 | A Reader")
            for chapter in (1000 + reader, 2000 + reader):
                place = top / subset / str(reader) / str(chapter)
                for u in range(2):
                    put(place / f"{reader}-{chapter}-{u:04}.flac", reader, chapter + u)
                miniature.write_lines(place / f"{reader}-{chapter}.trans.txt", [("WORDS",)])
    top.mkdir(parents=True, exist_ok=True)
    (top / "SPEAKERS.TXT").write_text("\n".join(lines) + "\n")
    return top


def voxceleb1_tree(root: Path) -> Path:
    """Both parts, the speakers' table, and all six lists beside ``wav``."""
    keys = {part: miniature.voxceleb(root / "wav", ids, voice=melody) for part, ids in VOXCELEB1.items()}
    miniature.vox1_meta(root / "vox1_meta.csv")
    everybody = [*keys["dev"], *keys["test"]]
    original, cleaned = miniature.pairs(keys["test"]), miniature.pairs(keys["test"])[1:]
    extended, hard = miniature.pairs(everybody), miniature.pairs(everybody[::2])
    for name, lines in {
        "veri_test": original,
        "veri_test2": cleaned,
        "list_test_all": extended,
        "list_test_all2": extended[1:],
        "list_test_hard": hard,
        "list_test_hard2": hard[1:],
    }.items():
        miniature.write_lines(root / f"{name}.txt", lines)
    return root


def without_one_target(counts: tuple[int, int, int]) -> tuple[int, int, int]:
    """Every list of ``pairs`` begins with a target trial, which the cleaned one lacks."""
    return counts[0] - 1, counts[1], counts[2]


VOX1_LISTS = {
    f"vox1-{name}{cleaned}": without_one_target(of_all_pairs(sizes)) if cleaned else of_all_pairs(sizes)
    for name, sizes in {"O": [4] * 2, "E": [4] * 5, "H": [2] * 5}.items()
    for cleaned in ("", "-cleaned")
}

# Non-target trials of three men or of two women, of four recordings each (E) or of two (H).
SAME_GENDER = {"vox1-E": 4 * 16, "vox1-H": 4 * 4}

THREE = {"drawn": of_all_pairs([3] * 3)}
TWO = {"drawn": of_all_pairs([3] * 2)}

ROADS = {
    "folder": Road("folder", folder_tree, {"all": (12, 4)}, "all", {"drawn": of_all_pairs([3] * 4)}),
    "table, CSV": Road("table", table_tree, {"train": (6, 2), "eval": (6, 2)}, "", {"mine": (2, 3, 2)}),
    "table, Parquet": Road("table", parquet_tree, {"all": (9, 3)}, "all", THREE),
    "kaldi": Road(
        "kaldi", kaldi_tree, {"train": (6, 2), "test": (6, 2)}, "", {"test": of_all_pairs([3] * 2)}
    ),
    "kaldi, segments": Road("kaldi", segments_tree, {"all": (9, 3)}, "all", THREE),
    "lhotse": Road("lhotse", lhotse_tree, {"train": (6, 2), "dev": (6, 2)}, "dev", TWO),
    "audio-folder": Road("audio-folder", audio_folder_tree, {"train": (6, 2), "test": (6, 2)}, "test", TWO),
    "common-voice": Road("common-voice", common_voice_tree, {"all": (9, 3)}, "all", THREE),
    "librispeech": Road(
        "librispeech",
        lambda root: librispeech_tree(
            root / "LibriSpeech", {"train-clean-100": (19, 26), "test-clean": (61, 121, 237)}
        ),
        {"train": (8, 2), "eval": (12, 3)},
        "",
        # Across the chapters, and ten pairs of each two readers; all three are men.
        {"all-pairs": (12, 30, 3), "same-gender": (12, 30, 3)},
        whole=False,
    ),
    "mini-librispeech": Road(
        "mini-librispeech",
        lambda root: (
            librispeech_tree(
                root / "LibriSpeech", {"train-clean-5": (19, 26), "dev-clean-2": (84, 174)}
            ).parent
        ),
        {"train": (8, 2), "eval": (8, 2)},
        "",
        {"all-pairs": (8, 10, 2), "same-gender": (8, 10, 2)},
    ),
    "voxceleb1": Road(
        "voxceleb1", voxceleb1_tree, {"train": (12, 3), "eval": (8, 2)}, "", VOX1_LISTS, whole=False
    ),
}


@pytest.mark.parametrize("name", ROADS)
def test_a_tree_as_downloaded_leads_to_a_result(name: str, voxangle: Terminal, tmp_path: Path) -> None:
    road = ROADS[name]
    root = road.build(tmp_path / "tree")
    said = voxangle("corpora", "check", road.corpus, "--root", root, code=0 if road.whole else 1)
    said += voxangle("corpora", "prepare", road.corpus, "--root", root)
    assert "left out" not in said
    for split, (utterances, speakers) in road.prepared.items():
        assert f"{split}: {utterances} utterances, {speakers} speakers" in said

    run = voxangle.train(f"data.corpus={road.corpus}", f"data.root={root}")
    assert learnt_from(run) == (road.corpus,)

    words: list[object] = ["--corpus", road.corpus, "--root", root]
    if road.tested:
        drawn = tmp_path / "drawn.txt"
        voxangle("corpora", "trials", road.corpus, "--root", root, "--split", road.tested, "--out", drawn)
        words += ["--trials", drawn]
    results = voxangle.evaluate(run, *words)
    assert set(results) == set(road.lists)
    for listed, counts in road.lists.items():
        assert results[listed]["name"] == listed
        assert results[listed]["intervals"]["speakers_from"] == "corpus"
        faultless(results[listed], counts)


def test_every_reader_of_speakers_has_its_road() -> None:
    here = {road.corpus for road in ROADS.values()} | {"voxceleb2", "cnceleb1", "cnceleb2"}
    assert here | SOUNDS_ONLY | ELSEWHERE == set(CORPORA)


# --- corpora together ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".wav", ".m4a"])
def test_voxceleb2_is_learnt_from_and_voxceleb1_measured_on(
    suffix: str, voxangle: Terminal, tmp_path: Path
) -> None:
    if suffix == ".m4a":
        pytest.importorskip("av")
    vox1, vox2 = voxceleb1_tree(tmp_path / "voxceleb1"), tmp_path / "voxceleb2"
    inner, voice = ("aac", in_whole_frames) if suffix == ".m4a" else ("wav", melody)
    for part, speakers in VOXCELEB2.items():
        miniature.voxceleb(vox2 / part / inner, speakers, suffix=suffix, voice=voice)
    miniature.vox2_meta(vox2 / "vox2_meta.csv")
    assert "5,994" in voxangle("corpora", "check", "voxceleb2", "--root", vox2, code=1)
    said = voxangle("corpora", "prepare", "voxceleb2", "--root", vox2)
    assert "train: 8 utterances, 2 speakers" in said
    assert "eval: 4 utterances, 1 speakers" in said
    run = voxangle.train("data.corpus=voxceleb2", f"data.root={vox2}")
    assert learnt_from(run) == ("voxceleb2",)

    # The mean of another corpus than the one that is measured on: of what the run's recipe trains on.
    on_vox1, cleaned = ("--corpus", "voxceleb1", "--root", vox1), VOX1_LISTS["vox1-O-cleaned"]
    one = voxangle.evaluate(run, *on_vox1, "--list", "vox1-O-cleaned", out="one")
    less = voxangle.evaluate(
        run, *on_vox1, "--list", "vox1-O-cleaned", "--subtract-mean", run / "recipe.yaml", out="less"
    )
    assert set(one) == set(less) == {"vox1-O-cleaned"}
    faultless(one["vox1-O-cleaned"], cleaned)
    mean = centred(less["vox1-O-cleaned"], one["vox1-O-cleaned"], cleaned)
    assert mean["corpora"] == [{"corpus": "voxceleb2", "split": "train"}]
    assert (mean["recipe"], mean["utterances"], mean["left_out"]) == ("tiny", 8, 0)

    # VoxCeleb2's own voices, by a list drawn from them.
    drawn = tmp_path / "dev.txt"
    voxangle("corpora", "trials", "voxceleb2", "--root", vox2, "--split", "train", "--out", drawn)
    own = voxangle.evaluate(run, "--corpus", "voxceleb2", "--root", vox2, "--trials", drawn, out="own")
    faultless(own["dev"], of_all_pairs([4] * 2))
    if suffix == ".m4a":
        return

    results = voxangle.evaluate(run, *on_vox1, "--conditions", out="all")
    assert set(results) == set(VOX1_LISTS)
    for name, counts in VOX1_LISTS.items():
        faultless(results[name], counts)
        assert any("published are" in note for note in results[name]["notes"])
        conditions = {part["name"]: part for part in results[name]["conditions"]}
        assert {"same session", "cross session", "< 2 s"} <= set(conditions)
        # The two of the test part are a woman and a man: no two people there have one gender.
        assert conditions["same gender"]["nontargets"] == (
            counts[1] if "O" in name else SAME_GENDER[name[:6]]
        )
        assert conditions["cross gender"]["whole"] == "targets"
        assert all(part["eer"]["value"] == 0 for part in conditions.values())


def test_cnceleb_is_learnt_from_together_and_measured_by_both_rules(
    voxangle: Terminal, tmp_path: Path
) -> None:
    one = miniature.cnceleb1(tmp_path / "CN-Celeb_flac", voice=melody)
    two = miniature.cnceleb2(tmp_path / "CN-Celeb2_flac", voice=melody)
    for corpus, root, counts in (("cnceleb1", one, "797"), ("cnceleb2", two, "1,996")):
        assert counts in voxangle("corpora", "check", corpus, "--root", root, code=1)
        said = voxangle("corpora", "prepare", corpus, "--root", root)
        assert "train: 6 utterances, 2 speakers" in said
    run = voxangle.train(
        "data={}",
        f"data.corpora.cnceleb1.root={one}",
        f"data.corpora.cnceleb2.root={two}",
        "data.join_seconds=1.2",
    )
    assert learnt_from(run) == ("cnceleb1", "cnceleb2")

    words = ("--corpus", "cnceleb1", "--root", one)
    counts = (len(ENROLLED), 2 * len(ENROLLED), len([*ENROLLED, ONLY_TESTED]))
    rules = {"cnceleb-average": "average", "cnceleb-concatenated": "concatenated"}
    plain = voxangle.evaluate(run, *words, out="plain")
    assert set(plain) == set(rules)
    for name, rule in rules.items():
        faultless(plain[name], counts, rule)
    average = plain["cnceleb-average"]["counts"]
    assert (average["models"], average["utterances"]) == (len(ENROLLED), 3 + 2 * len(ENROLLED))

    train = voxangle.evaluate(run, *words, "--subtract-mean", "train", out="train")
    field = voxangle.evaluate(run, *words, "--subtract-mean", run / "recipe.yaml", out="field")
    some = voxangle.evaluate(run, *words, "--subtract-mean", "train", "--mean-utterances", 4, out="some")
    for name, rule in rules.items():
        said = []
        for results, utterances in ((train, 6), (field, None), (some, 4)):
            mean = centred(results[name], plain[name], counts, rule)
            assert utterances is None or mean["utterances"] == utterances
            said.append(mean)
        of_train, of_field, of_some = said
        assert of_train["corpora"] == [{"corpus": "cnceleb1", "split": "train"}]
        assert [split["corpus"] for split in of_field["corpora"]] == ["cnceleb1", "cnceleb2"]
        assert of_field["recipe"] == "tiny"
        # Of each of the four speakers the two songs are joined; the third stays alone.
        assert of_field["utterances"] == 2 * len([*DEV, *CNCELEB2])
        assert (of_some["available"], of_some["seed"], of_train["seed"]) == (6, 0, None)
        assert len({mean["utterances_sha256"] for mean in said}) == 3

    for wrong, message in (
        ("eval", "3 of its 3 speakers, such as 'cnceleb1-id00800', are also among those"),
        ("trian", "has no split 'trian'; did you mean 'train'"),
    ):
        said = voxangle("evaluate", "-m", run, *words, "--subtract-mean", wrong, code=1)
        assert message in said


def test_musan_and_rirs_noises_are_what_a_run_augments_with(voxangle: Terminal, tmp_path: Path) -> None:
    root = folder_tree(tmp_path / "voices")
    random = np.random.default_rng(0)
    for name in (
        "speech/us-gov/speech-us-gov-0000",
        "music/fma/music-fma-0000",
        "noise/free-sound/noise-0000",
    ):
        miniature.write(tmp_path / "musan" / f"{name}.wav", random.normal(0, 0.1, RATE))
    for name in (
        "simulated_rirs/smallroom/Room001/Room001-00001",
        "real_rirs_isotropic_noises/RVB2014_type1_rir_largeroom1_near_angla",
        "pointsource_noises/noise-free-sound-0000",
    ):
        decay = np.exp(-np.arange(4000) / 400) * random.normal(0, 0.1, 4000)
        miniature.write(tmp_path / "RIRS_NOISES" / f"{name}.wav", decay)
    for corpus, place, published in (
        ("musan", "musan", "1 / 930"),
        ("rirs-noises", "RIRS_NOISES", "1 / 60,000"),
    ):
        assert published in voxangle("corpora", "check", corpus, "--root", tmp_path / place, code=1)
        voxangle("corpora", "prepare", corpus, "--root", tmp_path / place)
    run = voxangle.train(
        "data.corpus=folder",
        f"data.root={root}",
        f"augment.musan={tmp_path / 'musan'}",
        f"augment.rirs={tmp_path / 'RIRS_NOISES'}",
        "augment.kinds={reverb: 1, noise: 1, music: 1, babble: 1}",
        "augment.rooms=2",
    )
    said = (tmp_path / "said").read_text()
    assert f"reverb: 2 of the 2 rooms in {tmp_path / 'RIRS_NOISES'}" in said
    assert all(
        f"{kind}: 1 of the 1 files in {tmp_path / 'musan' / kind}" in said for kind in ("noise", "music")
    )
    drawn = tmp_path / "drawn.txt"
    voxangle("corpora", "trials", "folder", "--root", root, "--out", drawn)
    faultless(voxangle.evaluate(run, "--trials", drawn, "--root", root)["drawn"], of_all_pairs([3] * 4))


# --- that the figure can fail, and lists that are drawn ------------------------------------------------------


def test_a_recording_in_another_s_place_shows(voxangle: Terminal, tmp_path: Path) -> None:
    root = folder_tree(tmp_path / "voices")
    run = voxangle.train("data.corpus=folder", f"data.root={root}")
    drawn, others = tmp_path / "drawn.txt", folder_tree(tmp_path / "others", range(10, 13))
    said = voxangle(
        *("corpora", "trials", "folder", "--root", root, "--out", drawn),
        *("--targets", 9, "--nontargets", 20, "--seed", 4),
    )
    assert "9 target trials of 12, 20 non-target trials of 54, 4 speakers" in said
    record = json.loads(drawn.with_suffix(".json").read_text())
    assert (record["rules"]["targets"], record["rules"]["seed"]) == (9, 4)
    truth = Counter(line.split()[0] for line in drawn.read_text().splitlines())
    assert truth == {"1": 9, "0": 20}
    words = ("--trials", drawn, "--root", root)
    plain = voxangle.evaluate(run, *words)
    faultless(plain["drawn"], (9, 20, 4))

    mean = tmp_path / "mean.npz"
    voxangle("embed", "--model", run, others, "--out", mean)
    less = voxangle.evaluate(run, *words, "--subtract-mean", mean, out="less")
    said = centred(less["drawn"], plain["drawn"], (9, 20, 4))
    assert (said["file"], said["utterances"]) == (str(mean), 9)
    for wrong, message in {
        ("--subtract-mean", "train"): "a split is one of a --corpus",
        ("--subtract-mean", root / "none.npz"): "not an archive of `voxangle embed`",
        ("--mean-utterances", 3): "belongs to --subtract-mean",
        ("--conditions",): "belong to --corpus",
        ("--corpus", "folder", "--list", "x"): "--list picks from a corpus's own lists",
    }.items():
        assert message in voxangle("evaluate", "-m", run, *words, *wrong, code=1)

    first, second = root / "anna-0" / "0.flac", root / "anna-1" / "0.flac"
    swapped = first.read_bytes(), second.read_bytes()
    second.write_bytes(swapped[0])
    first.write_bytes(swapped[1])
    assert voxangle.evaluate(run, *words, out="swapped")["drawn"]["eer"]["value"] > 0.05


def test_a_list_is_drawn_by_stated_rules(voxangle: Terminal, tmp_path: Path) -> None:
    root = kaldi_tree(tmp_path / "tree")
    kaldi_folder(root / "data" / "test", (2, 3, 4, 5))
    out = tmp_path / "same.txt"
    words = ("corpora", "trials", "kaldi", "--root", root, "--out", out)
    said = voxangle(*words, "--split", "test", "--same", "gender", "--per-speaker", 2)
    assert "8 target trials of 12" in said
    lines = [line.split() for line in out.read_text().splitlines()]
    assert all(int(a[1]) % 2 == int(b[1]) % 2 for _, a, b in lines)
    for wrong, message in {
        (): "has several splits: say --split",
        ("--split", "tset"): "did you mean 'test'",
        ("--split", "test", "--same", "gendre"): "--same gendre",
        ("--split", "test", "--targets", 99): "99 target trials are asked for",
        ("--split", "test", "--different", "session"): "the session is unknown for",
        ("--out", tmp_path / "same.json"): "call the list .txt",
    }.items():
        assert message in voxangle(*words, *wrong, code=1)


# --- real voices ---------------------------------------------------------------------------------------------


@pytest.mark.corpus
def test_real_voices_take_the_roads_of_voxceleb_and_cnceleb(
    shared_corpora: Path, voxangle: Terminal, tmp_path: Path
) -> None:
    import csv

    with (shared_corpora / "utterances.csv").open(encoding="utf-8") as file:
        paths: dict[str, list[str]] = {}
        for row in csv.DictReader(file):
            paths.setdefault(f"{row['corpus']}/{row['speaker']}", []).append(row["path"])
    people = [found for found in paths.values() if len(found) >= 4]

    @lru_cache(maxsize=200)
    def spoken(speaker: int, utterance: int) -> np.ndarray:
        wave, _ = soundfile.read(
            shared_corpora / people[speaker % len(people)][utterance % 4], frames=2 * RATE, dtype="float32"
        )
        return wave

    vox1, vox2 = tmp_path / "voxceleb1", tmp_path / "voxceleb2"
    keys = {part: miniature.voxceleb(vox1 / "wav", ids, voice=spoken) for part, ids in VOXCELEB1.items()}
    miniature.vox1_meta(vox1 / "vox1_meta.csv")
    miniature.write_lines(vox1 / "veri_test2.txt", miniature.pairs(keys["test"]))
    miniature.voxceleb(vox2 / "dev" / "wav", VOXCELEB2["dev"], voice=spoken)
    run = voxangle.train("data.corpus=voxceleb2", f"data.root={vox2}", "batch.seconds=1.0")
    result = voxangle.evaluate(run, "--corpus", "voxceleb1", "--root", vox1)["vox1-O-cleaned"]
    assert (result["counts"]["targets"], result["counts"]["nontargets"]) == of_all_pairs([4, 4])[:2]
    assert 0 <= result["eer"]["low"] <= result["eer"]["value"] <= result["eer"]["high"] <= 1

    cn = miniature.cnceleb1(tmp_path / "CN-Celeb_flac", voice=spoken)
    results = voxangle.evaluate(
        run, "--corpus", "cnceleb1", "--root", cn, "--subtract-mean", "train", out="cn"
    )
    assert {result["protocol"]["enrolment"] for result in results.values()} == {"average", "concatenated"}
    for result in results.values():
        assert result["protocol"]["mean_subtraction"]["utterances"] == 6
        assert 0 <= result["eer"]["value"] <= 1
